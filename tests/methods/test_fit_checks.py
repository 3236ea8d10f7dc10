from dataclasses import replace
from types import FunctionType, SimpleNamespace

import pytest
import torch
from lightning.pytorch.callbacks import (
    BaseFinetuning,
    BatchSizeFinder,
    GradientAccumulationScheduler,
    ModelPruning,
    StochasticWeightAveraging,
)
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from helpers.fits import assert_same, fit, make_data, make_method, make_trainer, snapshot
from unimatch import ChangeModel, ConfigError, Losses, SegmentationModel, UniMatchV2
from unimatch.methods.fit_checks import check_data
from unimatch.tasks import task_of


@pytest.mark.parametrize(
    "length", [{"max_epochs": 3}, {"max_epochs": 2, "max_steps": 9}, {"max_steps": 9, "val_check_interval": None}]
)
def test_a_length_whose_end_would_not_be_evaluated_is_refused(length):
    trainer = make_trainer(limit_val_batches=1, check_val_every_n_epoch=2, **length)
    with pytest.raises(ConfigError, match="check_val_every_n_epoch=2"):
        trainer.fit(make_method(), make_data())


def test_evaluations_every_0_epochs_are_refused():
    with pytest.raises(ConfigError, match=r"check_val_every_n_epoch=0: must be at least 1"):
        make_trainer(max_epochs=1, check_val_every_n_epoch=0).fit(make_method(), make_data())


@pytest.mark.nightly
def test_a_divisor_of_the_epochs_is_no_reason_to_refuse():
    method = make_method()
    make_trainer(max_epochs=2, check_val_every_n_epoch=2).fit(method, make_data())
    assert [evaluation.epoch for evaluation in method.evaluations] == [1]


@pytest.mark.nightly
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


@pytest.mark.parametrize("name", ["optimizer_step", "on_train_batch_end", "setup", "validation_step", "test_step"])
@pytest.mark.parametrize("inherited", [False, True])
def test_a_hook_that_leaves_out_what_a_method_does_there_is_refused(name, inherited):
    def hook(self, *arguments, **options):
        return None

    hook = FunctionType(hook.__code__.replace(co_name=name), {}, name)
    bases = (type("Mixin", (), {name: hook}), UniMatchV2) if inherited else (UniMatchV2,)
    with pytest.raises(ConfigError, match=rf"^Mine\.{name}: leaves out .* call super\(\)\.{name}\("):
        type("Mine", bases, {} if inherited else {name: hook})


def test_hooks_that_call_the_methods_own_and_those_that_it_has_no_use_for_are_fine():
    class Mine(UniMatchV2):
        def on_train_batch_end(self, *arguments):
            super().on_train_batch_end(*arguments)

        def optimizer_step(self, *arguments, **options):
            UniMatchV2.optimizer_step(self, *arguments, **options)

        @torch.no_grad()
        def setup(self, stage):
            super().setup(stage)

        def on_train_epoch_end(self):
            pass

    method = make_method(Mine)
    fit(method, max_steps=1, val_check_interval=1)
    assert len(method.evaluations) == 1


IMAGES, MASKS = torch.rand(4, 3, 48, 48), torch.zeros(4, 48, 48, dtype=torch.int64)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (TensorDataset(IMAGES, MASKS), r"labeled and unlabeled samples \(unimatch.TrainBatch\), and this one is list"),
        (
            [{"image": image, "mask": mask} for image, mask in zip(IMAGES, MASKS, strict=True)],
            "this one is image, mask",
        ),
    ],
)
def test_batches_that_are_none_of_training_are_refused(data, told):
    with pytest.raises(ConfigError, match=f"^a batch of training must hold .*{told}: give fit a SemiSupervised"):
        make_trainer(max_steps=1).fit(make_method(), DataLoader(data, batch_size=2))


def test_loaders_without_their_data_module_are_refused():
    with pytest.raises(ConfigError, match=r"not normalised: give fit the data module itself"):
        make_trainer(max_steps=1).fit(make_method(), make_data().train_dataloader())


def test_weights_of_another_type_than_the_images_are_refused():
    method = make_method().double()
    with pytest.raises(ConfigError, match=r"weights are float64, .* call model\.float\(\)"):
        make_trainer(max_steps=1).fit(method, make_data())


