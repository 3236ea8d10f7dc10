import dataclasses

import pytest

from unimatch.data.catalog import (
    ADE20K,
    CAMVID,
    CITYSCAPES,
    COCO,
    DIGITS,
    PASCAL,
    DatasetInfo,
    distinct_colors,
    voc_colors,
)


@pytest.mark.parametrize("count", [1, 2, 3, 11, 19, 21, 81, 150, 255])
def test_colors_are_distinct_rgb_and_start_with_black(count):
    colors = distinct_colors(count)
    assert len(colors) == len(set(colors)) == count
    assert colors[0] == (0, 0, 0)
    assert all(len(color) == 3 and all(0 <= value <= 255 for value in color) for color in colors)


def test_fewer_colors_are_the_first_of_more():
    assert distinct_colors(7) == distinct_colors(20)[:7]


def test_info_needs_one_color_per_class():
    with pytest.raises(ValueError, match=r"pets: 3 classes but 2 colours"):
        DatasetInfo(name="pets", classes=("none", "cat", "dog"), palette=distinct_colors(2))


def test_info_is_frozen_and_ignores_255():
    info = DatasetInfo(name="pets", classes=("none", "cat"), palette=distinct_colors(2))
    assert info.num_classes == 2
    assert info.ignore_ids == {255}
    with pytest.raises(dataclasses.FrozenInstanceError):
        info.name = "other"


@pytest.mark.parametrize(
    ("info", "classes", "ignored"),
    [
        (PASCAL, 21, {255}),
        (CITYSCAPES, 19, {255}),
        (ADE20K, 150, {255}),
        (COCO, 81, {255}),
        (CAMVID, 11, {11, 255}),
        (DIGITS, 11, {255}),
    ],
)
def test_built_in_sets_have_their_published_facts(info, classes, ignored):
    assert info.num_classes == len(set(info.classes)) == classes
    assert len(set(info.palette)) == classes
    assert info.ignore_ids == ignored
    # No class is ignored.
    assert not info.ignore_ids & set(range(classes))
    assert info.url.startswith("http")
    assert info.license
    assert info.citation


def test_class_order_of_the_built_in_sets():
    assert CAMVID.classes[0] == "sky"
    assert CAMVID.classes[3] == "road"
    assert CAMVID.classes[10] == "bicyclist"
    assert DIGITS.classes == ("background", *(str(digit) for digit in range(10)))
    assert (PASCAL.classes[0], PASCAL.classes[15], PASCAL.classes[20]) == ("background", "person", "tvmonitor")
    assert (CITYSCAPES.classes[0], CITYSCAPES.classes[11], CITYSCAPES.classes[18]) == ("road", "person", "bicycle")
    assert (ADE20K.classes[0], ADE20K.classes[12], ADE20K.classes[149]) == ("wall", "person", "flag")
    assert (COCO.classes[0], COCO.classes[1], COCO.classes[80]) == ("void", "person", "toothbrush")


def test_pascal_colors_are_the_published_ones():
    assert voc_colors(256)[255] == (224, 224, 192)
    expected = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128)]
    assert list(PASCAL.palette[:7]) == expected
    assert PASCAL.palette[15] == (192, 128, 128)
    assert PASCAL.palette[20] == (0, 64, 128)
