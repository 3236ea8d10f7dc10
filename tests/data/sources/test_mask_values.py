import numpy as np

from unimatch.data.sources.mask_values import MOST_IDS, SHOWN, count_ids, listing, pack, unpack

RNG = np.random.default_rng(0)


def test_ids_are_counted_unless_they_are_too_many():
    ids = RNG.integers(-3, 400, (90, 70))
    assert count_ids(ids) == {value: int((ids == value).sum()) for value in np.unique(ids).tolist()}
    assert len(count_ids(np.arange(MOST_IDS))) == MOST_IDS
    assert count_ids(np.arange(MOST_IDS + 1)) is None


def test_the_first_names_are_listed_and_the_others_counted():
    names = [f"id {i}" for i in range(SHOWN + 2)]
    text = listing(names, [*range(SHOWN + 2)])
    assert text.startswith("id 0 (0 pixels), id 1 (1 pixel)")
    assert text.endswith(f"id {SHOWN - 1} ({SHOWN - 1} pixels) and 2 more")
    assert listing(names[:SHOWN], [*range(SHOWN)], 100).endswith(f"and {100 - SHOWN} more")


def test_packed_colours_are_numbers_in_hexadecimal_order():
    colors = RNG.integers(0, 256, (50, 3), dtype=np.uint8)
    codes = pack(colors)
    assert codes.tolist() == [int.from_bytes(bytes(color)) for color in colors]
    np.testing.assert_array_equal(unpack(codes), colors)
