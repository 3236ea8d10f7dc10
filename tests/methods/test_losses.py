import math
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from unimatch.methods.losses import consistency_loss, cross_entropy, mask_ratio, ohem_cross_entropy

CLASSES = 3
SHAPES = [(2,), (2, 5), (2, 4, 5)]  # image classes, a line, masks


def random_logits(shape, seed=0):
    source = torch.Generator().manual_seed(seed)
    return torch.randn(shape[0], CLASSES, *shape[1:], generator=source) * 3


def random_labels(shape, seed=1):
    return torch.randint(0, CLASSES, shape, generator=torch.Generator().manual_seed(seed))


def slow_cross_entropy_of_pixel(logits, label):
    return math.log(sum(math.exp(value) for value in logits)) - logits[label]


pixels = st.lists(
    st.tuples(
        st.lists(st.floats(-8, 8, width=32), min_size=CLASSES, max_size=CLASSES),
        st.integers(0, CLASSES - 1),
        st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]),
        st.booleans(),
    ),
    min_size=1,
    max_size=12,
)


def columns_of(some):
    logits, label, confidence, valid = zip(*some, strict=True)
    return (
        torch.tensor(logits).T[None],  # (1, C, N)
        torch.tensor(label)[None],
        torch.tensor(confidence)[None],
        torch.tensor(valid)[None],
    )


@given(pixels, st.sampled_from([0.0, 0.25, 0.6, 0.75, 1.0]))
@settings(max_examples=100, deadline=None)
def test_consistency_loss_and_mask_ratio_equal_a_loop(some, tau):
    total, valid_pixels, confident_pixels = 0.0, 0, 0
    for logits, label, confidence, valid in some:
        valid_pixels += valid
        if valid and confidence >= tau:
            confident_pixels += 1
            total += slow_cross_entropy_of_pixel(logits, label)
    logits, label, confidence, valid = columns_of(some)
    found = consistency_loss(logits, label, confidence, valid, tau)
    assert found.shape == ()
    assert found.item() == pytest.approx(total / valid_pixels if valid_pixels else 0, rel=1e-5, abs=1e-6)
    ratio = confident_pixels / valid_pixels if valid_pixels else 0
    assert mask_ratio(confidence, valid, tau).item() == pytest.approx(ratio)


