import re

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from helpers.broken import fails
from unimatch.augment import ScaledCrop, Views
from unimatch.augment.base import CalledView
from unimatch.cli.building import message_of
from unimatch.data import digits, folder
from unimatch.data.catalog import CAMVID
from unimatch.data.loading.datasets import EvaluationDataset, LabeledDataset, UnlabeledDataset, keep_list
from unimatch.data.sources.base import FileSource
from unimatch.data.sources.files import FilePair
from unimatch.errors import ConfigError, DataError


@pytest.fixture(scope="module")
def scenes():
    return digits(labeled=5, train=17, val=3, size=32)


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def make_datasets(scenes, seed=0):
    return (
        LabeledDataset(scenes.labeled, Views(24, labeled_strong=True).labeled, seed),
        UnlabeledDataset(scenes.unlabeled, Views(24).unlabeled, seed),
    )


@pytest.mark.parametrize("which", [0, 1], ids=["labeled", "unlabeled"])
def test_sample_is_a_function_of_seed_epoch_and_position(scenes, which):
    dataset = make_datasets(scenes)[which]
    reference = dataset[(2, 3)]
    for key in ((0, 0), (5, 1)):
        dataset[key]  # what was read before must not matter
    np.random.seed(9)  # noqa: NPY002 - nor the global state
    torch.manual_seed(9)
    assert same(dataset[(2, 3)], reference)
    assert same(make_datasets(scenes)[which][(2, 3)], reference)
    assert not same(dataset[(3, 3)], reference)
    assert not same(make_datasets(scenes, seed=1)[which][(2, 3)], reference)
    # The same image at a later position of the repeated list has other views.
    again = dataset[(2, 3 + len(dataset.source))]
    assert again["index"] == reference["index"]
    assert not same(again, reference)


def test_labeled_list_is_repeated_whole(scenes):
    dataset = make_datasets(scenes)[0]
    assert [dataset[(0, position)]["index"].item() for position in range(12)] == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]


def test_sample_shows_the_image_of_its_index(scenes):
    whole = Views(32, ScaledCrop((1.0, 1.0), flip=0.0))
    dataset = LabeledDataset(scenes.labeled, whole.labeled, 0)
    pool = UnlabeledDataset(scenes.unlabeled, whole.unlabeled, 0)
    for position in range(5):
        sample = dataset[(0, position)]
        assert torch.equal(sample["image"], torch.tensor(scenes.labeled.image(position)).permute(2, 0, 1))
        assert torch.equal(sample["label"], torch.tensor(scenes.labeled.mask(position)))
        sample = pool[(0, position)]
        assert sample["index"] == position
        assert torch.equal(sample["weak"], torch.tensor(scenes.unlabeled.image(position)).permute(2, 0, 1))
        assert torch.equal(sample["truth"], torch.tensor(scenes.unlabeled.mask(position)))


def test_labeled_and_unlabeled_streams_differ(scenes):
    labeled = LabeledDataset(scenes.labeled, Views(24).labeled, 0)
    unlabeled = UnlabeledDataset(scenes.labeled, Views(24).unlabeled, 0)
    equal = [torch.equal(labeled[(0, i)]["image"], unlabeled[(0, i)]["weak"]) for i in range(5)]
    assert not any(equal)


def test_views_draw_apart_from_the_order(scenes):
    # A sampler and a sample of the same numbers must not share their random stream.
    samples = [make_datasets(scenes, seed)[1][(0, 0)]["weak"] for seed in range(8)]
    assert len({sample.numpy().tobytes() for sample in samples}) == 8


def test_unlabeled_images_without_masks_have_no_truth(folder_root):
    data = folder(folder_root)
    dataset = UnlabeledDataset(data.unlabeled, Views(12).unlabeled, 0)
    assert all((dataset[(0, i)]["truth"] == 255).all() for i in range(4))


def test_unreadable_mask_of_an_unlabeled_image_is_unknown_truth(folder_root):
    source = folder(folder_root, labeled=2).unlabeled
    dataset = UnlabeledDataset(source, Views(12).unlabeled, 0)
    before = dataset[(0, 1)]
    source.pairs[1].mask.write_bytes(b"")
    after = dataset[(0, 1)]
    assert not (before["truth"] == 255).all()
    assert (after["truth"] == 255).all()
    assert all(torch.equal(before[name], after[name]) for name in before if name != "truth")


def test_labeled_image_without_mask_is_named(folder_root):
    pool = folder(folder_root).unlabeled
    with pytest.raises(DataError, match=r"u1\.png: has no mask, but is in the labelled list"):
        LabeledDataset(pool, Views(12).labeled, 0)[(0, 1)]


def test_evaluation_samples_are_whole_images_with_masks(folder_root):
    source = folder(folder_root).val
    dataset = EvaluationDataset(source)
    assert len(dataset) == 3
    for i in range(3):
        sample = dataset[i]
        assert sample["image"].dtype == sample["label"].dtype == torch.uint8
        assert torch.equal(sample["image"], torch.tensor(source.image(i)).permute(2, 0, 1))
        assert torch.equal(sample["label"], torch.tensor(source.mask(i)))
        assert sample["index"].dtype == torch.int64
        assert sample["index"] == i


