import copy
import pickle
from dataclasses import replace
from types import SimpleNamespace

import albumentations
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import v2

from helpers.support import rest_nightly
from unimatch import SemiSupervisedDataModule
from unimatch.augment import Albumentations, PaddedCrop, RandAugment, ScaledCrop, StrongAugmentation, TorchvisionV2
from unimatch.data import camvid, digits, digits_classification, folder
from unimatch.errors import ConfigError, DataError
from unimatch.images.arrays import nearest_multiple
from unimatch.images.tensors import normalize
from unimatch.types import Needs

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture(scope="module")
def scenes():
    return digits(labeled=5, train=22, val=7, size=32)


def make_module(data, *, needs=None, world=1, rank=0, **arguments):
    """A data module, attached to a stand-in for a trainer if a method's needs are given."""
    module = SemiSupervisedDataModule(data, **{"crop": 24, "batch_size": 4, "workers": 0, **arguments})
    if needs is not None:
        method = SimpleNamespace(needs=needs)
        module.trainer = SimpleNamespace(lightning_module=method, world_size=world, global_rank=rank)
    return module


def training_batches(module, epochs=1):
    module.setup("fit")
    combined = module.train_dataloader()
    result = []
    for epoch in range(epochs):
        for loader in combined.flattened:
            loader.sampler.set_epoch(epoch)
        result.extend(batch for batch, _, _ in combined)
    return result


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert first[name].dtype == second[name].dtype
        assert torch.equal(first[name], second[name]), name


def assert_same_batches(first, second):
    assert len(first) == len(second) > 0
    for one, other in zip(first, second, strict=True):
        assert one.keys() == other.keys()
        for part in one:
            assert_same(one[part], other[part])


def test_epoch_is_one_pass_over_the_unlabeled_list(scenes):
    batches = training_batches(make_module(scenes))
    assert len(batches) == 17 // 4
    unlabeled = torch.cat([batch["unlabeled"]["index"] for batch in batches]).tolist()
    assert len(set(unlabeled)) == len(unlabeled) == 16
    # The labelled list of 5 is repeated to 17 entries, one of which the last partial batch leaves out.
    counts = np.bincount(torch.cat([batch["labeled"]["index"] for batch in batches]), minlength=5)
    assert counts.sum() == 16
    assert (counts <= [4, 4, 3, 3, 3]).all()


def test_repeated_labeled_list_is_cut_to_the_unlabeled_one(scenes):
    batches = training_batches(make_module(scenes, batch_size=1))
    counts = np.bincount(torch.cat([batch["labeled"]["index"] for batch in batches]), minlength=5)
    assert counts.tolist() == [4, 4, 3, 3, 3]


def test_no_labeled_image_is_left_out_for_good_where_there_are_more_of_them():
    module = make_module(digits(labeled=16, train=20, val=2, size=32), batch_size=2)
    batches = training_batches(module, epochs=30)
    assert len(batches) == 30 * 2
    assert set(torch.cat([batch["labeled"]["index"] for batch in batches]).tolist()) == set(range(16))


def test_batches_have_the_documented_fields_shapes_and_types(scenes):
    module = make_module(scenes, labeled_strong=True)
    batch = module.on_after_batch_transfer(training_batches(module)[0], 0)
    image, box = ((4, 3, 24, 24), torch.float32), ((4, 4), torch.int64)
    ids, index = ((4, 24, 24), torch.int64), ((4,), torch.int64)
    found = {part: {name: (tuple(value.shape), value.dtype) for name, value in batch[part].items()} for part in batch}
    assert found == {
        "labeled": {"image": image, "label": ids, "index": index, "box": box},
        "unlabeled": {
            "weak": image,
            "strong1": image,
            "strong2": image,
            "valid": ((4, 24, 24), torch.bool),
            "box1": box,
            "box2": box,
            "truth": ids,
            "index": index,
        },
    }


