from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from unimatch.data.catalog import CHANGE, DatasetInfo, distinct_colors
from unimatch.data.sources.masks import mask_reader
from unimatch.errors import ConfigError, DataError
from unimatch.wording import counted

THREE = DatasetInfo("some", ("a", "b", "c"), ((0, 0, 0), (200, 10, 0), (0, 10, 200)))
DTYPES = {"png": [np.uint8, np.uint16], "tif": [np.uint8, np.uint16, np.int32]}


@st.composite
def encodings(draw):
    """What a mask may store for each class and for none, as arguments and as a dict made by hand."""
    count = draw(st.integers(2, 6))
    meaning = {255: 255}
    arguments = {}
    kind = draw(st.sampled_from(["plain", "reduce", "ids"]))
    if kind == "plain":
        meaning |= {i: i for i in range(count)}
    elif kind == "reduce":
        meaning |= {0: 255} | {i + 1: i for i in range(count)}
        arguments["reduce_zero_label"] = True
    ignored = draw(st.sets(st.integers(0, 300), max_size=3))
    arguments["ignore_ids"] = frozenset(ignored)
    meaning |= dict.fromkeys(ignored, 255)
    if kind == "ids":
        stored = draw(st.lists(st.integers(0, 60000), min_size=count, max_size=8, unique=True))
        arguments["ids"] = {value: i % count for i, value in enumerate(stored)}
        meaning |= arguments["ids"]
    info = DatasetInfo("some", tuple("abcdef"[:count]), distinct_colors(count), **arguments)
    return info, meaning


@given(encodings(), st.data())
@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_stored_ids_become_classes_or_an_error(tmp_path, encoding, data):
    info, meaning = encoding
    values = data.draw(st.lists(st.sampled_from(sorted(meaning)) | st.integers(0, 300), min_size=6, max_size=6))
    suffix = data.draw(st.sampled_from(["png", "tif"]))
    fitting = [dtype for dtype in DTYPES[suffix] if max(values) <= np.iinfo(dtype).max]
    path = tmp_path / f"mask.{suffix}"
    Image.fromarray(np.array(values, data.draw(st.sampled_from(fitting))).reshape(2, 3)).save(path)
    unknown = sorted(set(values) - set(meaning))
    if unknown:
        with pytest.raises(DataError) as caught:
            mask_reader(info)(path)
        for value in unknown[:5]:
            assert f"id {value} ({counted(values.count(value), 'pixel')})" in str(caught.value)
        assert str(caught.value).startswith(f"{path}: ")
    else:
        mask = mask_reader(info)(path)
        assert mask.dtype == np.uint8
        assert mask.ravel().tolist() == [meaning[value] for value in values]


def test_ids_that_no_16_bit_mask_has_are_refused(tmp_path):
    Image.fromarray(np.array([[0, 1, 70000, -3]], np.int32)).save(tmp_path / "mask.tif")
    with pytest.raises(DataError, match=r"id -3 \(1 pixel\), id 70000 \(1 pixel\) outside the 3 classes 0-2"):
        mask_reader(THREE)(tmp_path / "mask.tif")


@pytest.mark.parametrize(
    ("stored", "count", "advice"),
    [
        ([0, 65535], 2, "if 65535 is b, set 'dataset.ids={0: 0, 65535: 1}'"),
        ([0, 128], 2, "if 128 is b, set 'dataset.ids={0: 0, 128: 1}'"),
        ([0, 1, 65535], 2, "name it in dataset.ignore_ids"),
        ([0, 65535], 3, "name it in dataset.ignore_ids"),
        ([0, 2], 2, "dataset.reduce_zero_label=true"),
        ([0, 70000], 2, "mark such pixels 255"),
    ],
)
def test_two_values_of_two_classes_are_read_by_naming_them(tmp_path, stored, count, advice):
    info = DatasetInfo("some", ("a", "b", "c")[:count], distinct_colors(count))
    Image.fromarray(np.array([stored], np.int32 if max(stored) > 65535 else np.uint16)).save(tmp_path / "mask.tif")
    with pytest.raises(DataError) as caught:
        mask_reader(info)(tmp_path / "mask.tif")
    assert str(caught.value).split("; ")[1].endswith((advice, f"({advice})", f"{advice})"))
    if "{" in advice:
        named = replace(info, ids={0: 0, stored[1]: 1})
        assert mask_reader(named)(tmp_path / "mask.tif").tolist() == [[0, 1]]


