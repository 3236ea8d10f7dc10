import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from helpers.fits import make_method, make_trainer
from unimatch import ConfigError, DataError, SegmentationModel, UniMatchV2
from unimatch.images.bands import Bands
from unimatch.images.tensors import normalize
from unimatch.tasks.plain_batches import images_of, label_errors_explained, warn_unless_normalized

IMAGES, LABELS = torch.randn(2, 3, 32, 32), torch.zeros(2, 32, 32, dtype=torch.int64)


def loader(labels):
    return DataLoader(TensorDataset(IMAGES, labels), batch_size=2)


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (LABELS + 11, r"holds the id 11, and the model has 11 classes: ids are 0 to 10, and 255"),
        (LABELS - 1, r"holds the id -1"),
        (LABELS[:, None], r"has the shape \(1, 32, 32\), and its image needs \(32, 32\)"),
        (LABELS.view(2, 16, 64), r"has the shape \(16, 64\)"),  # as many pixels, which would be counted as they come
        (LABELS / 2 + 0.5, r"hold fractions"),
    ],
)
def test_labels_that_do_not_fit_are_said(labels, told):
    with pytest.raises(DataError, match=told):
        make_trainer().validate(make_method(), loader(labels), verbose=False)


@pytest.mark.parametrize("kind", [torch.int64, torch.int16, torch.bool])
def test_images_of_integers_other_than_uint8_are_refused(kind):
    method, images = make_method(), (255 * torch.rand(2, 3, 32, 32)).to(kind)
    for use in (
        lambda: make_trainer().validate(method, DataLoader(TensorDataset(images, LABELS), 2), verbose=False),
        lambda: make_trainer().predict(method, DataLoader(images, 2)),
        lambda: method(images),
    ):
        with pytest.raises(DataError, match=rf"^images of {str(kind)[6:]}: must be uint8 in 0-255"):
            use()


def test_an_array_in_place_of_a_tensor_is_refused():
    with pytest.raises(DataError, match=r"must be a tensor, and this is ndarray; unimatch\.Predictor takes arrays"):
        make_method()(IMAGES.numpy())


@pytest.mark.parametrize(
    "bands", [{"bands": [1, 2, 3, 4], "mean": [0.4] * 4, "std": [0.2] * 4}, {"mean": [0.1] * 3, "std": [0.3] * 3}]
)
def test_uint8_images_are_normalised_as_the_models_bands_are(bands):
    bands = Bands.of(bands)
    method = UniMatchV2(SegmentationModel("tiny", 2, bands=bands))
    pixels = (255 * torch.rand(2, bands.count, 32, 32)).byte()
    expected = method(normalize(pixels, bands))
    torch.testing.assert_close(method(pixels), expected)
    labels = expected.argmax(1)
    for images in (pixels, normalize(pixels, bands)):
        make_trainer().validate(method, DataLoader(TensorDataset(images, labels), 2), verbose=False)
        assert method.scores["teacher"].miou == 100


def test_ids_as_floats_are_read():
    make_trainer().validate(method := make_method(), loader(LABELS.double()), verbose=False)
    assert method.counts["teacher"]["confusion"].sum() == LABELS.numel()


def test_an_image_with_one_class_needs_one_id():
    with (
        pytest.raises(DataError, match=r"has the shape \(1,\), and an image has one class"),
        label_errors_explained(torch.zeros(4), torch.zeros(1, dtype=torch.int64), 255),
    ):
        pass


def test_another_error_than_of_the_label_stays():
    with pytest.raises(RuntimeError, match="elsewhere"), label_errors_explained(torch.zeros(4), torch.tensor(3), 255):
        raise RuntimeError("elsewhere")


def test_a_second_loader_is_refused():
    with pytest.raises(ConfigError, match=r"^several loaders: .*ConcatDataset"):
        make_trainer().validate(make_method(), [loader(LABELS), loader(LABELS)], verbose=False)


@pytest.mark.parametrize("batch", [["a.jpg", "b.jpg"], {"image": ["a.jpg"]}, "a.jpg", [{"image": "a.jpg"}]])
def test_images_that_are_no_tensors_are_refused(batch):
    with pytest.raises(DataError, match=r"must be tensors.*unimatch\.Predictor reads files"):
        images_of(batch)


def test_images_that_are_not_normalised_are_warned_of(caplog):
    pixels = torch.randint(256, (1, 3, 8, 8), dtype=torch.uint8)
    bright = torch.randint(150, 256, (1, 3, 8, 8), dtype=torch.uint8)
    for images in (pixels, normalize(pixels), normalize(bright), torch.zeros(1, 3, 8, 8)):
        warn_unless_normalized(images)
    assert not caplog.records
    warn_unless_normalized(torch.linspace(0, 1, 48).view(1, 3, 4, 4))
    assert "between 0 and 1: it looks as if it were not normalised" in caplog.text
    make_trainer().validate(make_method(), DataLoader(TensorDataset(pixels.float(), LABELS[:1, :8, :8])), verbose=False)
    make_trainer().predict(make_method(), DataLoader(pixels.float()))
    assert caplog.text.count("it looks as if it were not normalised") == 3


@pytest.mark.parametrize("precision", ["64-true", "bf16-true"])
def test_a_method_in_another_precision_is_evaluated_and_predicts(precision):
    trainer, method = make_trainer(precision=precision), make_method()
    data = loader((LABELS + torch.arange(32) // 4).clamp(max=10))
    trainer.validate(method, DataLoader(TensorDataset((IMAGES + 3).byte(), LABELS), 2), verbose=False)
    assert method.counts["student"]["confusion"].sum() == LABELS.numel()
    trainer.validate(method, data, verbose=False)
    assert trainer.predict(method, data)[0].shape == LABELS.shape