def test_labeled_images_have_no_box_by_default(scenes):
    assert set(training_batches(make_module(scenes))[0]["labeled"]) == {"image", "label", "index"}


def test_workers_do_not_change_the_batches(scenes):
    without = training_batches(make_module(scenes, workers=0), epochs=2)
    assert_same_batches(without, training_batches(make_module(scenes, workers=2), epochs=2))


def test_workers_do_not_change_the_batches_read_from_files(folder_root):
    data = folder(folder_root, labeled=2)
    without = training_batches(make_module(data, batch_size=2, workers=0))
    assert_same_batches(without, training_batches(make_module(data, batch_size=2, workers=2)))


def test_batches_are_a_function_of_the_seed(scenes):
    first = training_batches(make_module(scenes, seed=3))
    torch.manual_seed(1)
    assert_same_batches(first, training_batches(make_module(scenes, seed=3)))
    other = training_batches(make_module(scenes, seed=4))
    assert not torch.equal(first[0]["labeled"]["image"], other[0]["labeled"]["image"])
    assert not torch.equal(first[0]["unlabeled"]["weak"], other[0]["unlabeled"]["weak"])


def test_epochs_differ(scenes):
    batches = training_batches(make_module(scenes), epochs=2)
    first, second = batches[: len(batches) // 2], batches[len(batches) // 2 :]
    assert not torch.equal(first[0]["labeled"]["image"], second[0]["labeled"]["image"])
    assert not torch.equal(first[0]["unlabeled"]["weak"], second[0]["unlabeled"]["weak"])


def test_every_method_sees_the_same_labeled_batches(scenes):
    semi = training_batches(make_module(scenes, needs=Needs()), epochs=2)
    labeled_only = training_batches(make_module(scenes, needs=Needs(unlabeled=False)), epochs=2)
    assert all(set(batch) == {"labeled", "unlabeled"} for batch in semi)
    assert all(set(batch) == {"labeled"} for batch in labeled_only)
    assert_same_batches([{"labeled": batch["labeled"]} for batch in semi], labeled_only)


def test_views_of_unlabeled_images_do_not_change_the_labeled_batches(scenes):
    mild = StrongAugmentation(jitter_probability=0.0, grayscale_probability=0.0, blur_probability=0.0)
    first = training_batches(make_module(scenes))
    second = training_batches(make_module(scenes, strong=mild, cutmix=0.0))
    for one, other in zip(first, second, strict=True):
        assert_same(one["labeled"], other["labeled"])
        assert torch.equal(one["unlabeled"]["weak"], other["unlabeled"]["weak"])
        assert not other["unlabeled"]["box1"].any()


def test_labeled_list_may_be_repeated_to_a_given_length(scenes):
    module = make_module(scenes, needs=Needs(unlabeled=False), labeled_length=41)
    batches = training_batches(module)
    assert len(batches) == 10
    counts = np.bincount(torch.cat([batch["labeled"]["index"] for batch in batches]), minlength=5)
    assert counts.sum() == 40
    assert (counts <= [9, 8, 8, 8, 8]).all()
    # It is no way to leave labelled images out, and for methods without unlabelled images alone.
    assert len(training_batches(make_module(scenes, needs=Needs(unlabeled=False), labeled_length=2, batch_size=1))) == 5
    assert len(training_batches(make_module(scenes, needs=Needs(), labeled_length=41))) == 4


def test_labeled_only_method_needs_no_unlabeled_images():
    data = digits(labeled=None, train=9, val=2, size=32)
    assert len(training_batches(make_module(data, needs=Needs(unlabeled=False)))) == 2


def test_processes_share_the_batches_of_one(scenes):
    single = training_batches(make_module(scenes, batch_size=4))
    ranks = [
        training_batches(make_module(scenes, batch_size=2, needs=Needs(), world=2, rank=rank)) for rank in range(2)
    ]
    for step, whole in enumerate(single):
        for part, image in (("labeled", "image"), ("unlabeled", "weak")):
            shared = [ranks[rank][step][part][image][i].numpy().tobytes() for rank in range(2) for i in range(2)]
            expected = [view.numpy().tobytes() for view in whole[part][image]]
            assert sorted(shared) == sorted(expected)


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_validation_images_are_seen_once_at_their_own_size(scenes, world):
    seen = []
    for rank in range(world):
        module = make_module(scenes, needs=Needs(), world=world, rank=rank)
        for batch in module.val_dataloader():
            assert isinstance(batch, list)
            assert len(batch) == 1
            (sample,) = module.on_after_batch_transfer(batch, 0)
            index = int(sample["index"])
            seen.append(index)
            expected = scenes.val.image(index).astype(float).transpose(2, 0, 1) / 255
            expected = (expected - np.array(MEAN)[:, None, None]) / np.array(STD)[:, None, None]
            assert np.allclose(sample["image"].numpy(), expected, atol=1e-5)
            assert sample["label"].dtype == torch.int64
            assert np.array_equal(sample["label"].numpy(), scenes.val.mask(index))
    assert sorted(seen) == list(range(7))


def test_validation_images_of_different_sizes_and_workers(folder_root):
    module = make_module(folder(folder_root), workers=2)
    assert [tuple(batch[0]["image"].shape) for batch in module.val_dataloader()] == [
        (3, 12, 30),
        (3, 13, 30),
        (3, 14, 30),
    ]


def test_evaluation_batches_hold_as_many_images_as_asked_for(scenes):
    module = make_module(scenes, evaluation_batch=3)
    assert [[int(sample["index"]) for sample in batch] for batch in module.val_dataloader()] == [
        [0, 1, 2],
        [3, 4, 5],
        [6],
    ]


def test_test_images_are_loaded_where_there_are_any(camvid_root, scenes):
    assert len(list(make_module(camvid(camvid_root)).test_dataloader())) == 2
    with pytest.raises(ConfigError, match="data set digits has no test images"):
        make_module(scenes).test_dataloader()


def test_normalization_is_imagenets():
    images = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    result = normalize(images)
    assert result.dtype == torch.float32
    for i in range(2):
        for channel in range(3):
            for row in range(4):
                for column in range(5):
                    expected = (images[i, channel, row, column].item() / 255 - MEAN[channel]) / STD[channel]
                    assert abs(result[i, channel, row, column].item() - expected) < 1e-5


def test_transfer_normalizes_images_and_widens_masks_only(scenes):
    module = make_module(scenes)
    batch = training_batches(module)[0]
    before = {part: dict(fields) for part, fields in batch.items()}
    result = module.on_after_batch_transfer(batch, 0)
    for part, fields in before.items():
        for name, value in fields.items():
            changed = result[part][name]
            if name in ("image", "weak", "strong1", "strong2"):
                mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
                assert torch.allclose(changed * std + mean, value / 255, atol=1e-6)
            else:
                assert torch.equal(changed, value)
            assert torch.equal(batch[part][name], value)


@given(st.integers(1, 2000), st.integers(1, 64))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_crop_is_rounded_to_the_nearest_multiple(crop, multiple):
    rounded = nearest_multiple(crop, multiple)
    candidates = [multiple * factor for factor in range(1, crop // multiple + 2)]
    nearest = min(abs(candidate - crop) for candidate in candidates)
    # The larger of two equally near ones.
    assert rounded == max(candidate for candidate in candidates if abs(candidate - crop) == nearest)


def test_crop_is_rounded_to_the_attached_models_patch_size(scenes, caplog):
    caplog.set_level("INFO")
    module = make_module(scenes, crop=30)
    assert module.crop == 30
    assert training_batches(module)[0]["unlabeled"]["strong1"].shape[-2:] == (30, 30)
    module = make_module(scenes, crop=30, needs=Needs(size_multiple=14))
    assert training_batches(module)[0]["unlabeled"]["strong1"].shape[-2:] == (28, 28)
    module.setup("fit")
    assert module.crop == 28
    assert caplog.text.count("crop 30 rounded to 28, a multiple of the patch size 14") == 1


def test_view_settings_reach_the_views():
    # Scenes of 32 pixels doubled fill a view of 64 whole; halved they fill a quarter of one of 32.
    data = digits(labeled=4, train=8, val=1, size=32)
    batch = training_batches(make_module(data, crop=64, weak=ScaledCrop((2.0, 2.0)), cutmix=1.0))[0]
    assert batch["unlabeled"]["valid"].all()
    assert batch["unlabeled"]["box1"].any(dim=1).all()
    batch = training_batches(make_module(data, crop=32, weak=ScaledCrop([0.5, 0.5], flip=1.0)))[0]
    valid = batch["unlabeled"]["valid"]
    assert valid.sum(dim=(1, 2)).tolist() == [256] * 4
    assert valid[:, :16, 16:].all()
    assert (batch["labeled"]["label"][:, :16, :16] == 255).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"crop": 0}, r"crop=0: must be at least 1"),
        ({"crop": np.int64(0)}, r"crop=0: must be at least 1"),
        ({"crop": 2**15}, r"crop=32768: must be at most 32767"),
        (
            {"batch_size": 10**20},
            r"batch_size=100000000000000000000: must be at most 2147483647",
        ),
        ({"crop": "Auto"}, r"crop=Auto: must be a whole number or auto"),
        ({"batch_size": 0}, r"batch_size=0: must be at least 1"),
        ({"evaluation_batch": 0}, r"evaluation_batch=0: must be at least 1"),
        ({"workers": -1}, r"workers=-1: must be at least 0"),
        ({"seed": -1}, r"seed=-1: must be at least 0 and below"),
        ({"split_seed": 2**32}, r"split_seed=4294967296: must be at least 0 and below"),
        ({"cutmix": -0.1}, r"cutmix=-0\.1: must be a probability"),
        ({"weak": 3}, "weak=3: must be an object of the class WeakView"),
        ({"batch_size": "4"}, r"batch_size=4: must be a whole number"),
        ({"augment": "gpu"}, "augment=gpu: must be one of workers, device"),
    ],
)
def test_impossible_numbers_are_refused_with_their_key(scenes, arguments, message):
    with pytest.raises(ConfigError, match=message):
        make_module(scenes, **arguments)