def test_large_ids_without_a_sign_are_named_as_they_are_stored(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "mask.tif", np.array([[0, 1, 2**31 + 5, 2**32 - 1]], np.uint32))
    with pytest.raises(DataError, match=r"id 2147483653 \(1 pixel\), id 4294967295 \(1 pixel\) outside"):
        mask_reader(THREE)(tmp_path / "mask.tif")
    ignored = mask_reader(replace(THREE, unknown_values="ignore"))
    assert ignored(tmp_path / "mask.tif").tolist() == [[0, 1, 255, 255]]


def test_off_by_one_is_recognised(tmp_path):
    Image.fromarray(np.array([[1, 2, 3]], np.uint8)).save(tmp_path / "mask.png")
    with pytest.raises(DataError, match=r"count classes from 1\? dataset\.reduce_zero_label=true"):
        mask_reader(THREE)(tmp_path / "mask.png")
    assert mask_reader(replace(THREE, reduce_zero_label=True))(tmp_path / "mask.png").tolist() == [[0, 1, 2]]


def test_without_class_names_every_id_is_one(tmp_path):
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(tmp_path / "mask.png")
    assert mask_reader(DatasetInfo("folder", (), ()))(tmp_path / "mask.png").ravel().tolist() == list(range(256))


def test_colors_become_classes(tmp_path):
    info = replace(THREE, color_masks=True, ignore_colors=frozenset({(224, 224, 192)}))
    ids = np.array([[0, 1, 2], [255, 2, 1]], np.uint8)
    colors = {0: (0, 0, 0), 1: (200, 10, 0), 2: (0, 10, 200), 255: (224, 224, 192)}
    image = np.array([[colors[i] for i in row] for row in ids], np.uint8)
    Image.fromarray(image).save(tmp_path / "mask.png")
    assert mask_reader(info)(tmp_path / "mask.png").tolist() == ids.tolist()
    image[0, 0], image[1, 1], image[1, 2] = (1, 0, 0), (255, 255, 255), (255, 255, 255)
    Image.fromarray(image).save(tmp_path / "mask.png")
    with pytest.raises(DataError, match=r"mask\.png: .* of no class; .*dataset\.ignore_colors") as caught:
        mask_reader(info)(tmp_path / "mask.png")
    assert "colour (255, 255, 255) (2 pixels), colour (1, 0, 0) (1 pixel)" in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "stored", "ignored", "nearest"),
    [
        ({}, [0, 2, 3, 100, 250, 255], [0, 2, 255, 255, 255, 255], [0, 2, 2, 2, 255, 255]),
        ({"ids": {0: 0, 255: 1}}, [0, 1, 127, 128, 254, 255], [0, 255, 255, 255, 255, 1], [0, 0, 0, 1, 1, 1]),
        # Where 1 and 255 mean the same, values beside them show that 1 is noise.
        ({"ids": {0: 0, 1: 1, 255: 1}}, [0, 1, 2, 250], [0, 1, 255, 255], [0, 0, 0, 1]),
        ({"ids": {0: 0, 1: 1, 255: 1}}, [0, 1, 255, 255], [0, 1, 1, 1], [0, 1, 1, 1]),
        ({"reduce_zero_label": True}, [0, 1, 3, 4], [255, 0, 2, 255], [255, 0, 2, 2]),
    ],
)
def test_unknown_ids_are_ignored_or_of_the_nearest_class(tmp_path, arguments, stored, ignored, nearest):
    Image.fromarray(np.array([stored], np.uint8)).save(tmp_path / "mask.png")
    for unknown, expected in (("ignore", ignored), ("nearest", nearest)):
        info = replace(THREE, unknown_values=unknown, **arguments)
        assert mask_reader(info)(tmp_path / "mask.png").tolist() == [expected]


def test_values_far_from_all_ids_are_never_rounded(tmp_path):
    Image.fromarray(np.array([[0, 1, -9999]], np.int32)).save(tmp_path / "mask.tif")
    nearest = replace(THREE, unknown_values="nearest")
    with pytest.raises(DataError, match=r"id -9999 \(1 pixel\).*dataset\.ignore_ids"):
        mask_reader(nearest)(tmp_path / "mask.tif")
    named = replace(nearest, ignore_ids=frozenset({-9999}))
    assert mask_reader(named)(tmp_path / "mask.tif").tolist() == [[0, 1, 255]]


