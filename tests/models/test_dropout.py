import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unimatch.models.dropout import channel_masks, drop_channels, feature_masks

PYRAMID = (48, 96, 128, 128)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def kept_pairs(mask, pairs):
    both = mask.view(2, pairs, -1)
    return [bool((both[:, i] == 1).all()) for i in range(pairs)]


@given(st.integers(1, 12), st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_each_pair_is_complementary_or_kept_whole(pairs, keep_ratio, seed):
    masks = channel_masks(pairs, PYRAMID, generator=generator(seed), keep_ratio=keep_ratio)
    for mask, width in zip(masks, PYRAMID, strict=True):
        assert mask.shape == (2 * pairs, width, 1, 1)
        assert mask.dtype == torch.float32
        kept = kept_pairs(mask, pairs)
        assert sum(kept) == {0.0: 0, 0.25: pairs // 4, 0.5: pairs // 2, 1.0: pairs}[keep_ratio]
        assert kept == kept_pairs(masks[0], pairs)
        first, second = mask[:pairs, :, 0, 0], mask[pairs:, :, 0, 0]
        for i in range(pairs):
            for channel in range(width):
                pair = (float(first[i, channel]), float(second[i, channel]))
                assert pair == (1, 1) if kept[i] else pair in {(0, 2), (2, 0)}


def test_half_is_kept_by_default_and_nothing_of_one_pair():
    for pairs in range(1, 8):
        mask = channel_masks(pairs, (64,), generator=generator(pairs))[0]
        assert sum(kept_pairs(mask, pairs)) == pairs // 2
    for seed in range(20):
        assert kept_pairs(channel_masks(1, (64,), generator=generator(seed))[0], 1) == [False]


def test_levels_of_equal_width_share_the_mask():
    masks = channel_masks(4, (32,) * 4, generator=generator())
    assert all(torch.equal(mask, masks[0]) for mask in masks)


def test_a_pyramid_has_one_mask_per_level():
    widths = (4096, 2048, 4096, 4096)
    masks = channel_masks(2, widths, generator=generator(), keep_ratio=0)
    for a, b in ((0, 2), (0, 3), (2, 3)):
        assert (masks[a] == masks[b]).float().mean().item() == pytest.approx(0.5, abs=0.04)


def test_channels_are_independent_fair_coins():
    pairs, width = 8, 8192
    coin = channel_masks(pairs, (width,), generator=generator(), keep_ratio=0)[0][:pairs, :, 0, 0] / 2
    assert set(coin.unique().tolist()) == {0, 1}
    # Five standard deviations of a share of `width` fair coins.
    bound = 5 * 0.5 / width**0.5
    for i in range(pairs):
        assert coin[i].mean().item() == pytest.approx(0.5, abs=bound)
        assert (coin[i, 1:] == coin[i, :-1]).float().mean().item() == pytest.approx(0.5, abs=bound)
        for j in range(i):
            assert (coin[i] == coin[j]).float().mean().item() == pytest.approx(0.5, abs=bound)


@pytest.mark.parametrize("views", [1, 2])
def test_independent_masks_are_fair_coins_of_each_view(views):
    images, width = 4, 8192
    mask = channel_masks(
        images, (width,) * 4, views=views, complementary=False, keep_ratio=0.25, generator=generator()
    )[0]
    assert mask.shape == (views * images, width, 1, 1)
    rows = mask.flatten(1)
    kept = [i for i in range(images) if bool((rows[i] == 1).all())]
    assert len(kept) == 1
    assert all(bool((rows[view * images + kept[0]] == 1).all()) for view in range(views))
    dropped = [row for i, row in enumerate(rows) if i % images != kept[0]]
    for i, row in enumerate(dropped):
        assert set(row.unique().tolist()) == {0, 2}
        assert row.mean().item() == pytest.approx(1, abs=5 / width**0.5)
        for other in dropped[:i]:
            assert (row == other).float().mean().item() == pytest.approx(0.5, abs=2.5 / width**0.5)


def test_complementary_masks_of_one_view_are_refused():
    with pytest.raises(ValueError, match="views=1"):
        channel_masks(2, (8,), views=1, generator=generator())


@pytest.mark.parametrize("drop", [0.0, 0.5, 0.8])
def test_feature_masks_drop_each_channel_of_each_level_by_itself(drop):
    images, width = 4, 8192
    masks = feature_masks(images, (width, width), drop, generator=generator())
    assert [tuple(mask.shape) for mask in masks] == [(images, width, 1, 1)] * 2
    rows = torch.cat(masks).flatten(1)
    for i, row in enumerate(rows):
        for value in row.unique().tolist():
            assert value in (0, pytest.approx(1 / (1 - drop)))
        assert (row == 0).float().mean().item() == pytest.approx(drop, abs=2.5 / width**0.5)
        if drop:
            equal = [(row == other).float().mean().item() for other in rows[:i]]
            assert equal == pytest.approx([drop**2 + (1 - drop) ** 2] * i, abs=2.5 / width**0.5)


def test_the_kept_pairs_are_a_random_half():
    draws, pairs = 800, 4
    source = generator()
    counts = torch.zeros(pairs)
    for _ in range(draws):
        counts += torch.tensor(kept_pairs(channel_masks(pairs, (16,), generator=source)[0], pairs))
    assert counts.sum() == draws * pairs // 2
    for share in (counts / draws).tolist():
        assert share == pytest.approx(0.5, abs=5 * 0.5 / draws**0.5)


def test_the_masks_are_a_function_of_the_generator():
    first, again = (channel_masks(4, PYRAMID, generator=generator(3)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    other = channel_masks(4, PYRAMID, generator=generator(4))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))

    source = generator(3)
    channel_masks(4, PYRAMID, generator=source)
    assert not torch.equal(channel_masks(4, PYRAMID, generator=source)[0], first[0])


def test_the_global_generator_is_left_alone():
    torch.manual_seed(0)
    expected = torch.rand(4)
    torch.manual_seed(0)
    channel_masks(4, PYRAMID, generator=generator())
    assert torch.equal(torch.rand(4), expected)


def test_drop_channels_equals_a_loop():
    widths, sizes, batch = (3, 5), ((4, 6), (2, 3)), 4
    source = generator()
    levels = [torch.randn(batch, width, *size, generator=source) for width, size in zip(widths, sizes, strict=True)]
    masks = [torch.randint(0, 3, (batch, width, 1, 1), generator=source).float() for width in widths]
    dropped = drop_channels(levels, masks)
    for level, mask, result in zip(levels, masks, dropped, strict=True):
        for i in range(batch):
            for channel in range(level.shape[1]):
                factor = float(mask[i, channel, 0, 0])
                assert torch.equal(result[i, channel], level[i, channel] * factor)


def test_drop_channels_keeps_the_features_type():
    level = torch.randn(2, 3, 4, 4).bfloat16()
    assert drop_channels([level], [torch.ones(2, 3, 1, 1)])[0].dtype == torch.bfloat16
