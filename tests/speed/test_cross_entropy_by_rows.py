import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from unimatch.augment.cutmix import cutmix
from unimatch.methods.losses import consistency_loss, cross_entropy, ohem_cross_entropy
from unimatch.speed import cross_entropy_by_rows
from unimatch.speed.cross_entropy_by_rows import cross_entropy_per_pixel, label_and_confidence

CLASSES = 7


def make(shape=(3, 9, 11), size=(23, 30), seed=0, classes=CLASSES):
    source = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(shape[0], classes, *shape[1:], generator=source)
    target = torch.randint(0, classes, (shape[0], *size), generator=source)
    target[torch.rand(target.shape, generator=source) < 0.2] = 255
    return logits, target


def whole(logits, size):
    return F.interpolate(logits, size, mode="bilinear", align_corners=True)


def plain(logits, target, ignore_index=255):
    full = whole(logits, tuple(target.shape[1:]))
    return F.cross_entropy(full, target, ignore_index=ignore_index, reduction="none")


def assert_same(function, slow, logits, **tolerance):
    """Value and gradient of both, to 1e-5 of the largest."""
    ours, theirs = (logits.detach().clone().requires_grad_() for _ in range(2))
    value, expected = function(ours), slow(theirs)
    value.sum().backward()
    expected.sum().backward()
    for found, wanted in ((value, expected), (ours.grad, theirs.grad)):
        scale = max(wanted.abs().max().item(), 1e-6)
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5 * scale)


@pytest.fixture(params=[1, 400, 2000, 10**9], ids=["row by row", "some rows", "a few images", "at once"])
def piece(request, monkeypatch):
    """What is upsampled at a time: a row of 30 pixels has 210 logits, an image 4,830."""
    monkeypatch.setitem(cross_entropy_by_rows.PIECE, "cpu", {2000: 9700}.get(request.param, request.param))


@pytest.mark.usefixtures("piece")
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_value_and_gradient_equal_those_of_full_size_logits(layout):
    logits, target = make()
    weight = torch.rand(target.shape)
    logits = logits.contiguous(memory_format=layout)
    assert_same(lambda x: cross_entropy_per_pixel(x, target, 255) * weight, lambda x: plain(x, target) * weight, logits)


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)),
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    st.integers(1, 500),
    st.sampled_from([2, cross_entropy_by_rows.VECTOR - 1, cross_entropy_by_rows.VECTOR, 21]),
)
def test_any_sizes_up_and_down(shape, size, limit, classes):
    before, cross_entropy_by_rows.PIECE["cpu"] = cross_entropy_by_rows.PIECE["cpu"], limit
    try:
        logits, target = make(shape, size, classes=classes)
        assert_same(lambda x: cross_entropy_per_pixel(x, target, 255), lambda x: plain(x, target), logits)
        label, confidence = label_and_confidence(logits, size)
        probability = whole(logits, size).softmax(1)
        torch.testing.assert_close(confidence, probability.amax(1), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(probability.gather(1, label[:, None])[:, 0], confidence, rtol=1e-5, atol=1e-6)
    finally:
        cross_entropy_by_rows.PIECE["cpu"] = before


def test_at_518_pixels_rounding_is_that_of_the_whole():
    logits, target = make((1, 296, 296), (518, 518), classes=3)
    target[target == 255] = 0
    assert len(list(cross_entropy_by_rows.pieces(logits, (518, 518)))) == 1
    try:
        before, cross_entropy_by_rows.PIECE["cpu"] = cross_entropy_by_rows.PIECE["cpu"], 3 * 518 * 5
        assert len(list(cross_entropy_by_rows.pieces(logits, (518, 518)))) == 104
        assert_same(lambda x: cross_entropy_per_pixel(x, target), lambda x: plain(x, target), logits)
    finally:
        cross_entropy_by_rows.PIECE["cpu"] = before


@pytest.mark.usefixtures("piece")
def test_every_loss_of_a_step_equals_the_plain_one_with_cutmix_in_between():
    weak, target = make(seed=1)
    strong = make(seed=2)[0]
    valid = torch.rand(target.shape) < 0.8
    boxes = torch.tensor([[2, 3, 12, 20], [0, 0, 0, 0], [5, 0, 23, 30]])
    label, confidence = label_and_confidence(weak, tuple(target.shape[1:]))
    slow_confidence, slow_label = whole(weak, tuple(target.shape[1:])).softmax(1).max(1)
    assert torch.equal(label, slow_label)
    q, c, v = cutmix(boxes, label, confidence, valid)
    slow_q, slow_c, slow_v = cutmix(boxes, slow_label, slow_confidence, valid)
    tau = float(confidence.median())

    def slow_consistency(x):
        return (plain(x, slow_q, -100) * ((slow_c >= tau) & slow_v)).sum() / slow_v.sum()

    def slow_ohem(x):
        loss, counted = plain(x, target), target != 255
        probability = (-loss.detach()).exp()
        limit = max(0.7, probability[counted].sort().values[99].item())
        kept = counted & (probability <= limit)
        return (loss * kept).sum() / kept.sum()

    assert_same(lambda x: consistency_loss(x, q, c, v, tau), slow_consistency, strong)
    assert_same(lambda x: cross_entropy(x, target), lambda x: plain(x, target).sum() / (target != 255).sum(), strong)
    assert_same(lambda x: ohem_cross_entropy(x, target, threshold=0.7, min_kept=100), slow_ohem, strong)


@pytest.mark.usefixtures("piece")
@pytest.mark.parametrize("loss", [cross_entropy, ohem_cross_entropy])
def test_all_ignored_gives_zero_and_no_gradient(loss):
    logits = make()[0].requires_grad_()
    value = loss(logits, torch.full((3, 23, 30), 255))
    value.backward()
    assert value.item() == 0
    assert not logits.grad.any()


def test_bfloat16_logits_are_upsampled_in_float32_and_their_gradient_is_rounded_once():
    logits, target = make()
    low = logits.bfloat16()
    exact, rounded = low.float().requires_grad_(), low.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = cross_entropy_per_pixel(rounded, target, 255)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, plain(exact, target), rtol=1e-5, atol=1e-5)
    loss.sum().backward()
    plain(exact, target).sum().backward()
    assert rounded.grad.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.grad.float(), exact.grad, rtol=2**-7, atol=1e-5)


