"""``trainer.parts_at_once``: parts of a step in one batch are what they are one after the other."""

import lightning
import pytest
import torch

import unimatch
from helpers.fits import QUIET
from helpers.support import rest_nightly
from unimatch import ConfigError, SegmentationModel, SemiSupervisedDataModule, Trainer, UniMatchV2


class Keep(lightning.Callback):
    """The first step's gradient, and the weights at the end."""

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        if trainer.global_step == 0:
            held = [p.grad for p in pl_module.student.parameters() if p.grad is not None]
            self.gradient = torch.cat([gradient.flatten().clone() for gradient in held])

    def on_train_end(self, trainer, pl_module):
        self.steps = trainer.global_step
        self.weights = torch.cat([p.detach().flatten().clone() for p in pl_module.parameters()])


DATA = unimatch.data.digits(labeled=6, train=38, val=2, size=32)


def train(
    make, parts_at_once=1, *, labeled_strong=False, steps=3, global_batch=8, unlock_after=0, loaders=None, **options
):
    torch.manual_seed(0)
    model = SegmentationModel("tiny", 11, features=8, out_channels=(8, 8, 8, 8), unlock_after=unlock_after)
    method = make(model, **{"learning_rate": 1e-2, "decoder_multiplier": 1, "ema_decay": 0.5, "optimizer": "sgd",
                            "freeze_batch_statistics": True, **options})  # fmt: skip
    keep = Keep()
    trainer = Trainer(
        **QUIET,
        global_batch=global_batch,
        parts_at_once=parts_at_once,
        max_steps=steps,
        limit_val_batches=0,
        callbacks=[keep],
    )
    if loaders is not None:
        trainer._accumulate = lambda *_: None
        trainer.fit(method, type("Loader", (list,), {"batch_size": 2})(loaders))
    trainer.fit(method, SemiSupervisedDataModule(DATA, crop=16, batch_size=2, workers=0, labeled_strong=labeled_strong))
    assert keep.steps == steps
    assert trainer.accumulate_grad_batches == global_batch // 2 // method.parts_at_once
    return keep, trainer


METHODS = {
    "V2": (UniMatchV2, {"tau": 0.1}),
    "V2 independent at the classifier": (
        UniMatchV2, {"tau": 0.1, "channel_dropout": "independent", "dropout_at": "classifier", "strong_views": 1}
    ),
    "V2 with a second batch": (UniMatchV2, {"tau": 0.1, "cutmix_partner": "second_batch"}),
    "V2 with ohem, weights and Dice": (
        UniMatchV2,
        {"tau": 0.1, "criterion": "ohem", "ohem_min_kept": 100, "class_weights": "balanced", "dice": 1.0},
    ),
    "V1": (unimatch.UniMatchV1, {"tau": 0.1}),
    "V1 of the student": (unimatch.UniMatchV1, {"tau": 0.1, "pseudo_labels_from": "student"}),
    "FixMatch": (unimatch.FixMatch, {"tau": 0.1}),
    "labelled only, strong views": (unimatch.Supervised, {"labeled_strong": True}),
}  # fmt: skip


@pytest.mark.parametrize("name", rest_nightly(METHODS, ["V2"]))
def test_gradients_and_training_are_those_of_the_parts_one_after_the_other(name):
    make, options = METHODS[name]
    alone, _ = train(make, **options)
    assert alone.gradient.abs().max() > 1e-4
    for count in (2, 4):
        together, _ = train(make, count, **options)
        torch.testing.assert_close(together.gradient, alone.gradient, rtol=0, atol=1e-6)
        assert (together.gradient - alone.gradient).norm() / alone.gradient.norm() < 3e-6
        torch.testing.assert_close(together.weights, alone.weights, rtol=1e-5, atol=1e-6)


def test_a_batch_of_all_images_alone_would_be_another_step():
    make, options = METHODS["V2"]
    alone, _ = train(make, **options)

    class Mixed(UniMatchV2):
        keeps_parts_apart = True

        def losses(self, batch, generator):
            self.parts_at_once = 1
            return super().losses(batch, torch.Generator().manual_seed(0))

    mixed = Keep()
    torch.manual_seed(0)
    assert (train_mixed(Mixed, mixed).gradient - alone.gradient).norm() / alone.gradient.norm() > 1e-3


