import torch

from unimatch.tensors import normalize


def test_colours_are_normalised_in_closed_form():
    """White, black and ImageNet's mean colour, of an image and of a pair."""
    image = torch.tensor([[255, 255, 255], [0, 0, 0], [123.675, 116.28, 103.53]]).T.reshape(3, 1, 3)
    expected = [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    found = normalize(image)
    torch.testing.assert_close(found[:, 0, 0], torch.tensor(expected))
    torch.testing.assert_close(found[:, 0, 1], -torch.tensor([0.485 / 0.229, 0.456 / 0.224, 0.406 / 0.225]))
    torch.testing.assert_close(found[:, 0, 2], torch.zeros(3), atol=1e-6, rtol=0)
    assert torch.equal(normalize(torch.stack([image, image]))[1], found)


def test_bytes_become_float32():
    assert normalize(torch.zeros(1, 3, 2, 2, dtype=torch.uint8)).dtype == torch.float32
