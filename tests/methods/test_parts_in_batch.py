"""What stays apart where several parts of a step are one batch."""

from functools import partial

import numpy as np
import pytest
import torch

from unimatch.augment.cutmix import cutmix
from unimatch.methods.parts_in_batch import StepGenerator, generators_of, masks_of_parts, mean_over_parts
from unimatch.models.dropout import channel_masks

CPU = torch.device("cpu")


def test_the_mean_over_parts_is_the_mean_of_each_parts_loss():
    values, factors = torch.tensor([1.0, 3.0, 10.0, 20.0, 0.0, 5.0]), torch.tensor([1.0, 1, 2, 2, 1, 3])

    def loss(values, factors, shift):
        return (values * factors).sum() / factors.sum() + shift

    by_hand = np.mean([(1 + 3) / 2, (20 + 40) / 4, (0 + 15) / 4]) + 0.5
    assert mean_over_parts(loss, values, factors, 0.5, parts=3).item() == pytest.approx(by_hand)
    assert mean_over_parts(loss, values, factors, 0.5, parts=1).item() == pytest.approx((4 + 60 + 15) / 10 + 0.5)


def test_cutmix_pastes_within_each_part():
    images = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 3, 2, 2)
    boxes = torch.tensor([[0, 0, 1, 2]] * 6)
    (pasted,) = cutmix(boxes, images, parts=3)
    assert pasted[:, 0, 0, 0].tolist() == [1, 0, 3, 2, 5, 4]
    assert pasted[:, 0, 1, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert cutmix(boxes, images)[0][:, 0, 0, 0].tolist() == [5, 4, 3, 2, 1, 0]


def test_masks_of_parts_are_those_that_each_part_draws():
    seeds, views, images = (11, 7, 99), 2, 4

    draw = partial(channel_masks, widths=(6, 10), views=views)
    together = masks_of_parts(draw, 3 * images, StepGenerator.seeded(seeds, CPU), views=views)
    for part, seed in enumerate(seeds):
        alone = draw(images, generator=torch.Generator().manual_seed(seed))
        for level in range(2):
            assert together[level].shape == (views * 3 * images, (6, 10)[level], 1, 1)
            for view in range(views):
                first = view * 3 * images + part * images
                assert torch.equal(
                    together[level][first : first + images], alone[level][view * images : (view + 1) * images]
                )


def test_a_plain_generator_is_that_of_one_part():
    plain = torch.Generator()
    assert generators_of(plain) == (plain,)
    one = StepGenerator.seeded([5], CPU)
    assert torch.equal(torch.rand(3, generator=one), torch.rand(3, generator=torch.Generator().manual_seed(5)))
    assert generators_of(one) == [one]