def train_mixed(make, keep):
    model = SegmentationModel("tiny", 11, features=8, out_channels=(8, 8, 8, 8))
    method = make(model, tau=0.1, learning_rate=1e-2, decoder_multiplier=1, freeze_batch_statistics=True)
    trainer = Trainer(**QUIET, global_batch=8, parts_at_once=4, max_steps=1, limit_val_batches=0, callbacks=[keep])
    trainer.fit(method, SemiSupervisedDataModule(DATA, crop=16, batch_size=2, workers=0))
    return keep


def test_what_cannot_be_together_is_refused():
    with pytest.raises(ConfigError, match=r"^trainer\.parts_at_once=4: must be 1, because BatchNorm would normalise"):
        train(UniMatchV2, 4, freeze_batch_statistics=False)
    with pytest.raises(ConfigError, match=r"^parts_at_once=3: must divide 4, the parts of a step that each process"):
        train(UniMatchV2, 3)
    with pytest.raises(ConfigError, match=r"because distribution alignment takes in the parts one after the other"):
        train(UniMatchV2, 2, distribution_alignment="uniform")

    class Own(UniMatchV2):
        def losses(self, batch, generator):
            return super().losses(batch, generator)

    with pytest.raises(ConfigError, match=r"because Own does not say, by keeps_parts_apart = True, that its losses"):
        train(Own, 2)
    train(Own, 1, steps=1)
    with pytest.raises(ConfigError, match=r"because BatchNorm would normalise"):  # of an encoder that is unlocked later
        train(UniMatchV2, 4, freeze_batch_statistics=False, unlock_after=5)
    with pytest.raises(ConfigError, match=r"because only a SemiSupervisedDataModule puts several into one batch"):
        train(UniMatchV2, 4, loaders=[{"labeled": {}, "unlabeled": {}}])
    for wrong in (0, 1.5, "all"):
        with pytest.raises(ConfigError, match=rf"^parts_at_once={wrong}: must be (auto, or at least 1|a whole number)"):
            Trainer(global_batch=8, parts_at_once=wrong)
    with pytest.raises(ConfigError, match=r"^parts_at_once=2: needs global_batch"):
        Trainer(parts_at_once=2)


def test_a_trainer_can_be_used_again():
    _, trainer = train(UniMatchV2, 4, tau=0.1, steps=2)
    trainer.val_check_interval = 3
    for _ in range(2):
        trainer._accumulate(16, 2)
        trainer.put_together(4)
        assert (trainer.accumulate_grad_batches, trainer.parts_in_batch, trainer.val_check_interval) == (2, 4, 6)


def test_evaluations_still_count_steps():
    steps = []

    class Evaluated(lightning.Callback):
        def on_validation_end(self, trainer, pl_module):
            steps.append(trainer.global_step)

    model = SegmentationModel("tiny", 11, features=8, out_channels=(8, 8, 8, 8))
    trainer = Trainer(
        **QUIET,
        global_batch=8,
        parts_at_once=2,
        max_steps=6,
        val_check_interval=2,
        check_val_every_n_epoch=None,
        callbacks=[Evaluated()],
    )
    data = SemiSupervisedDataModule(DATA, crop=16, batch_size=2, workers=0)
    trainer.fit(UniMatchV2(model, freeze_batch_statistics=True), data)
    assert steps == [2, 4, 6]


@pytest.mark.nightly
def test_a_run_is_resumed_exactly(tmp_path):
    def fit(resume=None, parts_at_once=2, **options):
        torch.manual_seed(0)
        model = SegmentationModel("tiny", 11, features=8, out_channels=(8, 8, 8, 8))
        method = UniMatchV2(model, tau=0.1, learning_rate=1e-2, ema_decay=0.5, freeze_batch_statistics=True)
        trainer = Trainer(
            **QUIET, global_batch=8, parts_at_once=parts_at_once, max_steps=5, limit_val_batches=0, **options
        )
        data = SemiSupervisedDataModule(DATA, crop=16, batch_size=2, workers=0)
        trainer.fit(method, data, ckpt_path=resume)
        return method.state_dict()

    class Save(lightning.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if trainer.global_step == 2 and not (tmp_path / "2.ckpt").exists():
                trainer.save_checkpoint(tmp_path / "2.ckpt")

    whole, resumed = fit(callbacks=[Save()]), fit(tmp_path / "2.ckpt")
    assert [key for key, value in resumed.items() if not torch.equal(value, whole[key])] == []
    with pytest.raises(ConfigError, match=r"batches of 2 parts of a step, and here a batch holds 4"):
        fit(tmp_path / "2.ckpt", parts_at_once=4)