def test_a_class_that_is_not_there_is_refused():
    with pytest.raises((IndexError, RuntimeError), match="out of bounds"):
        cross_entropy_per_pixel(torch.zeros(1, 3, 2, 2), torch.full((1, 4, 4), 3))


def test_whole_images_have_labels_too():
    logits = torch.randn(5, CLASSES)
    label, confidence = label_and_confidence(logits, (32, 32))
    expected = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(1, keepdims=True)
    assert label.tolist() == expected.argmax(1).tolist()
    np.testing.assert_allclose(confidence, expected.max(1), rtol=1e-5)


def test_confidence_of_bfloat16_logits_is_computed_in_float32():
    logits = make()[0].bfloat16()
    for low, size in ((logits, (23, 30)), (logits[:, :, 0, 0], (32, 32))):
        found, wanted = label_and_confidence(low, size), label_and_confidence(low.float(), size)
        assert found[1].dtype == torch.float32
        assert all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))


class Largest(torch.overrides.TorchFunctionMode):
    """The most elements of any tensor that a function returns."""

    elements = 0

    def __torch_function__(self, function, types, arguments=(), options=None):
        result = function(*arguments, **(options or {}))
        if isinstance(result, torch.Tensor):
            self.elements = max(self.elements, result.numel())
        return result


@pytest.mark.parametrize(("piece", "elements"), [(CLASSES * 64 * 4, 2 * 64 * 64), (10**9, 2 * 64 * 64 * CLASSES)])
def test_full_size_logits_are_never_there(piece, elements, monkeypatch):
    monkeypatch.setitem(cross_entropy_by_rows.PIECE, "cpu", piece)
    logits, target = make((2, 16, 16), (64, 64))
    logits.requires_grad_()
    with Largest() as largest:
        label_and_confidence(logits, (64, 64))
        cross_entropy_per_pixel(logits, target, 255).sum().backward()
    assert largest.elements == elements
