from dataclasses import replace
from types import SimpleNamespace

import pytest
from lightning.pytorch.callbacks import BatchSizeFinder

from helpers.fits import assert_same, fit, make_data, make_method, make_trainer, snapshot
from unimatch import ChangeModel, ConfigError, SegmentationModel, UniMatchV2
from unimatch.methods.fit_checks import check_data
from unimatch.tasks import task_of


@pytest.mark.parametrize(
    "length", [{"max_epochs": 3}, {"max_epochs": 2, "max_steps": 9}, {"max_steps": 9, "val_check_interval": None}]
)
def test_a_length_whose_end_would_not_be_evaluated_is_refused(length):
    trainer = make_trainer(limit_val_batches=1, check_val_every_n_epoch=2, **length)
    with pytest.raises(ConfigError, match="check_val_every_n_epoch=2"):
        trainer.fit(make_method(), make_data())


def test_a_divisor_of_the_epochs_is_no_reason_to_refuse():
    method = make_method()
    make_trainer(max_epochs=2, check_val_every_n_epoch=2).fit(method, make_data())
    assert [evaluation.epoch for evaluation in method.evaluations] == [1]


def test_a_probe_of_batch_sizes_leaves_the_training_as_it_was(tmp_path):
    plain, probed = make_method(), make_method()
    make_trainer(max_steps=4).fit(plain, make_data(batch_size=4))
    probe = BatchSizeFinder(mode="power", max_trials=2, steps_per_trial=1)  # from 2 to 4, which it leaves
    trainer = fit(probed, max_steps=4, callbacks=[probe], default_root_dir=tmp_path)
    assert trainer.global_step == 4
    assert_same(snapshot(probed), snapshot(plain))


def test_a_model_with_fewer_classes_than_the_data_is_refused():
    method = UniMatchV2(SegmentationModel("tiny", 10, features=8, out_channels=(8, 8, 8, 8)))
    with pytest.raises(ConfigError, match=r"^num_classes=10: the data has 11 classes"):
        make_trainer(max_steps=1).fit(method, make_data())


@pytest.mark.parametrize("length", [{"max_steps": 2}, {"max_epochs": 1, "limit_train_batches": 2}])
def test_a_trainer_that_has_trained_is_refused_instead_of_training_nothing(length):
    trainer = fit(make_method(), **length)
    with pytest.raises(ConfigError, match="has trained 2 steps already"):
        trainer.fit(make_method(), make_data())


@pytest.mark.parametrize(
    ("model", "data", "told"),
    [
        (
            ChangeModel,
            {},
            "for change, pairs of dates with a class for each pixel, and the data set digits has single images with a",
        ),
        (
            SegmentationModel,
            {"one_class": True},
            "for segmentation, single images with a class for each pixel, and the data set digits has single images "
            "with a class for each image; leave task out",
        ),
    ],
)
def test_a_model_for_other_data_is_refused(model, data, told):
    method = SimpleNamespace(data=replace(make_data().data, **data))
    with pytest.raises(ConfigError, match=f"^the model is {told}"):
        check_data(task_of(model("tiny", 11, features=8, out_channels=(8, 8, 8, 8))), method)
    check_data(task_of(SegmentationModel("tiny", 11, features=8, out_channels=(8, 8, 8, 8))), make_data())
