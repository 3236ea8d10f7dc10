"""Arguments of a wrong kind are refused by the public classes, by name, when an object is made."""

import numpy as np
import pytest
import torch

from helpers.fits import make_data
from unimatch import (
    Checkpoints,
    ConfigError,
    DataError,
    Guard,
    Inference,
    Segmentation,
    SegmentationData,
    SegmentationModel,
    SemiSupervisedDataModule,
    UniMatchV2,
)
from unimatch.methods.saved_settings import settings_of

NOTHING = object()
NO_COUNT = ("x", 1.5, True, -1, [], torch.ones(2), np.ones(2), NOTHING)
NO_NUMBER = ("x", True, -1, [], torch.ones(2), np.ones(2), NOTHING)
NO_FLAG = ("false", 0, 1, None, [], torch.ones(2), np.ones(2), NOTHING)
NO_WORD = ("x", True, 1.5, [], {}, torch.ones(2), np.ones(2), NOTHING)


@pytest.fixture(scope="module")
def model():
    return SegmentationModel("tiny", 2, features=8, out_channels=(8, 8, 8, 8))


@pytest.fixture(scope="module")
def data():
    return make_data().data


def refused(make, values, *names):
    for name in names:
        for value in values:
            with pytest.raises(ConfigError, match=f"^{name}\\b"):
                make(**{name: value})


def test_by_methods(model):
    def make(**options):
        return UniMatchV2(model, **options)

    refused(make, NO_COUNT, "reference_batch", "seed")
    refused(make, NO_NUMBER, "tau", "keep_ratio", "loss_weight", "learning_rate", "weight_decay", "ema_decay", "dice")
    refused(make, NO_FLAG, "decay_norms", "freeze_batch_statistics")
    refused(make, NO_WORD, "thresholds", "channel_dropout", "optimizer", "schedule", "task")
    refused(make, ("x", True, 1.5, [], torch.ones(3), np.ones(3), torch.tensor(1.0), NOTHING), "class_weights")
    refused(make, (True, *NO_WORD), "strong_views", "cutmix_partner", "pseudo_labels_from", "distribution_alignment")


def test_by_models():
    def make(**options):
        return SegmentationModel(**{"encoder": "tiny", "num_classes": 2, **options})

    refused(make, NO_COUNT, "num_classes", "unlock_after", "lora")
    refused(make, NO_FLAG, "freeze", "gradient_checkpointing")
    refused(make, NO_WORD, "decoder")


def test_by_data_modules(data):
    def make(**options):
        return SemiSupervisedDataModule(**{"data": data, "crop": 48, **options})

    refused(make, NO_COUNT, "batch_size", "unlabeled_ratio", "labeled_length", "held_out", "split_seed", "workers")
    refused(make, NO_COUNT, "crop", "rare_class_crops", "evaluation_batch", "seed")
    refused(make, NO_NUMBER, "rare_class_temperature", "cutmix")
    refused(make, NO_FLAG, "labeled_strong")
    refused(make, NO_WORD, "data", "weak", "augment")


def test_by_rules_and_tasks():
    refused(Inference, NO_COUNT, "window", "stride", "large")
    refused(Inference, NO_FLAG, "flip")
    refused(Inference, NO_WORD, "mode")
    refused(Inference, ("x", 1.0, None, [], ["x"], [True], torch.tensor(1.0), NOTHING), "scales")
    refused(Segmentation, NO_WORD, "inference")
    refused(Segmentation, ("zeros", None, *NO_WORD), "absent")


def test_by_callbacks(tmp_path):
    def checkpoints(**options):
        return Checkpoints(tmp_path, **options)

    refused(checkpoints, NO_COUNT, "every_n_steps")
    refused(checkpoints, NO_NUMBER, "every_minutes")
    refused(lambda **options: Guard(tmp_path, **options), NO_COUNT, "idle_steps")


def test_folders_of_callbacks_may_be_text(tmp_path):
    assert Checkpoints(str(tmp_path)).folder == tmp_path / "checkpoints"
    assert Guard(str(tmp_path)).run_dir == tmp_path


def test_one_text_is_no_list_of_classes():
    pairs = [(torch.rand(3, 8, 8), torch.zeros(8, 8, dtype=torch.int64))]
    with pytest.raises(ConfigError, match=r"^classes=road: must be a list of names"):
        SegmentationData.from_datasets(pairs, pairs, pairs, classes="road")


@pytest.mark.parametrize("part", ["labeled", "unlabeled", "val"])
def test_none_is_no_list_of_samples(part):
    pairs = [(torch.rand(3, 8, 8), torch.zeros(8, 8, dtype=torch.int64))]
    parts = {"labeled": pairs, "unlabeled": [], "val": pairs, part: None}
    with pytest.raises(DataError, match=f"^{part}: is missing"):
        SegmentationData.from_datasets(**parts, classes=["a", "b"])


@pytest.mark.parametrize("weights", [np.array([1, 3]), np.float32([1, 3]), torch.tensor([1.0, 3.0]), (1, 3)])
def test_class_weights_of_any_kind_of_list_are_kept(model, weights):
    method = UniMatchV2(model, class_weights=weights)
    assert method.criterion.weight.tolist() == [1, 3]
    assert settings_of(method).settings["class_weights"] == [1, 3]
    assert settings_of(method).objects == []


def test_numbers_of_numpy_and_torch_are_taken(model, data):
    assert UniMatchV2(model, seed=np.int64(3), tau=np.float32(0.5), freeze_batch_statistics=np.True_).seed == 3
    assert settings_of(UniMatchV2(model, seed=torch.tensor(3))).settings["seed"] == 3
    module = SemiSupervisedDataModule(data, crop=np.int64(48), batch_size=torch.tensor(2), cutmix=np.float64(0))
    assert (module.crop, module.batch_size) == (48, 2)