@given(pixels, st.integers(0, 2**12 - 1))
@settings(max_examples=100, deadline=None)
def test_cross_entropy_equals_a_loop(some, ignored):
    total, counted, target = 0.0, 0, []
    for number, (logits, label, _, _) in enumerate(some):
        skip = bool(ignored >> number & 1)
        target.append(255 if skip else label)
        if not skip:
            counted += 1
            total += slow_cross_entropy_of_pixel(logits, label)
    found = cross_entropy(columns_of(some)[0], torch.tensor(target)[None])
    assert found.item() == pytest.approx(total / counted if counted else 0, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_threshold_zero_is_plain_cross_entropy_over_valid_pixels(shape):
    logits, label = random_logits(shape), random_labels(shape)
    confidence = torch.rand(shape)
    valid = torch.ones(shape, dtype=torch.bool)
    everywhere = consistency_loss(logits, label, confidence, valid, tau=0)
    torch.testing.assert_close(everywhere, F.cross_entropy(logits, label))
    torch.testing.assert_close(everywhere, cross_entropy(logits, label))

    valid.view(-1)[0] = False
    chosen = logits.movedim(1, -1)[valid]  # (N, C)
    somewhere = consistency_loss(logits, label, confidence, valid, tau=0)
    torch.testing.assert_close(somewhere, F.cross_entropy(chosen, label[valid]))


@pytest.mark.parametrize("shape", SHAPES)
def test_no_valid_pixel_gives_zero_and_zero_gradient(shape):
    logits = random_logits(shape).requires_grad_()
    nowhere = torch.zeros(shape, dtype=torch.bool)
    loss = consistency_loss(logits, random_labels(shape), torch.ones(shape), nowhere, tau=0.5)
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()
    assert mask_ratio(torch.ones(shape), nowhere, 0.5).item() == 0


@pytest.mark.parametrize("shape", SHAPES)
def test_all_ignored_gives_zero_and_zero_gradient(shape):
    logits = random_logits(shape).requires_grad_()
    loss = cross_entropy(logits, torch.full(shape, 255))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


def test_the_denominator_counts_valid_pixels_not_confident_ones():
    logits = torch.zeros(1, CLASSES, 8)  # every pixel's cross-entropy is log(C)
    label = torch.zeros(1, 8, dtype=torch.int64)
    confidence = torch.tensor([[1.0, 1.0, 0, 0, 0, 0, 1.0, 1.0]])
    valid = torch.tensor([[True] * 6 + [False] * 2])
    loss = consistency_loss(logits, label, confidence, valid, tau=0.95)
    assert loss.item() == pytest.approx(math.log(CLASSES) * 2 / 6)
    assert mask_ratio(confidence, valid, 0.95).item() == pytest.approx(2 / 6)


def test_a_confidence_equal_to_the_threshold_counts():
    logits, label, valid = torch.zeros(1, CLASSES), torch.zeros(1, dtype=torch.int64), torch.tensor([True])
    at, below = torch.tensor([0.75]), torch.tensor([0.7499])
    assert consistency_loss(logits, label, at, valid, tau=0.75).item() == pytest.approx(math.log(CLASSES))
    assert consistency_loss(logits, label, below, valid, tau=0.75).item() == 0


def test_pixels_that_do_not_count_get_no_gradient():
    logits = random_logits((1, 4)).requires_grad_()
    confidence = torch.tensor([[1.0, 0.1, 1.0, 0.1]])
    valid = torch.tensor([[True, True, False, False]])
    consistency_loss(logits, random_labels((1, 4)), confidence, valid, tau=0.5).backward()
    assert logits.grad[0, :, 0].any()
    assert not logits.grad[0, :, 1:].any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_losses_of_low_precision_logits_are_computed_in_float32(dtype):
    shape = (4, 40, 40)
    logits, label = random_logits(shape).to(dtype), random_labels(shape)
    ones = torch.ones(shape)
    exact = np.mean(
        [
            slow_cross_entropy_of_pixel(values, index)
            for values, index in zip(
                logits.float().movedim(1, -1).reshape(-1, CLASSES).tolist(), label.flatten().tolist(), strict=True
            )
        ]
    )
    for loss in (cross_entropy(logits, label), consistency_loss(logits, label, ones, ones > 0, tau=0.5)):
        assert loss.dtype == torch.float32
        assert loss.item() == pytest.approx(exact, rel=1e-5)


def slow_ohem(logits, target, threshold, min_kept):
    """Sort the counted pixels by the probability of their true class and keep the hard ones."""
    pixels = []
    for values, label in zip(logits, target, strict=True):
        if label != 255:
            surprise = slow_cross_entropy_of_pixel(values, label)
            pixels.append((math.exp(-surprise), surprise))
    pixels.sort()
    if not pixels:
        return 0.0
    if min_kept == 0 or min_kept > len(pixels):
        kept = pixels
    else:
        limit = max(threshold, pixels[min_kept - 1][0])
        kept = [pixel for pixel in pixels if pixel[0] <= limit]
    return sum(surprise for _, surprise in kept) / len(kept)


@given(pixels, st.integers(0, 2**12 - 1), st.sampled_from([0.05, 0.3, 0.7, 0.95]), st.integers(0, 14))
@settings(max_examples=300, deadline=None)
def test_ohem_equals_a_loop(some, ignored, threshold, min_kept):
    logits, label, _, _ = columns_of(some)
    target = [255 if ignored >> number & 1 else int(value) for number, value in enumerate(label[0])]
    found = ohem_cross_entropy(logits, torch.tensor(target)[None], threshold=threshold, min_kept=min_kept)
    probabilities = [
        math.exp(-slow_cross_entropy_of_pixel(values, value))
        for values, value in zip(logits[0].T.tolist(), target, strict=True)
        if value != 255
    ]
    # Two pixels nearly as hard as each other or as the threshold may fall on either side of it.
    near = sorted([*probabilities, threshold])
    assume(all(b - a > 1e-5 or b == a for a, b in pairwise(near)))
    expected = slow_ohem(logits[0].T.tolist(), target, threshold, min_kept)
    assert found.item() == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_ohem_gives_easy_pixels_no_gradient_and_zero_where_all_are_ignored():
    logits = torch.tensor([[[9.0, 0.1, 0.2], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]]).requires_grad_()
    target = torch.zeros(1, 3, dtype=torch.int64)
    ohem_cross_entropy(logits, target, threshold=0.7, min_kept=1).backward()
    assert not logits.grad[0, :, 0].any()
    assert logits.grad[0, :, 1:].abs().sum(0).all()
    logits.grad = None
    loss = ohem_cross_entropy(logits, torch.full((1, 3), 255), threshold=0.7, min_kept=1)
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()
