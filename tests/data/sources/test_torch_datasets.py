"""``SegmentationData.from_datasets``: PyTorch's data sets of images and masks."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, TensorDataset, random_split
from torchvision.transforms.functional import pil_to_tensor, to_tensor

from helpers.rasters import write_tiff
from unimatch import DataError, SegmentationData, SemiSupervisedDataModule, UniMatchV2
from unimatch.data.check.before_training import verify
from unimatch.images.bands import Bands
from unimatch.images.rasters import read_bands

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (12, 10, 3), np.uint8)
MASK = RNG.integers(0, 3, (12, 10), np.uint8)
MASK[0] = 255
PALETTE = Image.fromarray(MASK).convert("P")
CLASSES = ["a", "b", "c"]


def of(sample, unlabeled=(), **options):
    return SegmentationData.from_datasets([sample] * 2, unlabeled, [sample], classes=CLASSES, **options)


KINDS = {
    "tensors": (torch.from_numpy(IMAGE).movedim(2, 0), torch.from_numpy(MASK)),
    "floats in 0-1": (to_tensor(IMAGE), torch.from_numpy(MASK).long()[None]),
    "PIL": (Image.fromarray(IMAGE), Image.fromarray(MASK)),
    "arrays": (IMAGE, MASK.astype(np.int64)),
    "channels first": (IMAGE.transpose(2, 0, 1), MASK),
    "float arrays": (IMAGE / np.float64(255), MASK),
    "dictionary": {"image": IMAGE, "mask": MASK, "name": "photo"},
    "Hugging Face": {"pixel_values": Image.fromarray(IMAGE), "label": Image.fromarray(MASK)},
    "three": (IMAGE, MASK, "photo"),
    "list": [to_tensor(IMAGE), pil_to_tensor(Image.fromarray(MASK))],
}


def test_tensors_that_numpy_lacks_are_read():
    image = torch.from_numpy(IMAGE).movedim(2, 0)
    assert np.array_equal(of((image.to_sparse(), MASK)).labeled.image(0), IMAGE)
    found = of(((image / 255).bfloat16(), MASK)).labeled.image(0)
    assert np.abs(found.astype(int) - IMAGE).max() <= 1  # of 8 bits of mantissa
    assert np.array_equal(of((image, torch.from_numpy(MASK).to_sparse())).labeled.mask(0), MASK)
    with pytest.raises(DataError, match="must hold integers"):
        of((image, torch.from_numpy(MASK).bfloat16())).labeled.mask(0)


@pytest.mark.parametrize("kind", KINDS)
def test_every_usual_kind_of_sample_is_the_same(kind):
    data = of(KINDS[kind])
    assert np.array_equal(data.labeled.image(1), IMAGE)
    assert np.array_equal(data.val.mask(0), MASK)
    assert (data.one_class, data.test, data.info.num_classes, len(data.info.palette)) == (False, None, 3, 3)
    assert data.labeled.image(1).flags["C_CONTIGUOUS"]


def test_grey_images_pairs_and_images_alone():
    grey = np.repeat(IMAGE[..., :1], 3, 2)
    for image in (IMAGE[..., 0], torch.from_numpy(IMAGE[..., 0])[None], Image.fromarray(IMAGE[..., 0])):
        assert np.array_equal(of((image, MASK)).labeled.image(0), grey)
    pair = np.stack([IMAGE, IMAGE[::-1]])
    for image in (pair, torch.from_numpy(pair).movedim(-1, 1)):
        assert np.array_equal(of((image, MASK)).labeled.image(0), pair)
    pool = TensorDataset(torch.from_numpy(IMAGE).movedim(2, 0)[None])
    for unlabeled in ([IMAGE], [to_tensor(IMAGE)], pool, [{"image": IMAGE}]):
        data = of((IMAGE, MASK), unlabeled)
        assert np.array_equal(data.unlabeled.image(0), IMAGE)
        assert data.unlabeled.mask(0) is None


def test_samples_with_one_class_are_classification():
    data = of((IMAGE, 2), [(IMAGE, -1)])
    assert data.one_class
    assert (data.labeled.mask(0), data.unlabeled.mask(0)) == (2, None)
    assert of((IMAGE, torch.tensor(1))).labeled.mask(1) == 1


REFUSED = {
    "normalised": ((to_tensor(IMAGE) * 2 - 1, MASK), r"holds floats from -.* to 1, .* leave out Normalize"),
    "floats of 0-255": ((IMAGE.astype(np.float32), MASK), "holds floats from 0 to 255"),
    "no number": ((np.full((4, 4, 3), np.nan), MASK), "holds floats from nan"),
    "16 bits": ((Image.fromarray(MASK.astype(np.uint16)), MASK), r"more than 8 bits a channel \(I;16\)"),
    "int32": ((IMAGE.astype(np.int32), MASK), "is of int32"),
    "text": (("photo.png", MASK), r"no tensor, array or PIL image but builtins\.str"),
    "no pixels": ((torch.zeros(3, 0, 8), MASK), r"has the shape \(3, 0, 8\), and must be \(3, H, W\) or"),
    "one number": ((np.array(3.0), MASK), r"has the shape \(\)"),
    "five bands": ((torch.zeros(5, 12, 10), MASK), r"has the shape \(5, 12, 10\), .* bands=Bands\(\.\.\.\)"),
    "nothing": ({"photo": IMAGE}, "has photo, but no image"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_image_is_refused(kind):
    sample, message = REFUSED[kind]
    with pytest.raises(DataError, match=rf"datasets\.labeled\[0\]: .*{message}"):
        of(sample).labeled.image(0)


def test_masks_of_another_kind_are_refused():
    for mask, message in (
        (to_tensor(Image.fromarray(MASK)), "float32 in 0-1.* ToTensor divides by 255"),
        (Image.fromarray(IMAGE), "mode RGB"),
        (torch.zeros(3, 12, 10, dtype=torch.int64), r"has the shape \(3, 12, 10\)"),
        (MASK * np.uint8(7), r"holds id 7"),
    ):
        with pytest.raises(DataError, match=rf"datasets\.labeled\[0\]: .*{message}"):
            of((IMAGE, mask)).labeled.mask(0)
    with pytest.raises(DataError, match=r"datasets\.labeled\[0\]: the mask is 10 x 6 pixels and its image 10 x 12"):
        verify(of((IMAGE, MASK[:6]), [IMAGE]), needs_unlabeled=True)


FIVE = RNG.integers(0, 4096, (12, 10, 5)).astype(np.uint16)
BANDS = Bands([4, 1], [(0, 4095), (0, 8190)], no_data=7, mean=[0.5, 0.5], std=[0.2, 0.2])


@pytest.mark.parametrize("kind", [np.uint16, np.int64, np.float32])
def test_images_of_other_bands_become_levels_as_files_do(tmp_path, kind):
    pytest.importorskip("tifffile")
    values = FIVE.astype(kind)
    write_tiff(tmp_path / "a.tif", values.astype(np.int32) if kind is np.int64 else values)
    expected = read_bands(tmp_path / "a.tif", BANDS)
    tensor = torch.from_numpy(values).movedim(-1, 0)
    for image in (values, tensor, {"image": tensor, "mask": MASK}):
        data = of(image if isinstance(image, dict) else (image, MASK), [image], bands=BANDS)
        assert np.array_equal(data.labeled.image(0), expected)
        assert np.array_equal(data.unlabeled.image(0), expected)
    assert verify(data, needs_unlabeled=True) == []
    pair = of((torch.stack([tensor, tensor]), MASK), bands=BANDS).labeled.image(0)
    assert np.array_equal(pair, np.stack([expected] * 2))


def test_grey_of_16_bits_is_one_band():
    bands = Bands([1], [(0, 4095)], mean=[0.5], std=[0.2])
    for image in (FIVE[..., 0], torch.from_numpy(FIVE[..., 0]), Image.fromarray(FIVE[..., 0])):
        assert np.array_equal(
            of((image, MASK), bands=bands).labeled.image(0)[..., 0], np.rint(FIVE[..., 0] / 4095 * 255)
        )


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (FIVE[..., :3], r"has 3 band\(s\)"),
        (IMAGE[..., [0, 1, 2, 0]], "stores 8 bits"),
        (np.full((12, 10, 5), "a"), "stores <U1"),
        (np.zeros(5), r"has the shape \(5,\)"),
        ("a.tif", r"builtins\.str"),
    ],
)
def test_what_is_not_of_these_bands_is_refused(image, message):
    with pytest.raises(DataError, match=rf"datasets\.labeled\[0\]: .*{message}"):
        of((image, MASK), bands=BANDS).labeled.image(0)


class Flipped(Dataset):
    """Image and mask, both mirrored or not at random."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        turn = slice(None, None, int(RNG.choice([-1, 1])))
        return IMAGE[:, turn], MASK[:, turn]


