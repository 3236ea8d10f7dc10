from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from helpers.support import write_pair
from unimatch.data.catalog import CAMVID, voc_colors
from unimatch.data.check.what_masks_hold import advise, look, masks_below
from unimatch.data.sets.class_names import read_classes
from unimatch.data.sets.own_folders import training_place


def save(folder: Path, *arrays, kind="png"):
    """Masks, and their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{i}.{kind}" for i in range(len(arrays))]
    for path, array in zip(paths, arrays, strict=True):
        Image.fromarray(np.asarray(array, np.uint8)).save(path)
    return paths


def told(paths):
    return advise(look(paths, workers=0, progress=False), "masks")


def read_back(tmp_path, text):
    (tmp_path / "classes.txt").write_text(text)
    return read_classes(tmp_path / "classes.txt")


def test_colours_are_counted_as_a_slow_loop_counts_them_and_can_be_pasted(tmp_path):
    colors = np.array([(0, 0, 0), (200, 10, 10), (10, 200, 10)], np.uint8)
    ids = np.random.default_rng(0).integers(0, 3, (2, 10, 10))
    ids[1][ids[1] == 2] = 1
    advice = told(save(tmp_path / "masks", *colors[ids]))
    for i, color in enumerate(colors.tolist()):
        share = sum(int(value) == i for value in ids.ravel()) / ids.size
        line = next(line for line in advice.lines if line.split()[:3] == list(map(str, color)))
        assert f"{100 * share:.2f} %" in line
        assert f"in {'1 mask' if i == 2 else '2 masks'}  " in line
    found = read_back(tmp_path, advice.classes)
    assert found.names[0] == "background"
    assert {*found.colors} == {*map(tuple, colors.tolist())}
    assert advice.lines[-1] == "Add to your commands: dataset.colors=palette"


def test_published_colours_get_their_names_and_others_are_ignored(tmp_path):
    colors = np.array([*CAMVID.palette, (0, 0, 0)], np.uint8)
    advice = told(save(tmp_path / "masks", colors[np.arange(12).reshape(3, 4)]))
    assert read_back(tmp_path, advice.classes) == (CAMVID.classes, CAMVID.palette)
    assert advice.lines[-1] == "Add to your commands: dataset.colors=palette 'dataset.ignore_colors=[[0,0,0]]'"


def test_a_colour_beside_the_published_ones_gets_a_number(tmp_path):
    """CamVid's authors draw pavement in another blue than SegNet's."""
    published = {name: (0, 0, 192) if name == "pavement" else color
                 for name, color in zip(CAMVID.classes, CAMVID.palette, strict=True)}  # fmt: skip
    colors = np.array([*published.values(), (0, 0, 0)], np.uint8)
    advice = told(save(tmp_path / "masks", colors[np.arange(12).reshape(3, 4)]))
    found = read_back(tmp_path, advice.classes)
    named = {name: color for name, color in published.items() if name != "pavement"}
    assert dict(zip(found.names, found.colors, strict=True)) == {**named, "class_10": (0, 0, 192)}
    assert advice.settings == ("dataset.colors=palette", "dataset.ignore_colors=[[0,0,0]]")


def test_blurred_edges_are_no_classes(tmp_path):
    blocks = (
        np.array(voc_colors(4), np.uint8)[np.random.default_rng(0).integers(0, 4, (5, 5))].repeat(43, 0).repeat(43, 1)
    )
    advice = told(save(tmp_path / "masks", blocks, kind="jpg"))
    assert "dataset.unknown_values=nearest" in advice.lines[-1]
    colors = read_back(tmp_path, advice.classes).colors
    assert len(colors) < 12
    for color in voc_colors(4):
        assert min(max(abs(a - b) for a, b in zip(color, other, strict=True)) for other in colors) <= 3


def test_two_kinds_of_masks_are_named_with_their_counts(tmp_path):
    grey = save(tmp_path / "grey", *np.zeros((3, 4, 4)))
    colored = save(tmp_path / "colour", *np.array([(9, 8, 7), (1, 2, 3)], np.uint8)[np.eye(4, dtype=int)][None])
    advice = told([*grey, *colored])
    assert advice.lines[0].startswith("masks: 3 masks of one number a pixel")
    assert advice.lines[1].startswith("masks: 1 mask in colours (RGB)")
    assert advice.lines[2:4] == ["All masks must be of one kind. Save these 1 as the others are:", f"    {colored[0]}"]


@pytest.mark.parametrize(
    ("stored", "classes", "setting"),
    [
        ([0, 1, 3, 255], "class_0\nclass_1\nclass_2\nclass_3\n", None),
        (
            [1, 2, 3],
            "class_0\nclass_1\nclass_2\nclass_3\n",
            "add dataset.reduce_zero_label=true",
        ),
        ([1, 2, 255], "class_0\nclass_1\nclass_2\n", "No mask shows 0."),
        ([0, 255], "background\nclass_1\n", "dataset.ids={0:0,255:1}"),
        ([0, 100, 200], "class_0\nclass_100\nclass_200\n", "dataset.ids={0:0,100:1,200:2}"),
        (range(60), "", None),
        ([0], "", "All masks show one class alone, or none"),
        ([255], "", "All masks show one class alone, or none"),
    ],
)
@pytest.mark.parametrize("grey_colours", [False, True])
def test_numbers(tmp_path, stored, classes, setting, grey_colours):
    mask = np.array([list(stored)])
    advice = told(save(tmp_path / "masks", np.repeat(mask[..., None], 3, -1) if grey_colours else mask))
    assert advice.classes == classes
    assert setting is None or setting in advice.lines[-1]
    assert setting is not None or "No mask shows 0" not in " ".join(advice.lines)


def test_masks_of_training_and_validation_are_found(tmp_path):
    paths = [*save(tmp_path / "masks", [[0]]), *save(tmp_path / "valid" / "masks", [[0]])]
    (tmp_path / "valid" / "images").mkdir()
    (tmp_path / "masks" / "1.png").write_text("no image")
    assert masks_below(tmp_path) == [paths[0], tmp_path / "masks" / "1.png", paths[1]]
    unreadable = told(masks_below(tmp_path)).lines[1]
    assert unreadable.startswith(
        f"masks: 1 mask that cannot be read; the first is {tmp_path / 'masks' / '1.png'}: cannot be"
    )
    for kind in ("images", "labels"):
        other = save(tmp_path / "other" / "train" / kind, [[0]])
    assert masks_below(tmp_path / "other") == other


def test_masks_beside_their_photos_are_found_without_these(tmp_path):
    for name in ("a", "b", "val/c"):
        write_pair(tmp_path / f"{name}.png", tmp_path / f"{name}_cover.png")
    given = training_place(tmp_path, ".", ".")
    assert masks_below(tmp_path) == []
    assert masks_below(tmp_path, given, "_cover") == [tmp_path / "a_cover.png", tmp_path / "b_cover.png"]
    for name in ("a", "b", "val/c"):
        (tmp_path / f"{name}_cover.png").rename(tmp_path / f"{name}_mask.png")
    assert masks_below(tmp_path) == [tmp_path / f"{name}_mask.png" for name in ("a", "b", "val/c")]


def test_numbers_are_those_that_training_reads(tmp_path):
    """Pillow multiplies grey of four bits, and turns a TIFF in which 0 is white round; what is clear is no class."""
    tifffile = pytest.importorskip("tifffile")
    ids = np.arange(24, dtype=np.uint8).reshape(4, 6) % 3
    folder = tmp_path / "masks"
    folder.mkdir()
    Image.fromarray(ids).save(folder / "a.png", bits=2)
    cv2.imwrite(str(folder / "b.png"), ids)
    tifffile.imwrite(folder / "c.tif", ids, photometric="miniswhite")
    alpha = np.dstack([np.where(ids == 2, 77, ids), np.where(ids == 2, 0, 255)]).astype(np.uint8)
    Image.fromarray(alpha, "LA").save(folder / "d.png")
    held = look(sorted(folder.iterdir()), workers=0, progress=False)
    assert held.masks["ids"] == {0: 4, 1: 4, 2: 3}
    assert held.pixels["ids"] == {0: 32, 1: 32, 2: 24}


def test_photos_in_the_place_of_masks_are_said_to_be_such(tmp_path):
    for i in range(3):
        pixels = np.random.default_rng(i).integers(0, 256, (32, 48, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    advice = advise(look(sorted(tmp_path.iterdir()), workers=0, progress=False), "masks")
    assert advice.lines[-1].endswith("are these masks, or photos?")
    assert (advice.classes, advice.settings) == ("", ())