def test_nothing_is_trained_in_inference_mode():
    with torch.inference_mode():
        method = make_method()
        with pytest.raises(ConfigError, match=r"^torch\.inference_mode: nothing can be trained within it"):
            make_trainer(max_steps=1).fit(make_method(), make_data())
    with pytest.raises(ConfigError, match=r"nor a model that was built within it"):
        make_trainer(max_steps=1).fit(method, make_data())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"overfit_batches": 2}, "overfit_batches=2: .*limit_train_batches"),
        ({"callbacks": [StochasticWeightAveraging(1e-3)]}, "StochasticWeightAveraging: .*leave the callback out"),
        ({"callbacks": [ModelPruning("l1_unstructured")]}, "ModelPruning: .*leave the callback out"),
        (
            {"callbacks": [GradientAccumulationScheduler({0: 2, 1: 1})]},
            "GradientAccumulationScheduler: .*trainer.accumulate_grad_batches",
        ),
    ],
)
def test_what_would_break_the_order_or_the_teacher_is_refused(options, told):
    with pytest.raises(ConfigError, match=told):
        fit(make_method(), max_epochs=2, **options)


@pytest.mark.parametrize(
    "options", [{"limit_train_batches": 0, "max_steps": 1}, {"limit_train_batches": 0.0, "max_epochs": 1}]
)
def test_a_trainer_that_would_train_nothing_is_told_so(options):
    with pytest.raises(ConfigError, match=r"^trainer\.limit_train_batches=0.*: would train nothing"):
        make_trainer(**options).fit(make_method(), make_data())
    with pytest.raises(ConfigError, match=r"^trainer\.max_steps=0: would train nothing"):
        make_trainer(max_steps=0).fit(make_method(), make_data())


class Thaw(BaseFinetuning):
    def freeze_before_training(self, pl_module):
        self.freeze(pl_module.student.encoder)

    def finetune_function(self, pl_module, epoch, optimizer):
        if epoch == 1:
            self.unfreeze_and_add_param_group(pl_module.student.encoder, optimizer, lr=1e-4)


def test_parameter_groups_that_a_callback_adds_are_refused():
    with pytest.raises(
        ConfigError, match=r"had (\d) parameter groups and now has \d: .*BaseFinetuning.*unlock_after=N"
    ):
        fit(make_method(), max_epochs=2, limit_train_batches=1, limit_val_batches=0, callbacks=[Thaw()])


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (
            lambda loss: loss,
            r"must return unimatch\.Losses\(total=\.\.\., parts=\.\.\.\) of tensors, and returns Tensor",
        ),
        (lambda loss: None, "returns NoneType"),
        (lambda loss: Losses(total=0.5, parts={}), r"returns total=0\.5"),
        (
            lambda loss: Losses(total=torch.stack([loss, loss]), parts={}),
            r"must be one number, and has the shape \(2,\)",
        ),
        (lambda loss: Losses(total=loss.detach(), parts={}), "does not depend on the student's weights"),
    ],
)
def test_losses_from_which_nothing_can_be_learnt_are_refused(made, told):
    class Mine(UniMatchV2):
        def losses(self, batch, generator):
            return made(super().losses(batch, generator).total)

    with pytest.raises(ConfigError, match=f"^losses: .*{told}"):
        fit(make_method(Mine), max_steps=1)


def test_a_network_that_is_no_model_is_refused():
    with pytest.raises(ConfigError, match=r"^model: .*and this is Conv2d; .*SegmentationModel\(encoder, num_classes\)"):
        UniMatchV2(nn.Conv2d(3, 11, 1))
    method = make_method()
    compiled = torch.compile(method.student)
    with pytest.raises(ConfigError, match=r"^model: is compiled .*unimatch\.Trainer\(compile=True\)"):
        UniMatchV2(compiled)
    method.student = compiled
    with pytest.raises(ConfigError, match=r"^model: is compiled"):
        fit(method, max_steps=1)


def test_a_method_that_is_compiled_as_a_whole_is_refused():
    with pytest.raises(ConfigError, match=r"^torch\.compile: .*unimatch\.Trainer\(compile=True\)"):
        fit(torch.compile(make_method()), max_steps=1)
