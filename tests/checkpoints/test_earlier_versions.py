from unimatch.checkpoints.earlier_versions import migrated


def test_names_that_have_changed_are_found_at_any_depth():
    old = {"a": [{"_target_": "unimatch.stl10"}], "b": {"_target_": "unimatch.ClassificationDataModule", "c": 1}}
    new = {"a": [{"_target_": "unimatch.data.stl10"}], "b": {"_target_": "unimatch.SemiSupervisedDataModule", "c": 1}}
    assert migrated(old) == new
    assert migrated(new) == new
    assert old["b"]["_target_"] == "unimatch.ClassificationDataModule"  # the old one is as it was
