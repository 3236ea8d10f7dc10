import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unimatch.augment.cutmix import cutmix, draw_box

property_test = settings(max_examples=100, deadline=None, derandomize=True)


def draw_boxes(count, crop, seed=0, **settings_of_box):
    rng = np.random.default_rng(seed)
    return np.array([draw_box(rng, crop, **settings_of_box) for _ in range(count)])


@given(st.integers(1, 600), st.integers(0, 2**32 - 1))
@property_test
def test_box_lies_inside_and_has_area_and_aspect_in_range(crop, seed):
    top, left, bottom, right = draw_box(np.random.default_rng(seed), crop, probability=1.0)
    assert 0 <= top <= bottom <= crop
    assert 0 <= left <= right <= crop
    height, width = bottom - top, right - left
    # Each side was cut down to whole pixels: it was below the next pixel before.
    assert height * width <= 0.4 * crop**2
    assert (height + 1) * (width + 1) > 0.02 * crop**2
    assert height / (width + 1) < 1 / 0.3
    assert (height + 1) * (1 / 0.3) > width * (1 - 1e-9)


def test_area_is_uniform_over_its_range():
    boxes = draw_boxes(6000, 1000, probability=1.0)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) / 1000**2
    # Drawn once and kept while the corner is redrawn: large boxes are as frequent as small ones.
    assert np.abs(np.quantile(area, [0.25, 0.5, 0.75]) - [0.115, 0.21, 0.305]).max() < 0.012
    assert area.min() < 0.022
    assert area.max() > 0.396


def test_aspect_is_uniform_over_its_range():
    # Boxes so small that almost none is redrawn, in a view so large that whole pixels do not matter.
    boxes = draw_boxes(6000, 100_000, probability=1.0, area=(0.0001, 0.0001))
    aspect = (boxes[:, 2] - boxes[:, 0]) / (boxes[:, 3] - boxes[:, 1])
    quarters = 0.3 + (1 / 0.3 - 0.3) * np.array([0.25, 0.5, 0.75])
    assert np.abs(np.quantile(aspect, [0.25, 0.5, 0.75]) - quarters).max() < 0.08
    assert 0.295 < aspect.min() < 0.32
    assert 3.3 < aspect.max() < 3.34


def test_position_is_uniform_and_reaches_every_edge():
    boxes = draw_boxes(6000, 10, probability=1.0, area=(0.16, 0.16), aspect=(1.0, 1.0))
    assert set(boxes[:, 2] - boxes[:, 0]) == {4}
    assert set(boxes[:, 3] - boxes[:, 1]) == {4}
    counts = np.zeros((7, 7))
    for top, left, _, _ in boxes:
        counts[top, left] += 1
    assert np.abs(counts - 6000 / 49).max() < 56  # five standard deviations


@pytest.mark.parametrize(("probability", "lowest", "highest"), [(0.0, 0, 0), (0.5, 0.46, 0.54), (1.0, 1, 1)])
def test_share_of_boxes_is_the_probability(probability, lowest, highest):
    boxes = draw_boxes(4000, 64, probability=probability)
    assert lowest <= np.mean(boxes.any(axis=1)) <= highest
    assert all(box.any() or tuple(box) == (0, 0, 0, 0) for box in boxes)


def test_default_probability_is_one_half():
    assert abs(np.mean(draw_boxes(4000, 64).any(axis=1)) - 0.5) < 0.04


def test_box_is_a_function_of_the_generator():
    assert np.array_equal(draw_boxes(20, 50, seed=1), draw_boxes(20, 50, seed=1))
    assert not np.array_equal(draw_boxes(20, 50, seed=1), draw_boxes(20, 50, seed=2))


def mix_by_pixel(boxes, tensor):
    batch = tensor.shape[0]
    mixed = tensor.clone()
    for i in range(batch):
        top, left, bottom, right = boxes[i].tolist()
        for row in range(tensor.shape[-2]):
            for column in range(tensor.shape[-1]):
                if top <= row < bottom and left <= column < right:
                    mixed[i, ..., row, column] = tensor[batch - 1 - i, ..., row, column]
    return mixed


@st.composite
def batches(draw):
    batch, height, width = draw(st.integers(1, 5)), draw(st.integers(1, 7)), draw(st.integers(1, 7))
    boxes = []
    for _ in range(batch):
        top, left = draw(st.integers(0, height)), draw(st.integers(0, width))
        boxes.append((top, left, draw(st.integers(top, height)), draw(st.integers(left, width))))
    return torch.tensor(boxes), height, width


@given(batches())
@property_test
def test_cutmix_equals_the_loop_over_pixels_for_any_boxes(drawn):
    boxes, height, width = drawn
    batch = len(boxes)
    generator = torch.Generator().manual_seed(batch)
    images = torch.rand(batch, 3, height, width, generator=generator)
    labels = torch.randint(0, 20, (batch, height, width), generator=generator)
    confidences = torch.rand(batch, height, width, generator=generator)
    valid = torch.rand(batch, height, width, generator=generator) < 0.7
    tensors = (images, labels, confidences, valid)
    before = [tensor.clone() for tensor in (boxes, *tensors)]
    mixed = cutmix(boxes, *tensors)
    assert len(mixed) == 4
    for source, result in zip(tensors, mixed, strict=True):
        assert result.dtype == source.dtype
        assert torch.equal(result, mix_by_pixel(boxes, source))
    for tensor, old in zip((boxes, *tensors), before, strict=True):
        assert torch.equal(tensor, old)


@pytest.mark.parametrize("batch", [1, 2, 3, 4])
def test_partner_is_the_reversed_batch_before_any_pasting(batch):
    labels = torch.arange(batch)[:, None, None].expand(batch, 4, 6).contiguous()
    everywhere = torch.tensor([[0, 0, 4, 6]]).repeat(batch, 1)
    (mixed,) = cutmix(everywhere, labels)
    # Pasting one after another would give the first half's images to the second half twice.
    assert mixed[:, 0, 0].tolist() == list(reversed(range(batch)))
    if batch % 2:
        assert torch.equal(mixed[batch // 2], labels[batch // 2])


def test_no_box_leaves_the_image():
    images = torch.rand(4, 3, 5, 5)
    (mixed,) = cutmix(torch.zeros(4, 4, dtype=torch.int64), images)
    assert torch.equal(mixed, images)


def test_result_shares_no_memory_with_the_input():
    labels = torch.zeros(2, 4, 4, dtype=torch.int64)
    (mixed,) = cutmix(torch.tensor([[0, 0, 2, 2], [0, 0, 0, 0]]), labels)
    mixed += 1
    assert labels.sum() == 0


@given(batches())
@property_test
def test_a_second_batch_is_pasted_from_image_by_image(drawn):
    boxes, height, width = drawn
    batch = len(boxes)
    own, other = torch.rand(2, batch, 3, height, width, generator=torch.Generator().manual_seed(batch))
    (mixed,) = cutmix(boxes, own, partner=[other])
    for i in range(batch):
        top, left, bottom, right = boxes[i].tolist()
        for row in range(height):
            for column in range(width):
                inside = top <= row < bottom and left <= column < right
                assert torch.equal(mixed[i, :, row, column], (other if inside else own)[i, :, row, column])


def test_without_boxes_nothing_is_pasted_whatever_the_shapes():
    images, labels = torch.rand(3, 3, 4, 4), torch.arange(3)
    mixed = cutmix(None, images, labels, partner=(images.flip(0), labels.flip(0)))
    assert torch.equal(mixed[0], images)
    assert torch.equal(mixed[1], labels)
