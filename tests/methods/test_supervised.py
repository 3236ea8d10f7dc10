import copy

import pytest
import torch

from unimatch import SegmentationModel, Supervised
from unimatch.methods.base import Losses

CLASSES, SIZE = 4, 40


def make_method(**options):
    torch.manual_seed(0)
    return Supervised(SegmentationModel("tiny", CLASSES, features=8, out_channels=(8, 8, 8, 8)), **options)


def make_labeled(images=3, *, box=False, seed=0):
    source = torch.Generator().manual_seed(seed)
    mask = torch.randint(0, CLASSES, (images, SIZE, SIZE), generator=source)
    mask[torch.rand(mask.shape, generator=source) < 0.2] = 255
    labeled = {
        "image": torch.randn(images, 3, SIZE, SIZE, generator=source),
        "label": mask,
        "index": torch.arange(images),
    }
    if box:
        labeled["box"] = torch.tensor([[2, 3, 12, 20], [0, 0, 40, 5], [0, 0, 0, 0], [5, 0, 6, 40]])[:images]
    return labeled


def slow_cutmix(boxes, tensor):
    mixed = tensor.clone()
    for i, (top, left, bottom, right) in enumerate(boxes.tolist()):
        for row in range(top, bottom):
            for column in range(left, right):
                mixed[i, ..., row, column] = tensor[len(tensor) - 1 - i, ..., row, column]
    return mixed


def slow_cross_entropy(logits, mask):
    total, counted = 0.0, 0
    for image, labels in zip(logits, mask, strict=True):
        surprise = image.logsumexp(0) - image  # (C, H, W)
        for k in range(CLASSES):
            total = total + surprise[k][labels == k].sum()
        counted += int((labels != 255).sum())
    return total / max(counted, 1)


def run_losses(method, batch):
    losses = method.losses(batch, torch.Generator().manual_seed(0))
    losses.total.backward()
    return losses


def assert_same_gradients(student, slow):
    for (name, fast), other in zip(student.named_parameters(), slow.parameters(), strict=True):
        scale = other.grad.abs().max().item()
        torch.testing.assert_close(fast.grad, other.grad, rtol=1e-3, atol=1e-4 * scale + 1e-7, msg=name)


@pytest.mark.parametrize(("images", "box"), [(1, True), (3, False), (3, True), (4, True)])
def test_losses_and_gradients_equal_a_slow_version(images, box):
    method, labeled = make_method(), make_labeled(images, box=box)
    slow_student = copy.deepcopy(method.student)
    before = {key: value.clone() for key, value in labeled.items()}
    losses = run_losses(method, {"labeled": labeled})

    x, y = labeled["image"], labeled["label"]
    if box:
        x, y = slow_cutmix(labeled["box"], x), slow_cutmix(labeled["box"], y)
    expected = slow_cross_entropy(slow_student(x), y)
    expected.backward()
    assert isinstance(losses, Losses)
    assert losses.total.item() == pytest.approx(expected.item(), rel=1e-5)
    assert losses.parts.keys() == {"loss_x"}
    assert torch.equal(losses.parts["loss_x"], losses.total)
    assert losses.pseudo is None
    assert_same_gradients(method.student, slow_student)
    assert all(torch.equal(labeled[key], value) for key, value in before.items())


def test_a_box_changes_the_loss():
    plain, boxed = make_labeled(), make_labeled(box=True)
    assert torch.equal(plain["image"], boxed["image"])
    values = [run_losses(make_method(), {"labeled": labeled}).total.item() for labeled in (plain, boxed)]
    assert values[0] != pytest.approx(values[1], rel=1e-4)


def test_unlabelled_images_are_neither_needed_nor_used():
    assert Supervised.uses_unlabeled is False
    alone = run_losses(make_method(), {"labeled": make_labeled()}).total
    beside = run_losses(make_method(), {"labeled": make_labeled(), "unlabeled": None}).total
    assert torch.equal(alone, beside)


def test_all_ignored_gives_zero_and_no_nan():
    method, labeled = make_method(), make_labeled()
    labeled["label"].fill_(255)
    assert run_losses(method, {"labeled": labeled}).total.item() == 0
    assert not any(parameter.grad.any() for parameter in method.student.parameters())


def test_the_teacher_gets_no_gradient():
    method = make_method()
    run_losses(method, {"labeled": make_labeled()})
    assert all(parameter.grad is None for parameter in method.teacher.parameters())
    assert all(parameter.grad is not None for parameter in method.student.parameters())