@given(st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=6, max_size=6))
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_unknown_colours_are_of_the_nearest_class(tmp_path, colors):
    info = replace(THREE, color_masks=True, unknown_values="nearest", ignore_colors=frozenset({(255, 255, 255)}))
    known = {(255, 255, 255): 255} | {color: i for i, color in enumerate(THREE.palette)}
    distances = [{k: sum((a - b) ** 2 for a, b in zip(k, color, strict=True)) for k in known} for color in colors]
    Image.fromarray(np.array([colors], np.uint8)).save(tmp_path / "mask.png")
    try:
        ids = mask_reader(info)(tmp_path / "mask.png")[0].tolist()
    except DataError:  # greys as dark as ids are
        assert any(color in {(1, 1, 1), (2, 2, 2)} for color in colors)
    else:
        for i, each in zip(ids, distances, strict=True):
            assert i in {known[color] for color in known if each[color] == min(each.values())}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ids": {0: 0}, "reduce_zero_label": True}, r"ids and reduce_zero_label both"),
        ({"ids": {0: 3}}, r"ids: class ids lie between 0 and 2, found \{0: 3\}"),
        ({"ids": {-40000: 0}}, r"ids: stored ids lie between -32768 and 65535, found \[-40000\]"),
        ({"ignore_ids": frozenset({70000})}, r"ignore_ids: stored ids lie between -32768 and 65535"),
        ({"unknown_values": "skip"}, "unknown_values=skip: must be one of error, ignore, nearest"),
        ({"exif": "ignore"}, "exif=ignore: must be one of turn, stored"),
        ({"color_masks": True, "ignore_colors": frozenset({(0, 0, 0)})}, "needs its own colour"),
        ({"color_masks": True, "palette": ((1, 1, 1),) * 3}, "needs its own colour"),
    ],
)
def test_encodings_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        mask_reader(replace(THREE, **arguments))


def test_what_is_transparent_may_store_anything(tmp_path):
    """For the check and for the training alike."""
    ids, alpha = Image.fromarray(np.array([[0, 1, 77]], np.uint8)), Image.fromarray(np.array([[255, 9, 0]], np.uint8))
    Image.merge("LA", [ids, alpha]).save(tmp_path / "a.png")
    reader = mask_reader(THREE)
    assert reader(tmp_path / "a.png").tolist() == [[0, 1, 255]]
    assert reader.unknown(reader.read(tmp_path / "a.png")) == 0
    Image.merge("LA", [ids, Image.new("L", ids.size, 9)]).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"id 77 \(1 pixel\)"):
        reader(tmp_path / "a.png")


@pytest.mark.parametrize("colors", [True, False])
def test_a_message_names_the_first_few_of_many_unknown_values(tmp_path, colors):
    values = np.arange(100, 200, dtype=np.uint8).reshape(10, 10)
    stored = np.stack([values, values, np.zeros_like(values)], -1) if colors else values
    Image.fromarray(stored).save(tmp_path / "mask.png")
    with pytest.raises(DataError, match=r"\(1 pixel\) and 95 more (of|outside)"):
        mask_reader(replace(THREE, color_masks=colors))(tmp_path / "mask.png")


@pytest.mark.parametrize(("number", "told"), [(4096, "and 4087 more outside"), (4097, "more than 4,096 different ids")])
def test_a_mask_of_more_ids_than_anybody_has_classes_is_refused_without_counting_them(tmp_path, number, told):
    ids = np.arange(600 * 500, dtype=np.int32).reshape(600, 500) % number  # over more than one strip
    Image.fromarray(ids).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=told):
        mask_reader(DatasetInfo("x", ("a", "b", "c"), distinct_colors(3)))(tmp_path / "a.tif")


def test_of_two_colours_that_are_as_near_the_first_counts(tmp_path):
    Image.new("RGB", (2, 2), (1, 0, 0)).save(tmp_path / "mask.png")
    info = replace(THREE, color_masks=True, unknown_values="nearest", palette=((0, 0, 0), (2, 0, 0), (9, 9, 9)))
    assert (mask_reader(info)(tmp_path / "mask.png") == 0).all()