@pytest.mark.parametrize(("batch_size", "world"), [(18, 1), (9, 2)])
def test_epoch_smaller_than_one_batch_is_refused(scenes, batch_size, world):
    module = make_module(scenes, batch_size=batch_size, needs=Needs(), world=world)
    message = rf"batch_size={batch_size}: an epoch of 17 images .* {world} process\(es\); lower it"
    with pytest.raises(ConfigError, match=message):
        module.setup("fit")


def test_epoch_of_exactly_one_batch_is_enough(scenes):
    assert len(training_batches(make_module(scenes, batch_size=17))) == 1


def test_more_processes_than_validation_images_are_refused(scenes):
    module = make_module(scenes, batch_size=1, needs=Needs(), world=8)
    with pytest.raises(ConfigError, match="7 validation images cannot be shared by 8 processes"):
        module.setup("fit")


def test_setup_refuses_faulty_data(folder_root):
    file = folder_root / "unlabeled" / "u0.png"
    file.write_bytes(b"")
    module = make_module(folder(folder_root), batch_size=2, needs=Needs())
    with pytest.raises(DataError) as caught:
        module.setup("fit")
    assert str(file) in str(caught.value)
    # A method that does not read the file may run.
    make_module(folder(folder_root), batch_size=2, needs=Needs(unlabeled=False)).setup("fit")


