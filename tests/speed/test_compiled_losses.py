from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers.slow_methods import make_batch, make_semi_supervised
from unimatch import UniMatchV2
from unimatch.speed import compile, compiled_losses
from unimatch.speed.cross_entropy_by_rows import cross_entropy_per_pixel, label_and_confidence


def make(shape, size, classes=7, device="cpu"):
    source = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(shape[0], classes, *shape[1:], generator=source)
    target = torch.randint(0, classes, (shape[0], *size), generator=source)
    target[torch.rand(target.shape, generator=source) < 0.2] = 255
    weight = torch.rand(target.shape, generator=source)
    return logits.to(device), target.to(device), weight.to(device)


def results(logits, target, weight, dtype=torch.float32):
    """Losses, their gradient, and the confidence of the labels, by what stands in or by rows."""
    logits = logits.to(dtype, copy=True).requires_grad_()
    loss = cross_entropy_per_pixel(logits, target, 255)
    (loss * weight).sum().backward()
    label, confidence = label_and_confidence(logits.detach(), tuple(target.shape[1:]))
    assert label.dtype == torch.int64
    assert loss.dtype == confidence.dtype == torch.float32
    full = F.interpolate(logits.detach().float(), target.shape[1:], mode="bilinear", align_corners=True).softmax(1)
    torch.testing.assert_close(full.gather(1, label.unsqueeze(1)).squeeze(1), full.amax(1), rtol=1e-5, atol=1e-6)
    return loss.detach(), logits.grad.float(), confidence


def assert_same(found, expected, tolerance=1e-5):
    """To 1e-5 of the largest; a very small loss, whose probability is rounded near 1, to 1e-6."""
    for value, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(value, wanted, rtol=0, atol=tolerance * max(float(wanted.abs().max()), 0.1))


@contextmanager
def switched_on_for(device):
    compile.LOSSES_ON.add(device)
    try:
        yield
    finally:
        compile.LOSSES_ON.clear()


@pytest.fixture
def switched_on(monkeypatch):
    """As on a GPU, by functions that are not compiled."""
    monkeypatch.setattr(compiled_losses, "compiled", lambda function: function)
    with switched_on_for("cpu"):
        yield


@settings(max_examples=40, deadline=None)
@example((1, 1, 4), (1, 1), 2, 1)  # a probability near 1
@given(
    st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(1, 9)),
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    st.integers(2, 21),
    st.sampled_from([1, 2, 9]),
)
def test_losses_gradients_and_labels_are_those_by_rows(shape, size, classes, images):
    """Any sizes, up and down, with some images at a time."""
    made = make(shape, size, classes)
    expected = results(*made)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled_losses, "compiled", lambda function: function)
        patch.setattr(compiled_losses, "PIECE", images * classes * size[0] * size[1])
        with switched_on_for("cpu"):
            assert_same(results(*made), expected)


@pytest.mark.usefixtures("switched_on")
def test_an_ignored_image_has_loss_0_and_no_gradient():
    logits, target, _ = make((2, 5, 6), (11, 13))
    logits.requires_grad_()
    loss = cross_entropy_per_pixel(logits, torch.full_like(target, 255), 255)
    loss.sum().backward()
    assert not loss.any()
    assert not logits.grad.any()


def test_a_whole_step_has_the_same_losses_and_gradients(request):
    found = []
    for _ in range(2):
        method, batch = make_semi_supervised(UniMatchV2), make_batch(2, "partly")
        losses = method.losses(batch, torch.Generator().manual_seed(0))
        losses.total.backward()
        found.append([losses.total.detach(), *(p.grad for p in method.student.parameters())])
        if len(found) == 1:
            request.getfixturevalue("switched_on")
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)


@pytest.mark.nightly
@pytest.mark.slow
def test_compiled_to_machine_code_they_are_the_same():
    made = make((3, 9, 11), (24, 31), classes=19)
    expected = results(*made)
    compiled_losses.compiled.cache_clear()
    with switched_on_for("cpu"):
        assert_same(results(*made), expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
def test_compiled_on_a_gpu_they_are_those_by_rows_on_the_cpu(dtype, tolerance):
    made = make((4, 37, 37), (130, 130), classes=21)
    expected = results(made[0].to(dtype).float(), *made[1:])
    with switched_on_for("cuda"):
        found = results(*(tensor.cuda() for tensor in made), dtype)
    assert_same([value.cpu() for value in found], expected, tolerance)