@pytest.mark.parametrize(
    ("colors", "told"),
    [
        ([(0, 0, 0), (1, 1, 1), (255, 255, 255)], "holds class ids where colours are read"),  # of a mask with 255
        ([(128, 64, 128), (64, 0, 128), (0, 0, 0)], r"colour \(0, 0, 0\) \(2 pixels\) of no class"),  # black is void
    ],
)
def test_a_mask_of_ids_is_told_from_one_with_a_colour_of_no_class(tmp_path, colors, told):
    street = replace(THREE, classes=("road", "car"), palette=((128, 64, 128), (64, 0, 128)), color_masks=True)
    Image.fromarray(np.array([colors, colors], np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=told):
        mask_reader(street)(tmp_path / "a.png")


def test_a_mask_of_black_and_white_holds_colours_where_black_is_a_class(tmp_path):
    colors = [(0, 0, 0), (255, 255, 255)]
    cracks = replace(
        THREE,
        classes=("background", "crack"),
        palette=((0, 0, 0), (255, 0, 0)),
        color_masks=True,
        unknown_values="ignore",
    )
    Image.fromarray(np.array([colors, colors], np.uint8)).save(tmp_path / "a.png")
    assert mask_reader(cracks)(tmp_path / "a.png").tolist() == [[0, 255]] * 2


def test_a_palette_that_holds_ids_as_greys_is_refused(tmp_path):
    """As Pillow writes grey masks as GIF: with the values that occur as the colours of a palette."""
    ids = np.array([[0, 2], [2, 2]], np.uint8)
    Image.fromarray(ids).save(tmp_path / "a.gif")
    with pytest.raises(DataError, match=r"a\.gif: its palette gives id 1 the grey of id 2: .*save the mask in grey"):
        mask_reader(THREE)(tmp_path / "a.gif")
    Image.fromarray(np.arange(3, dtype=np.uint8).reshape(1, 3)).save(tmp_path / "a.gif")
    assert mask_reader(THREE)(tmp_path / "a.gif").tolist() == [[0, 1, 2]]
    for greys in ([0, 0, 0], [0, 127, 255]):  # which are there to be looked at
        image = Image.fromarray(ids)
        image.putpalette(np.repeat(greys, 3).tolist())
        image.save(tmp_path / "a.png")
        assert np.array_equal(mask_reader(THREE)(tmp_path / "a.png"), ids)
    changes = DatasetInfo("changes", ("unchanged", "changed"), ((0, 0, 0), (255, 64, 64)), ids={0: 0, 1: 1, 255: 1})
    for greys, right in (([0, 255], True), ([255, 0], False)):
        image = Image.fromarray(ids // 2)
        image.putpalette(np.repeat(greys, 3).tolist())
        image.save(tmp_path / "b.png")
        if right:
            assert np.array_equal(mask_reader(changes)(tmp_path / "b.png"), ids // 2)
        else:
            with pytest.raises(DataError, match=r"b\.png: its palette gives id 0 the grey of id 255"):
                mask_reader(changes)(tmp_path / "b.png")


def test_ids_between_those_that_are_named_may_be_blurred_edges():
    reader = mask_reader(CHANGE)
    assert reader.out_of_range({0: 9, 40: 1, 99: 1, 255: 9}, lossy=False).endswith(
        "; for blurred edges, and white of 16 bits, set dataset.unknown_values=nearest"
    )
    assert "blurred" not in reader.out_of_range({0: 9, 128: 5, 255: 9}, lossy=False)  # it may mean something
    white = reader.out_of_range({0: 9, 65535: 5}, lossy=False)
    assert "white of 16 bits" in white
    assert "ignore_ids" not in white


def test_ids_as_many_as_classes_may_stand_for_them_in_their_order():
    reader = mask_reader(DatasetInfo("three", ("a", "b", "c"), distinct_colors(3)))
    text = reader.out_of_range({0: 5, 127: 3, 254: 1}, lossy=False)
    assert text.endswith("or if these are all classes in their order, set 'dataset.ids={0: 0, 127: 1, 254: 2}'")
    assert "dataset.ids" not in reader.out_of_range({0: 5, 127: 3}, lossy=False)


@pytest.mark.parametrize("ids", [{"a": 0}, {0: 0, "1": 1}])
def test_stored_ids_that_are_no_numbers_are_refused(ids):
    info = DatasetInfo("some", ("a", "b"), ((0, 0, 0), (9, 9, 9)), ids=ids)
    with pytest.raises(ConfigError, match="ids: stored ids are whole numbers, found "):
        mask_reader(info)