def bad_pool(folder_root):
    for name in ("u0.png", "u2.png"):
        (folder_root / "unlabeled" / name).write_bytes(b"no image")
    return folder(folder_root, labeled=2, on_bad_image="skip")


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_unlabeled_images_are_skipped_and_counted_where_that_is_asked_for(folder_root, caplog, workers):
    module = make_module(bad_pool(folder_root), batch_size=2, needs=Needs(), workers=workers)
    batches = [module.on_before_batch_transfer(batch, 0) for batch in training_batches(module, epochs=6)]
    assert all("bad" not in part for batch in batches for part in batch.values())
    names = {module.data.unlabeled.name(i) for batch in batches for i in batch["unlabeled"]["index"].tolist()}
    bad = {str(folder_root / "unlabeled" / name) for name in ("u0.png", "u2.png")}
    assert not names & bad
    assert set(module.bad_images.names()) == bad
    module.teardown("fit")
    assert "2 of 8 unlabelled images (25%) could not be read; others took their places" in caplog.text


@pytest.mark.nightly
def test_skipping_does_not_depend_on_the_workers(folder_root):
    data = bad_pool(folder_root)
    without = training_batches(make_module(data, batch_size=2, workers=0), epochs=3)
    assert_same_batches(without, training_batches(make_module(data, batch_size=2, workers=2), epochs=3))


