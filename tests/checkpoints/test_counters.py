"""Training continues from any checkpoint as if it had not been interrupted."""

import lightning
import pytest
import torch
from lightning.pytorch.loggers.logger import Logger

import unimatch
from helpers.support import rest_nightly
from unimatch import ConfigError, SegmentationModel, SemiSupervisedDataModule, UniMatchV2


class Rows(Logger):
    """What is logged, in memory."""

    name, version = "rows", 0

    def __init__(self):
        super().__init__()
        self.rows = []

    def log_metrics(self, metrics, step=None):
        self.rows.append((step, dict(metrics)))

    def log_hyperparams(self, *args, **kwargs):
        pass


class SaveEverywhere(lightning.Callback):
    """A checkpoint at every moment at which a callback can ask for one, but for the inside of a step."""

    def __init__(self, folder):
        self.folder, self.saved = folder, []

    def save(self, trainer, moment):
        path = self.folder / f"{len(self.saved):02d}_{moment}_step{trainer.global_step}.ckpt"
        trainer.save_checkpoint(path)
        self.saved.append((path, len(trainer.logger.rows)))

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step:
            self.save(trainer, "start")

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.save(trainer, "batch")

    def on_validation_start(self, trainer, pl_module):
        if not trainer.sanity_checking:
            self.save(trainer, "opening")

    def on_validation_end(self, trainer, pl_module):
        if not trainer.sanity_checking:
            self.save(trainer, "evaluation")

    def on_train_epoch_end(self, trainer, pl_module):
        self.save(trainer, "epoch")


class Dropout(UniMatchV2):
    """With randomness of the model's own, from torch's global generator."""

    def losses(self, batch, generator):
        batch["labeled"]["image"] = torch.nn.functional.dropout(batch["labeled"]["image"], 0.1)
        return super().losses(batch, generator)


def train(folder=None, *, resume=None, workers=0, **options):
    torch.manual_seed(0)
    model = SegmentationModel("tiny", 11, features=8, out_channels=(8, 8, 8, 8))
    method = Dropout(model, learning_rate=1e-3, decoder_multiplier=2.0, ema_decay=0.9, tau=0.1)
    data = unimatch.data.digits(labeled=4, train=12, val=2, size=32)  # 4 steps an epoch
    save = SaveEverywhere(folder)
    rows = Rows()
    trainer = lightning.Trainer(
        accelerator="cpu",
        logger=rows,
        enable_checkpointing=False,
        callbacks=[save] if folder else [],
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=1,
        log_every_n_steps=1,
        **options,
    )
    datamodule = SemiSupervisedDataModule(data, crop=16, batch_size=2, workers=workers, seed=0)
    trainer.fit(method, datamodule, ckpt_path=resume)
    weights = {key: value.clone() for key, value in method.state_dict().items()}
    return weights, method.evaluations, rows.rows, save.saved


def assert_same_end(found, expected, rows_before, path):
    weights, evaluations, rows, _ = found
    assert [key for key in weights if not torch.equal(weights[key], expected[0][key])] == [], path.name
    assert evaluations == expected[1], path.name
    if "_batch_" in path.name:  # Lightning logs a step after this moment: its row is in neither
        rows_before += 1
    assert rows == expected[2][rows_before:], path.name


LENGTHS = {
    "evaluations inside epochs": {"max_steps": 6, "val_check_interval": 2, "check_val_every_n_epoch": None},
    "evaluations across epochs": {"max_steps": 9, "val_check_interval": 3, "check_val_every_n_epoch": None},
    "epochs": {"max_epochs": 2},
    "epochs with evaluations inside": {"max_epochs": 2, "val_check_interval": 3},
    "epochs with evaluations across": {"max_epochs": 2, "val_check_interval": 3, "check_val_every_n_epoch": None},
    "every second epoch": {"max_epochs": 4, "check_val_every_n_epoch": 2, "limit_train_batches": 2},
    "accumulation": {
        "max_steps": 5,
        "accumulate_grad_batches": 3,
        "val_check_interval": 5,
        "check_val_every_n_epoch": None,
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("length", rest_nightly(LENGTHS, []))
def test_training_ends_the_same_from_a_checkpoint_of_any_moment(length, tmp_path):
    options = LENGTHS[length]
    uninterrupted = train(tmp_path, **options)
    saved = uninterrupted[3]
    resumed = 0
    for path, rows in saved:
        training = torch.load(path, weights_only=True)["unimatch_training"]
        end = 8 if length.startswith("epochs with") else options.get("max_steps")
        ended = path.name.endswith((f"_batch_step{end}.ckpt", f"_opening_step{end}.ckpt"))
        if training["place"]["accumulating"]:
            with pytest.raises(ConfigError, match=r"holds no gradients.*last\.ckpt"):
                train(resume=path, **options)
        elif not ended:  # after the last step Lightning does not run an evaluation that its interval does not ask for
            assert_same_end(train(resume=path, **options), uninterrupted, rows, path)
            resumed += 1
    assert resumed >= 12


@pytest.mark.nightly
def test_a_checkpoint_between_two_batches_of_a_step_is_refused(tmp_path):
    *_, saved = train(tmp_path, **LENGTHS["accumulation"])
    between = [path for path, _ in saved if torch.load(path)["unimatch_training"]["place"]["accumulating"]]
    assert between
    with pytest.raises(ConfigError, match=r"holds no gradients.*last\.ckpt"):
        train(resume=between[0], **LENGTHS["accumulation"])


@pytest.mark.nightly
@pytest.mark.parametrize(("first", "second"), [("03_", "06_"), ("04_", "07_"), ("11_", "01_")])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_training_can_be_interrupted_and_resumed_again(first, second, workers, tmp_path):
    options = {**LENGTHS["evaluations across epochs"], "workers": workers}
    uninterrupted = train(tmp_path, **options)
    place, rows = next((path, rows) for path, rows in uninterrupted[3] if path.name.startswith(first))
    rows += "_batch_" in place.name
    again = tmp_path / "again"
    resumed = train(again, resume=place, **options)
    assert_same_end(resumed, uninterrupted, rows - ("_batch_" in place.name), place)
    place, more_rows = next((path, rows) for path, rows in resumed[3] if path.name.startswith(second))
    assert_same_end(train(resume=place, **options), uninterrupted, rows + more_rows, place)


def test_the_sampler_leaves_out_the_batches_that_are_done_in_their_epoch_only():
    from unimatch.data.loading.samplers import TrainSampler

    options = {"length": 16, "batch_size": 2, "seed": 3, "stream": "unlabeled"}
    whole, resumed = TrainSampler(**options), TrainSampler(**options, start=(5, 3))
    whole.set_epoch(5)
    assert list(resumed) == list(whole)[6:]
    assert len(resumed) == len(whole) == 16
    for sampler in (whole, resumed):
        sampler.set_epoch(6)
    assert list(resumed) == list(whole)
