"""Short trainings of a tiny model."""

import copy

import lightning
import numpy as np
import torch

import unimatch
from unimatch import SegmentationModel, SemiSupervisedDataModule, UniMatchV2
from unimatch.data.catalog import DIGITS

DATA = {"labeled": 8, "train": 24, "val": 4, "size": 48}  # 16 unlabelled images


STEPS_PER_EPOCH = 8


QUIET = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
}
"""Arguments of a trainer that says and keeps nothing."""


def make_method(kind=UniMatchV2, *, unlock_after=0, **options):
    torch.manual_seed(0)
    model = SegmentationModel("tiny", 11, features=8, out_channels=(8, 8, 8, 8), unlock_after=unlock_after)
    defaults = {"learning_rate": 1e-3, "decoder_multiplier": 2.0, "ema_decay": 0.9}
    if kind is UniMatchV2:
        defaults["tau"] = 0.1
    return kind(model, **{**defaults, **options})


def make_data(*, workers=0, data=None, batch_size=2):
    return SemiSupervisedDataModule(
        data or unimatch.data.digits(**DATA), crop=48, batch_size=batch_size, workers=workers, seed=0
    )


def make_trainer(**options):
    defaults = {**QUIET, "log_every_n_steps": 1}
    if "max_steps" in options and "val_check_interval" not in options:
        options = {"limit_val_batches": 0, **options}
    return lightning.Trainer(**{**defaults, **options})


def fit(method, *, workers=0, data=None, resume=None, **options):
    """Train, and evaluate only if `val_check_interval` is given (in steps) or the run has no `max_steps`."""
    if "val_check_interval" in options:
        options = {"check_val_every_n_epoch": None, **options}
    trainer = make_trainer(**options)
    trainer.fit(method, make_data(workers=workers, data=data), ckpt_path=resume)
    return trainer


def snapshot(module):
    return {key: value.detach().clone() for key, value in module.state_dict().items()}


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    different = [key for key in found if not torch.equal(found[key], expected[key])]
    assert different == []


def same(found, expected):
    return all(torch.equal(found[key], expected[key]) for key in expected)


class MemorySource:
    """Images of many sizes in memory, with ignored pixels."""

    def __init__(self, sizes):
        rng = np.random.default_rng(0)
        self.images = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
        self.masks = [rng.integers(0, 11, size, dtype=np.uint8) for size in sizes]
        for mask in self.masks:
            mask[:5, 3:] = 255

    def __len__(self):
        return len(self.images)

    def name(self, index):
        return f"memory/{index}"

    def image(self, index):
        return self.images[index]

    def mask(self, index):
        return self.masks[index]


def data_of_many_sizes():
    train = unimatch.data.digits(**DATA)
    val = MemorySource([(48, 48), (33, 60), (47, 35), (64, 40), (36, 36)])
    return unimatch.SegmentationData(DIGITS, labeled=train.labeled, unlabeled=train.unlabeled, val=val, test=val)


def predict_every_class(model, seed):
    """New random weights, the classifier scaled so that each class is predicted somewhere."""
    torch.manual_seed(seed)
    model.load_state_dict(SegmentationModel("tiny", 11, features=8, out_channels=(8, 8, 8, 8)).state_dict())
    classifier, images = model.decoder.classify[2], torch.randn(2, 3, 48, 48)
    with torch.no_grad():
        logits = copy.deepcopy(model).eval()(images).transpose(0, 1).flatten(1)  # (C, N)
        mean, spread = logits.mean(1), logits.std(1)
        classifier.weight.div_(spread.view(-1, 1, 1, 1))
        classifier.bias.sub_(mean).div_(spread)


class EachBatch(lightning.Callback):
    """Keeps what `look` sees after every training batch."""

    def __init__(self, look):
        self.look, self.seen = look, []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.seen.append(self.look(trainer, pl_module))