def test_count_of_bad_images_is_resumed(folder_root):
    data = bad_pool(folder_root)
    module, resumed = make_module(data), make_module(data)
    module.bad_images.add(torch.tensor([1, 1, 3]))
    resumed.load_state_dict(module.state_dict())
    assert resumed.bad_images.counts == {1: 2, 3: 1}


def test_what_a_probe_counted_is_forgotten(scenes):
    module = make_module(scenes)
    before = module.state_dict()
    module.bad_images.counts[3] += 1
    module.load_state_dict(before)
    assert module.state_dict() == before


def test_a_batch_that_grows_after_setup_and_that_no_epoch_fills_is_refused(scenes):
    module = make_module(scenes, needs=Needs())
    module.setup("fit")
    module.batch_size = 18  # as Lightning's batch-size finder does
    for prepare in (module.train_dataloader, lambda: module.setup("fit")):
        with pytest.raises(ConfigError, match="batch_size=18: an epoch of 17 images does not fill one batch"):
            prepare()


@pytest.mark.parametrize("path", ["images/a1.png", "masks/a1.png", "val/images/v1.png", "val/masks/v1.png"])
def test_labeled_and_validation_images_are_never_skipped(folder_root, path):
    (folder_root / path).write_bytes(b"no image")
    module = make_module(folder(folder_root, on_bad_image="skip"), batch_size=2, needs=Needs())
    with pytest.raises(DataError, match="cannot be read"):
        module.setup("fit")


def test_setup_refuses_an_empty_pool():
    module = make_module(digits(labeled=None, train=9, val=2, size=32), needs=Needs())
    with pytest.raises(DataError, match="unlabelled pool is empty"):
        module.setup("fit")


def test_setup_reads_the_data_once(scenes, monkeypatch):
    calls = []
    monkeypatch.setattr("unimatch.data.loading.datamodule.verify", lambda *arguments, **named: calls.append(1))
    module = make_module(scenes)
    module.setup("validate")
    assert not calls
    module.setup("fit")
    module.setup("fit")
    assert len(calls) == 1


def test_a_method_gets_as_many_strong_views_as_it_asks_for(scenes):
    module = make_module(scenes, needs=Needs(strong_views=1))
    one = training_batches(module)
    two = training_batches(make_module(scenes, needs=Needs()))
    assert not {"strong2", "box2"} & set(one[0]["unlabeled"])
    for a, b in zip(one, two, strict=True):
        assert_same(a["unlabeled"], {name: b["unlabeled"][name] for name in a["unlabeled"]})