def test_image_and_mask_are_of_one_sample_where_that_is_random():
    data = SegmentationData.from_datasets(Flipped(), [IMAGE], [(IMAGE, MASK)], classes=CLASSES)
    seen = set()
    for i in range(30):
        mask, image = data.labeled.mask(i % 2), data.labeled.image(i % 2)
        turned = not np.array_equal(mask, MASK)
        assert np.array_equal(image, IMAGE[:, ::-1] if turned else IMAGE)
        seen.add(turned)
    assert seen == {True, False}


def test_it_trains_as_the_same_images_of_a_source():
    """Two batches, with a data set that was split by torch."""
    from unimatch import SegmentationModel

    samples = [(to_tensor(np.roll(IMAGE, i, 0)), torch.from_numpy(np.roll(MASK, i, 0)).long()) for i in range(8)]
    labeled, rest = random_split(samples, [2, 6], torch.Generator().manual_seed(0))
    data = SegmentationData.from_datasets(labeled, rest, rest, classes=CLASSES)
    method = UniMatchV2(SegmentationModel("tiny", 3))
    import lightning

    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = lightning.Trainer(max_steps=2, accelerator="cpu", **quiet)
    trainer.fit(method, SemiSupervisedDataModule(data, crop=32, batch_size=2, workers=0))
    assert method.evaluations[-1].step == 2
    assert method.evaluations[-1].pseudo["class_share"]


def test_samples_without_a_number_are_refused():
    class Stream(IterableDataset):
        def __iter__(self):
            yield IMAGE, MASK

    samples = [(IMAGE, MASK)]
    with pytest.raises(DataError, match=r"^unlabeled: a Stream does not give its samples by number"):
        SegmentationData.from_datasets(samples, Stream(), samples, classes=CLASSES)
    with pytest.raises(DataError, match=r"^test: a generator does not give its samples by number"):
        SegmentationData.from_datasets(samples, [], samples, (sample for sample in samples), classes=CLASSES)
