import copy
import os
import resource
import time

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

import unimatch
from unimatch.checkpoints.files import build_with, load_model, read_checkpoint, start_from
from unimatch.errors import WeightsError


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A short run's checkpoint, written after an evaluation, and the method as it was then."""
    torch.manual_seed(0)
    directory = tmp_path_factory.mktemp("run")
    data = unimatch.data.digits(labeled=8, train=24, val=2)
    model = unimatch.SegmentationModel("tiny", data.info.num_classes, features=8, out_channels=(8, 9, 10, 11))
    method = unimatch.UniMatchV2(model, tau=0.1, learning_rate=1e-3, decoder_multiplier=1, ema_decay=0.5)
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_steps=4,
        val_check_interval=4,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        callbacks=[
            ModelCheckpoint(directory, "best", monitor="teacher/miou", mode="max", save_on_train_epoch_end=False)
        ],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(method, unimatch.SemiSupervisedDataModule(data, crop=48, batch_size=2, workers=0))
    return directory / "best.ckpt", copy.deepcopy(method)


def assert_same_weights(model, expected):
    found, expected = model.state_dict(), expected.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in found)


def test_student_and_teacher_are_exact(run):
    path, method = run
    student, teacher = load_model(path, "student"), load_model(path, "teacher")
    assert_same_weights(student, method.student)
    assert_same_weights(teacher, method.teacher.model)
    # Otherwise mixing them up would go unnoticed.
    weights = (student.decoder.classify[0].weight, teacher.decoder.classify[0].weight)
    assert not torch.equal(*weights)
    statistics = (student.encoder.stem[1].running_mean, teacher.encoder.stem[1].running_mean)
    assert not torch.equal(*statistics)


def test_the_teacher_is_the_default(run):
    path, method = run
    assert_same_weights(load_model(str(path)), method.teacher.model)


@pytest.mark.parametrize("which", ["student", "teacher"])
def test_the_model_predicts_in_eval_mode_on_the_cpu(run, which):
    path, method = run
    model = load_model(path, which)
    assert not any(module.training for module in model.modules())
    assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}
    original = (method.student if which == "student" else method.teacher.model).eval()
    images = torch.randn(1, 3, 48, 48)
    with torch.no_grad():
        assert torch.equal(model(images), original(images))


def test_the_decoder_is_rebuilt_from_the_checkpoint_alone(run):
    model = load_model(run[0])
    assert (model.num_classes, model.features, model.out_channels) == (11, 8, (8, 9, 10, 11))


def test_the_checkpoint_holds_tensors_and_plain_values_only(run):
    checkpoint = torch.load(run[0], weights_only=True)
    assert checkpoint["unimatch_model"] == {
        "task": "segmentation",
        "encoder": "tiny",
        "num_classes": 11,
        "features": 8,
        "out_channels": [8, 9, 10, 11],
        "position_embedding": None,
        "options": {},
        "lora": None,
    }
    assert checkpoint["global_step"] == 4
    assert read_checkpoint(run[0]).keys() == checkpoint.keys()


def test_what_is_no_checkpoint_of_ours_is_refused(run, tmp_path):
    path = tmp_path / "other.ckpt"
    with pytest.raises(WeightsError, match="no such checkpoint"):
        load_model(path)
    with pytest.raises(WeightsError, match="no such checkpoint, but a folder"):
        load_model(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "best.ckpt").touch()
    with pytest.raises(WeightsError, match=r"no such checkpoint; give .*checkpoints.best\.ckpt"):
        load_model(tmp_path)
    for content in ({"state_dict": {}}, [1, 2], torch.zeros(1)):
        torch.save(content, path)
        with pytest.raises(WeightsError, match="not a checkpoint of unimatch"):
            load_model(path)
    path.write_bytes(run[0].read_bytes()[:5000])
    with pytest.raises(WeightsError, match="cannot be read"):
        load_model(path)
    path.write_text("no checkpoint\n")
    with pytest.raises(WeightsError, match="cannot be read"):
        load_model(path)


class RunsACommand:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_a_checkpoint_that_carries_code_is_refused_and_does_not_run(run, tmp_path):
    touched, path = tmp_path / "touched", tmp_path / "bad.ckpt"
    content = RunsACommand(f'echo run > "{touched}"')
    torch.save({**torch.load(run[0], weights_only=True), "hyper_parameters": content}, path)
    with pytest.raises(WeightsError, match=r"bad\.ckpt"):
        load_model(path)
    assert not touched.exists()


def test_the_home_directory_is_expanded(run, monkeypatch):
    monkeypatch.setenv("HOME", str(run[0].parent))
    assert_same_weights(load_model("~/best.ckpt"), run[1].teacher.model)


def own(num_classes=11, **options):
    return unimatch.SegmentationModel("tiny", num_classes, features=8, out_channels=(8, 9, 10, 11), **options)


@pytest.mark.parametrize("which", ["teacher", "student"])
def test_a_training_can_start_from_a_checkpoint(run, which):
    model = own()
    assert which in start_from(model, run[0], which)
    assert_same_weights(model, load_model(run[0], which))


@pytest.mark.parametrize(
    ("bands", "told"),
    [
        ({"value_range": [[0, 3000]] * 3}, "value_range None, now [[0.0, 3000.0], [0.0, 3000.0], [0.0, 3000.0]]"),
        ({"bands": [4, 3, 2]}, "bands None, now [4, 3, 2]"),
        ({"no_data": 0}, "no_data None, now 0"),
        ({"mean": [0.1] * 3}, ""),  # measured on each data set
    ],
)
def test_images_that_are_read_in_another_way_are_warned_of(run, bands, told, caplog):
    start_from(own(bands=bands), run[0])
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == bool(told)
    assert all(f"were read in another way than these: {told}; its weights" in warning for warning in warnings)