def test_a_partner_is_a_second_unlabeled_batch_in_another_order(scenes):
    module = make_module(scenes, needs=Needs(partner=True))
    with_partner = training_batches(module, epochs=2)
    without = training_batches(make_module(scenes, needs=Needs()), epochs=2)
    assert_same_batches([{k: v for k, v in batch.items() if k != "partner"} for batch in with_partner], without)
    own = torch.cat([batch["unlabeled"]["index"] for batch in with_partner[:4]]).tolist()
    other = torch.cat([batch["partner"]["index"] for batch in with_partner[:4]]).tolist()
    assert len(set(other)) == len(other) == 16
    assert own != other
    assert with_partner[0]["partner"]["weak"].shape == with_partner[0]["unlabeled"]["weak"].shape
    assert module.on_after_batch_transfer(with_partner[0], 0)["partner"]["weak"].dtype == torch.float32


def test_a_batch_has_several_times_as_many_unlabeled_images(scenes):
    module = make_module(scenes, batch_size=2, unlabeled_ratio=3, needs=Needs())
    batches = training_batches(module, epochs=2)
    assert len(batches) == 2 * (17 // 6)
    assert {len(batch["labeled"]["index"]) for batch in batches} == {2}
    for epoch in (batches[:2], batches[2:]):
        unlabeled = torch.cat([batch["unlabeled"]["index"] for batch in epoch]).tolist()
        assert len(set(unlabeled)) == len(unlabeled) == 12


def test_the_labeled_batches_of_a_labeled_only_method_are_the_same_at_any_ratio(scenes):
    options = {"batch_size": 2, "unlabeled_ratio": 3}
    both = training_batches(make_module(scenes, **options, needs=Needs()))
    alone = training_batches(make_module(scenes, **options, needs=Needs(unlabeled=False)))
    assert len(alone) - len(both) in (0, 1)  # where the unlabelled list ends inside a step
    for one, other in zip(both, alone, strict=False):
        assert_same(one["labeled"], other["labeled"])


def test_processes_share_the_batches_of_one_at_a_ratio(scenes):
    single = training_batches(make_module(scenes, batch_size=2, unlabeled_ratio=3, needs=Needs()))
    ranks = [
        training_batches(make_module(scenes, batch_size=1, unlabeled_ratio=3, needs=Needs(), world=2, rank=rank))
        for rank in range(2)
    ]
    for step, whole in enumerate(single):
        for part, image in (("labeled", "image"), ("unlabeled", "weak")):
            shared = [view.numpy().tobytes() for rank in ranks for view in rank[step][part][image]]
            assert sorted(shared) == sorted(view.numpy().tobytes() for view in whole[part][image])


def test_a_resumed_epoch_goes_on_with_the_next_batch_at_a_ratio(scenes):
    options = {"batch_size": 2, "unlabeled_ratio": 3, "needs": Needs()}
    whole = training_batches(make_module(scenes, **options))
    resumed = make_module(scenes, **{**options, "needs": Needs(start=(0, 1))})
    assert_same_batches(training_batches(resumed), whole[1:])


def test_a_ratio_that_no_epoch_fills_is_refused(scenes):
    module = make_module(scenes, batch_size=2, unlabeled_ratio=9, needs=Needs())
    with pytest.raises(ConfigError, match=r"batch_size=2, unlabeled_ratio=9: an epoch of 17 images"):
        module.setup("fit")
    with pytest.raises(ConfigError, match=r"unlabeled_ratio=0: must be at least 1"):
        make_module(scenes, unlabeled_ratio=0)


def one_class(**arguments):
    return make_module(digits_classification(size=8, val_per_class=2), **{"crop": 8, **arguments})


def test_data_say_which_views_are_the_default(scenes):
    views = make_module(scenes).views
    assert (views.weak, views.strong, views.cutmix, views.one_class) == (ScaledCrop(), StrongAugmentation(), 0.5, False)
    views = one_class().views
    assert (views.weak, views.strong, views.cutmix, views.one_class) == (PaddedCrop(), RandAugment(), 0.0, True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cutmix": 0.5}, "cutmix=0.5: pastes pixels"),
        ({"augment": "device"}, "augment=device: only StrongAugmentation"),
        ({"augment": "device", "strong": StrongAugmentation()}, "augment=device: the device has the weak view alone"),
    ],
)
def test_what_classification_cannot_honour_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        one_class(**options)


