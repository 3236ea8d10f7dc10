import numpy as np
import pytest

from unimatch.labelling.regions import pieces

MASK = np.array([[1, 1, 0, 2], [1, 0, 1, 2], [0, 0, 1, 2], [3, 3, 0, 2]], np.uint8)


def test_regions_are_connected_by_sides_and_larger_ones_come_first():
    found = list(pieces(MASK, {1: "leaf", 2: "stone"}))
    assert [(piece.label, piece.top, piece.left) for piece in found] == [
        ("stone", 0, 3),
        ("leaf", 0, 0),
        ("leaf", 1, 2),
    ]
    whole = [piece.whole(4, 4) for piece in found]
    assert [int(region.sum()) for region in whole] == [4, 3, 2]
    assert np.array_equal(whole[0], MASK == 2)
    assert np.array_equal(whole[1] | whole[2], MASK == 1)


def test_the_search_can_be_ended_at_any_class():
    told = []

    def tell(count):
        told.append(count)
        if count > 2:
            raise OverflowError

    with pytest.raises(OverflowError):
        list(pieces(MASK, {1: "leaf", 2: "stone", 3: "moss"}, tell))
    assert told == [2, 3]