def test_other_classes_get_a_last_layer_of_their_own(run):
    model = own(3)
    before = copy.deepcopy(model.state_dict())
    assert "decoder.classify.2.weight, decoder.classify.2.bias anew" in start_from(model, run[0])
    trained = load_model(run[0]).state_dict()
    for key, value in model.state_dict().items():
        expected = before[key] if key.startswith("decoder.classify.2.") else trained[key]
        assert torch.equal(value, expected)


def test_classes_of_the_same_name_keep_their_classifier_in_any_order(run, tmp_path):
    known = [f"class {i}" for i in range(10)] + ["class 0"]
    path = tmp_path / "named.ckpt"
    torch.save({**torch.load(run[0], weights_only=True), "unimatch_run": {"classes": known}}, path)
    model = own(4)
    before = copy.deepcopy(model.state_dict())
    said = start_from(model, path, classes=["class 7", "river", "Class 0 ", "bank"])
    assert said.endswith("the classifier knows class 7, Class 0  and begins anew with river, bank")
    for kind in ("weight", "bias"):
        key = f"decoder.classify.2.{kind}"
        found, trained = model.state_dict()[key], load_model(path).state_dict()[key]
        assert torch.equal(found, torch.stack([trained[7], before[key][1], trained[0], before[key][3]]))
    # As many classes are not the same classes.
    others = own()
    before = copy.deepcopy(others.state_dict())
    assert "knows no class and begins anew with 0, 1, 2" in start_from(others, path, classes=[*map(str, range(11))])
    assert torch.equal(others.state_dict()["decoder.classify.2.bias"], before["decoder.classify.2.bias"])
    same = own()
    assert start_from(same, path, classes=known).endswith("the classifier knows all classes")


def test_a_classifier_of_whole_images_keeps_classes_of_the_same_name(tmp_path):
    trained = unimatch.ClassificationModel("wrn_10_1", 3).eval()
    state = {f"teacher.model.{key}": value for key, value in trained.state_dict().items()}
    content = {
        "unimatch_model": {"task": "classification", **trained.description()},
        "unimatch_run": {"classes": ["cat", "dog", "cow"]},
        "state_dict": state,
    }
    torch.save(content, tmp_path / "classes.ckpt")
    model = unimatch.ClassificationModel("wrn_10_1", 2)
    start_from(model, tmp_path / "classes.ckpt", classes=["cow", "cat"])
    assert torch.equal(model.classifier.weight, trained.classifier.weight[[2, 0]])


def test_with_lora_the_weights_beside_it_are_the_checkpoints(tmp_path):
    pytest.importorskip("peft")
    small = {"options": {"depth": 4, "embed_dim": 12, "num_heads": 2, "img_size": 42}, "features": 4}
    plain = unimatch.SegmentationModel("vits", 3, weights=None, out_channels=(4, 4, 4, 4), **small).eval()
    state = {f"teacher.model.{key}": value for key, value in plain.state_dict().items()}
    torch.save({"unimatch_model": plain.description(), "state_dict": state}, tmp_path / "vits.ckpt")
    model = unimatch.SegmentationModel("vits", 3, weights=None, out_channels=(4, 4, 4, 4), lora=2, **small).eval()
    start_from(model, tmp_path / "vits.ckpt")
    images = torch.randn(1, 3, 42, 28)
    with torch.no_grad():
        torch.testing.assert_close(model(images), plain(images))


def test_another_model_is_no_start(run):
    with pytest.raises(WeightsError, match=r"encoder tiny, and the one to train efficientnet_lite0"):
        start_from(unimatch.SegmentationModel("efficientnet_lite0", 11, weights=None), run[0])
    with pytest.raises(WeightsError, match=r"features 8, and the one to train 32"):
        start_from(unimatch.SegmentationModel("tiny", 11), run[0])


@pytest.mark.parametrize(
    "more",
    [
        {"encoder": "vits", "options": {"depth": 4000}},
        {"encoder": "convnext_tiny", "options": {"depths": [4000] * 4}},
        {"encoder": "resnet50", "options": {"layers": [4000] * 4}},
        {"encoder": "vitg"},
        {"features": 60_000},
        {"out_channels": [60_000] * 4},
        {"num_classes": 60_000},
        {"encoder": "vits", "options": {"img_size": 4096, "patch_size": 1}},
    ],
    ids=str,
)
def test_a_description_that_is_not_the_weights_is_refused_before_it_is_built(more, monkeypatch):
    """Nothing is built but on the meta device, and not to the end where the file has far fewer tensors."""
    monkeypatch.setattr(torch.nn.Module, "load_state_dict", lambda *_: pytest.fail("it was built"))
    model = unimatch.SegmentationModel("tiny", 2, features=8, out_channels=(8, 8, 8, 8))
    begun, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(WeightsError, match=r"^the file"):
        build_with(model.state_dict(), {**model.description(), "weights": None, **more}, "the file")
    assert time.monotonic() - begun < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


def test_the_default_type_of_new_tensors_changes_no_model(run):
    torch.set_default_dtype(torch.float64)
    try:
        found = load_model(run[0])
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert {value.dtype for value in found.state_dict().values() if value.is_floating_point()} == {torch.float32}
    assert_same_weights(found, load_model(run[0]))