def test_a_strong_view_that_moves_pixels_is_refused_where_pixels_have_labels(scenes):
    strong = Albumentations(albumentations.Rotate())
    with pytest.raises(ConfigError, match="strong=Albumentations: Rotate moves pixels"):
        make_module(scenes, strong=strong)
    assert "strong1" in training_batches(one_class(strong=strong))[0]["unlabeled"]


def test_labels_of_another_kind_than_the_data_set_says_are_refused(scenes):
    with pytest.raises(DataError, match=r"a label of shape \(32, 32\), but one_class=True"):
        training_batches(make_module(replace(scenes, one_class=True)))


LIBRARIES = {
    "albumentations": {
        "weak": Albumentations(albumentations.D4(), first=ScaledCrop()),
        "strong": Albumentations(albumentations.Compose([albumentations.ColorJitter(p=0.8), albumentations.ToGray()])),
    },
    "torchvision": {
        "weak": TorchvisionV2(v2.RandomRotation(30), first=ScaledCrop()),
        "strong": TorchvisionV2(v2.RandomApply([v2.ColorJitter(0.5, 0.5), v2.GaussianBlur(3)])),
    },
}


@pytest.mark.nightly
@pytest.mark.parametrize("library", rest_nightly(LIBRARIES, ["albumentations"]))
def test_views_of_a_library_do_not_depend_on_the_workers(scenes, library):
    modules = [make_module(scenes, workers=workers, **LIBRARIES[library]) for workers in (0, 1, 2)]
    without, one, two = (training_batches(module) for module in modules)
    assert_same_batches(without, one)
    assert_same_batches(without, two)
    other = training_batches(make_module(scenes, seed=1, **LIBRARIES[library]))
    assert not torch.equal(without[0]["unlabeled"]["strong1"], other[0]["unlabeled"]["strong1"])


def test_numbers_of_numpy_are_numbers(scenes):
    given = {"batch_size": np.int64(4), "unlabeled_ratio": np.int32(1), "workers": np.int64(0), "seed": np.uint8(0)}
    found = training_batches(make_module(scenes, needs=Needs(), **given))
    for batch, expected in zip(found, training_batches(make_module(scenes, needs=Needs())), strict=True):
        assert_same(batch["unlabeled"], expected["unlabeled"])


def test_a_copy_and_what_goes_to_another_process_have_no_trainer(scenes):
    module = make_module(scenes, needs=Needs())
    module.trainer.schedule = lambda step: step  # as an optimiser's
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert other.trainer is None
        assert other.batch_size == module.batch_size
    assert module.trainer is not None


def test_what_the_next_method_needs_too_is_looked_at(folder_root):
    (folder_root / "unlabeled" / "u0.png").write_bytes(b"")
    module = make_module(folder(folder_root), batch_size=2, needs=Needs(unlabeled=False))
    module.setup("fit")
    module.trainer.lightning_module.needs = Needs()
    with pytest.raises(DataError, match=r"u0\.png"):
        module.setup("fit")


def test_bad_images_of_an_earlier_fit_are_not_counted(scenes):
    module = make_module(scenes, needs=Needs())
    module.bad_images.counts[3] = 2
    module.setup("fit")
    assert not module.bad_images.counts


def test_too_few_open_files_are_told_before_anything_is_read(scenes, monkeypatch):
    monkeypatch.setattr("resource.getrlimit", lambda kind: (64, 64))
    monkeypatch.setattr("unimatch.data.loading.datamodule.verify", lambda *_, **__: pytest.fail("read"))
    with pytest.raises(ConfigError, match="workers=2: needs about 96 open files"):
        make_module(scenes, workers=2).setup("fit")
