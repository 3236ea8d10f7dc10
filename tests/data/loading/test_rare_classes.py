import math
from collections import Counter

import numpy as np
import pytest
import torch

from unimatch import SemiSupervisedDataModule
from unimatch.augment import PaddedCrop, RandAugment, Views
from unimatch.data import digits, digits_classification
from unimatch.data.catalog import DIGITS
from unimatch.data.loading.datasets import LabeledDataset
from unimatch.data.loading.rare_classes import RareClasses, count_classes
from unimatch.data.sources.base import SegmentationData
from unimatch.errors import ConfigError, DataError
from unimatch.types import Needs


class Masks:
    """Images of 40 x 40 pixels; image i shows class 0 and, in a small square, class i % 3 + 1."""

    def __init__(self, count=6):
        self.masks = np.zeros((count, 40, 40), np.uint8)
        for i, mask in enumerate(self.masks):
            mask[2:6, 30 : 34 + i] = i % 3 + 1
            mask[:, 0] = 255

    def __len__(self):
        return len(self.masks)

    def name(self, index):
        return f"masks/{index}"

    def image(self, index):
        return np.full((40, 40, 3), index, np.uint8)

    def mask(self, index):
        return self.masks[index]


def test_counting_is_that_of_a_loop_over_pixels():
    source = Masks()
    counts = count_classes(source, 5)
    pixels, images = Counter(), {}
    for i in range(len(source)):
        for value in source.mask(i).ravel().tolist():
            if value != 255:
                pixels[value] += 1
                images.setdefault(value, set()).add(i)
    assert counts.pixels.tolist() == [pixels[c] for c in range(5)]
    assert [set(found.tolist()) for found in counts.images] == [images.get(c, set()) for c in range(5)]


@pytest.mark.parametrize("temperature", [0.05, 1.0, 1e-4])
def test_classes_are_drawn_by_daformers_formula(temperature):
    counts = count_classes(Masks(), 5)
    total = sum(counts.pixels.tolist())
    shares = [count / total for count in counts.pixels.tolist()]
    largest = max((1 - share) / temperature for share in shares if share)
    weights = [math.exp((1 - share) / temperature - largest) if share else 0.0 for share in shares]
    expected = [weight / sum(weights) for weight in weights]
    rare = RareClasses(counts, temperature, 20)
    np.testing.assert_allclose(rare.probability, expected, rtol=1e-9)
    rng = np.random.default_rng(0)
    drawn = [rare.draw(rng) for _ in range(3000)]
    seen = Counter(class_id for class_id, _ in drawn)
    for class_id, probability in enumerate(expected):
        assert seen[class_id] / 3000 == pytest.approx(probability, abs=0.04)
    assert all(index in counts.images[class_id] for class_id, index in drawn)
    if seen[2] > 300:  # images of a class are equally likely
        assert Counter(index for class_id, index in drawn if class_id == 2)[1] / seen[2] == pytest.approx(0.5, abs=0.1)


def test_a_sample_shows_the_class_that_was_drawn_and_is_a_function_of_its_key():
    source, view = Masks(), Views(12).labeled
    rare = RareClasses(count_classes(source, 5), 0.05, 40)
    dataset = LabeledDataset(source, view, 0, rare)
    once = LabeledDataset(source, view, 0, RareClasses(count_classes(source, 5), 0.05, 1))
    shown = shown_once = 0
    for position in range(60):
        sample = dataset[(3, position)]
        drawn, index = rare.draw(np.random.default_rng((0, 1, 3, position, 3)))
        assert sample["index"] == index
        shown += bool((sample["label"] == drawn).any())
        shown_once += bool((once[(3, position)]["label"] == drawn).any())
    assert shown > 57 > 45 > shown_once
    for key in ((3, 7), (3, 0), (3, 7)):
        again = LabeledDataset(source, view, 0, rare)[key]
        assert all(torch.equal(again[name], dataset[key][name]) for name in again)
    assert {int(LabeledDataset(source, view, seed, rare)[(3, 7)]["index"]) for seed in range(9)} != {0}


def module_of(data, *, world=1, rank=0, start=(0, 0), workers=0, **arguments):
    module = SemiSupervisedDataModule(data, crop=24, batch_size=4 // world, workers=workers, **arguments)
    needs = Needs(start=start)

    class Method:
        pass

    class Trainer:
        lightning_module, world_size, global_rank, accumulate_grad_batches = Method(), world, rank, 1

    Trainer.lightning_module.needs = needs
    module.trainer = Trainer()
    module.setup("fit")
    return [batch["labeled"] for batch, _, _ in module.train_dataloader()]


@pytest.fixture(scope="module")
def scenes():
    return digits(labeled=5, train=25, val=3, size=32)


@pytest.mark.nightly
def test_batches_do_not_depend_on_workers_processes_or_a_resume(scenes):
    rare = {"rare_class_temperature": 0.05}
    whole = module_of(scenes, **rare)
    assert len(whole) == 5
    plain = module_of(scenes)
    assert any(not torch.equal(one["index"], other["index"]) for one, other in zip(whole, plain, strict=True))
    for found in (module_of(scenes, workers=2, **rare), [None] * 2 + module_of(scenes, start=(0, 2), **rare)):
        for one, other in zip(whole, found, strict=False):
            assert other is None or all(torch.equal(one[name], other[name]) for name in one)
    ranks = [module_of(scenes, world=2, rank=rank, **rare) for rank in range(2)]
    for step, one in enumerate(whole):
        for name in ("index", "label"):
            shared = torch.stack([ranks[rank][step][name] for rank in range(2)], dim=1).flatten(0, 1)
            assert torch.equal(shared, one[name])


def test_classification_draws_images_of_rare_classes():
    data = digits_classification(labeled_per_class=2)
    assert SemiSupervisedDataModule(data, crop=8).labeled_pixels == [2] * 10
    counts = count_classes(data.labeled, 10)
    rare = RareClasses(counts, 0.05, 20)
    np.testing.assert_allclose(rare.probability, 0.1)
    dataset = LabeledDataset(data.labeled, Views(8, PaddedCrop(), RandAugment(), 0.0, one_class=True).labeled, 0, rare)
    for position in range(4):
        drawn, index = rare.draw(np.random.default_rng((0, 1, 0, position, 3)))
        sample = dataset[(0, position)]
        assert (sample["label"], sample["index"]) == (drawn, index)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rare_class_temperature": 0}, "rare_class_temperature=0: must be above 0"),
        ({"rare_class_temperature": math.nan}, "rare_class_temperature=nan"),
        ({"rare_class_temperature": 0.05, "rare_class_crops": 0}, "rare_class_crops=0: must be at least 1"),
    ],
)
def test_what_cannot_be_is_refused(scenes, arguments, message):
    with pytest.raises(ConfigError, match=message):
        SemiSupervisedDataModule(scenes, crop=24, **arguments)


def test_labels_without_any_class_are_refused():
    source = Masks(2)
    source.masks[:] = 255
    data = SegmentationData(DIGITS, source, source, source)
    with pytest.raises(DataError, match="the labelled images show no class"):
        RareClasses(count_classes(data.labeled, 11), 0.05, 20)