def test_evaluation_of_an_image_without_mask_is_refused(folder_root):
    source = folder(folder_root).unlabeled
    assert isinstance(source, FileSource)
    with pytest.raises(DataError, match=r"u0\.png: has no mask, so it cannot be evaluated"):
        EvaluationDataset(source)[0]


def test_evaluation_batches_stay_lists():
    samples = [{"image": torch.zeros(3, 4, 5)}, {"image": torch.zeros(3, 7, 2)}]
    assert keep_list(samples) is samples


@pytest.fixture
def pool_with_bad_images(tmp_path, write_pair):
    """40 unlabelled images, of which numbers 3, 17 and 30 cannot be read."""
    for i in range(40):
        write_pair(tmp_path / "pool" / f"{i:02d}.png", None, seed=i)
    for i in (3, 17, 30):
        (tmp_path / "pool" / f"{i:02d}.png").write_bytes(b"no image")
    return FileSource([FilePair(tmp_path / "pool" / f"{i:02d}.png") for i in range(40)], CAMVID)


def test_bad_image_is_replaced_by_one_that_its_key_chooses(pool_with_bad_images):
    views = Views(16, ScaledCrop((1.0, 1.0), flip=0.0)).unlabeled
    dataset = UnlabeledDataset(pool_with_bad_images, views, 0, skip_bad=True)
    replacements = set()
    for epoch in range(20):
        for position in range(40):
            sample = dataset[(epoch, position)]
            bad = sample["bad"][sample["bad"] >= 0].tolist()
            assert (position in (3, 17, 30)) == bool(bad)
            assert set(bad) <= {3, 17, 30}
            assert bad[:1] in ([], [position])
            assert (sample["index"] == position) == (not bad)
            if bad:
                replacements.add(int(sample["index"]))
                assert same(sample, UnlabeledDataset(pool_with_bad_images, views, 0, skip_bad=True)[(epoch, position)])
    assert len(replacements) > 15
    assert not replacements & {3, 17, 30}


def test_other_samples_do_not_depend_on_bad_ones(pool_with_bad_images):
    skipping, plain = (
        UnlabeledDataset(pool_with_bad_images, Views(16).unlabeled, 0, skip_bad=skip) for skip in (True, False)
    )
    for position in (0, 4, 39):
        sample = skipping[(2, position)]
        sample.pop("bad")
        assert same(sample, plain[(2, position)])


def test_bad_image_ends_the_run_by_default(pool_with_bad_images):
    with pytest.raises(DataError, match=r"17\.png: cannot be read"):
        UnlabeledDataset(pool_with_bad_images, Views(16).unlabeled, 0)[(0, 17)]


def test_too_many_bad_images_end_the_run_in_any_case(tmp_path):
    source = FileSource([FilePair(tmp_path / f"{i}.png") for i in range(9)], CAMVID)
    with pytest.raises(DataError, match=r"9 unlabelled images in a row cannot be read\. .*\.png: cannot be read"):
        UnlabeledDataset(source, Views(16).unlabeled, 0, skip_bad=True)[(0, 0)]


def test_mask_of_another_size_is_unknown_truth(tmp_path, write_pair):
    write_pair(tmp_path / "a.png", tmp_path / "m.png", size=(16, 20), mask_size=(8, 10))
    dataset = UnlabeledDataset(
        FileSource([FilePair(tmp_path / "a.png", tmp_path / "m.png")], CAMVID), Views(12).unlabeled, 0
    )
    assert (dataset[(0, 0)]["truth"] == 255).all()


OWN = "of my own' (broken.py, line 7); "


@pytest.mark.parametrize("which", ["labeled", "unlabeled", "val"])
@pytest.mark.parametrize("where", ["image", "mask", "view"])
def test_own_code_that_fails_is_told_with_the_image_and_its_place(scenes, which, where, monkeypatch):
    if where != "view":  # as in a subclass of one of our sources
        monkeypatch.setattr(type(scenes.labeled), where, fails)
    elif which == "val":
        return
    views = Views(24, strong=CalledView(fails), labeled_strong=True) if where == "view" else Views(24)
    dataset, key = {
        "labeled": (LabeledDataset(scenes.labeled, views.labeled, 0), (0, 2)),
        "unlabeled": (UnlabeledDataset(scenes.unlabeled, views.unlabeled, 0), (0, 2)),
        "val": (EvaluationDataset(scenes.val), 2),
    }[which]
    with pytest.raises(ConfigError, match=re.escape(f"{dataset.source.name(2)}: KeyError: '" + OWN)):
        dataset[key]


@pytest.mark.parametrize("kind", [KeyError, RuntimeError, TypeError, FileNotFoundError, AssertionError])
def test_it_is_so_in_a_process_that_loads_images(scenes, monkeypatch, kind):
    def own(source, index):
        raise kind("first line\nsecond")

    monkeypatch.setattr(type(scenes.val), "image", own)
    with pytest.raises((ConfigError, DataError)) as caught:
        next(iter(DataLoader(EvaluationDataset(scenes.val), num_workers=1)))
    told = message_of(caught.value)
    assert told.startswith(f"{scenes.val.name(0)}: {kind.__name__}: ")
    assert re.fullmatch(r".*first line.* \(test_datasets.py, line \d+\); HYDRA_FULL_ERROR=1 .*", told.strip())
