import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import unimatch
from helpers.fits import DATA, data_of_many_sizes, make_data, make_method, make_trainer, predict_every_class
from unimatch.images.tensors import normalize


def test_a_method_is_called_with_images_and_predicts_as_its_teacher():
    method, data = make_method(), data_of_many_sizes()
    predict_every_class(method.teacher.model, seed=2)
    pixels = torch.from_numpy(data.val.image(0)).permute(2, 0, 1)[None]
    expected = method.task.predict(method.teacher.model, normalize(pixels))
    for images in (pixels, normalize(pixels)):
        scores = method(images)
        torch.testing.assert_close(scores, expected)
        assert not scores.requires_grad
    assert method.student.training


def test_trainer_predicts_batches_of_any_loader():
    method, images = make_method(), torch.randn(4, 3, 40, 56)
    predict_every_class(method.teacher.model, seed=2)
    expected = method.teacher.model(images).argmax(1)
    samples = [{"image": image, "name": "photo"} for image in images]
    for dataset, options in (
        (images, {}),
        (TensorDataset(images), {}),
        (TensorDataset(images, torch.zeros(4)), {}),
        (samples, {}),
        (samples, {"collate_fn": list}),
    ):
        found = make_trainer().predict(method, DataLoader(dataset, 2, **options))
        assert torch.equal(torch.cat([torch.stack(list(batch)) for batch in found]), expected)
    loader = make_data().val_dataloader()  # without the data module, images come as uint8
    (found,) = make_trainer().predict(method, loader)[0]
    assert torch.equal(found, method(normalize(loader.dataset[0]["image"][None])).argmax(1)[0])


def test_any_loader_validates():
    method, data = make_method(), unimatch.data.digits(**DATA).val
    predict_every_class(method.teacher.model, seed=2)
    make_trainer().validate(method, make_data(), verbose=False)
    expected = method.scores
    assert expected["teacher"].miou > 0
    pixels = torch.stack([torch.from_numpy(data.image(i)).permute(2, 0, 1) for i in range(len(data))])
    labels = torch.stack([torch.from_numpy(data.mask(i)) for i in range(len(data))])
    as_dicts = [{"image": image, "mask": label.long()} for image, label in zip(normalize(pixels), labels, strict=True)]
    for dataset in (TensorDataset(pixels, labels), TensorDataset(normalize(pixels), labels.long()), as_dicts):
        make_trainer().validate(method, DataLoader(dataset, 3), verbose=False)
        assert method.scores == expected
    make_trainer().validate(method, make_data().val_dataloader(), verbose=False)
    assert method.scores == expected
    with pytest.raises(unimatch.DataError, match="has no labels"):
        make_trainer().validate(method, DataLoader(TensorDataset(pixels)), verbose=False)
