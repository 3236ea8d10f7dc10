"""Small data sets in their published layouts and encodings, with the prepared masks written out by hand.

Each ``make_*`` writes archives, or with ``unpacked=True`` the folders they unpack to, and returns the masks that
``unimatch.prepare`` is to make, by their path below the prepared root. A cell of a grid is 8 x 8 pixels.
"""

import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import scipy.io
from PIL import Image

CELL = 8
"""Pixels of a grid's cell, both ways."""


def grid(*rows: str) -> np.ndarray:
    """Ids written in rows, such as ``"0 0 255"``, each for a cell of 8 x 8 pixels."""
    cells = np.array([[int(cell) for cell in row.split()] for row in rows], np.uint8)
    return cells.repeat(CELL, 0).repeat(CELL, 1)


def png(array: np.ndarray, palette: bool = False) -> bytes:
    image = Image.fromarray(array)
    if palette:
        image.putpalette([value for i in range(256) for value in (i, 255 - i, i // 2)])
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def photo(seed: int, height: int = 4, width: int = 6, kind: str = "JPEG") -> bytes:
    """An image of random colours, of ``height x width`` cells."""
    cells = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(cells.repeat(CELL, 0).repeat(CELL, 1)).save(buffer, kind)
    return buffer.getvalue()


def pack(source: Path, name: str, files: dict[str, bytes], unpacked: bool = False) -> None:
    """Write an archive of the kind its name says, or its files."""
    source.mkdir(parents=True, exist_ok=True)
    if unpacked:
        for path, content in files.items():
            (source / path).parent.mkdir(parents=True, exist_ok=True)
            (source / path).write_bytes(content)
    elif name.endswith(".zip"):
        with zipfile.ZipFile(source / name, "w") as archive:
            for path, content in files.items():
                archive.writestr(path, content)
    else:
        with tarfile.open(source / name, "w:gz" if name.endswith("gz") else "w") as archive:
            for path, content in files.items():
                info = tarfile.TarInfo(path)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))


def make_ade20k(source: Path, unpacked: bool = False) -> dict[str, np.ndarray]:
    """0 is "other" as published, 255 as prepared; every class one less."""
    published = {
        "training/ADE_train_00000001": grid("0 1 1 2 2 150", "0 1 1 2 2 150", "0 0 0 3 3 150", "3 3 3 3 3 0"),
        "training/ADE_train_00000002": grid("1 1 1 1 1 1", "1 4 4 4 4 1", "1 4 0 0 4 1", "1 1 1 1 1 1"),
        "training/ADE_train_00000003": grid("2 2 2 2 2 2", "2 2 2 2 2 2", "3 3 3 3 3 3", "3 3 3 3 3 3"),
        "training/ADE_train_00000004": grid("5 5 5 5 5 5", "5 1 1 1 1 5", "5 1 1 1 1 5", "5 5 5 5 5 5"),
        "validation/ADE_val_00000001": grid("1 1 2 2 3 3", "1 1 2 2 3 3", "4 4 5 5 150 150", "4 4 5 5 0 0"),
        "validation/ADE_val_00000002": grid("1 2 3 4 5 150", "1 2 3 4 5 150", "1 2 3 4 5 150", "0 0 0 0 0 0"),
    }
    prepared = {
        "training/ADE_train_00000001": grid(
            "255 0 0 1 1 149", "255 0 0 1 1 149", "255 255 255 2 2 149", "2 2 2 2 2 255"
        ),
        "training/ADE_train_00000002": grid("0 0 0 0 0 0", "0 3 3 3 3 0", "0 3 255 255 3 0", "0 0 0 0 0 0"),
        "training/ADE_train_00000003": grid("1 1 1 1 1 1", "1 1 1 1 1 1", "2 2 2 2 2 2", "2 2 2 2 2 2"),
        "training/ADE_train_00000004": grid("4 4 4 4 4 4", "4 0 0 0 0 4", "4 0 0 0 0 4", "4 4 4 4 4 4"),
        "validation/ADE_val_00000001": grid("0 0 1 1 2 2", "0 0 1 1 2 2", "3 3 4 4 149 149", "3 3 4 4 255 255"),
        "validation/ADE_val_00000002": grid(
            "0 1 2 3 4 149", "0 1 2 3 4 149", "0 1 2 3 4 149", "255 255 255 255 255 255"
        ),
    }
    files = {"ADEChallengeData2016/objectInfo150.txt": b"Idx\tRatio\n"}
    for seed, (name, mask) in enumerate(published.items()):
        files[f"ADEChallengeData2016/images/{name}.jpg"] = photo(seed)
        files[f"ADEChallengeData2016/annotations/{name}.png"] = png(mask)
    pack(source, "ADEChallengeData2016.zip", files, unpacked)
    return {f"annotations/{name}.png": mask for name, mask in prepared.items()}


def make_cityscapes(source: Path, unpacked: bool = False, coarse: bool = True) -> dict[str, np.ndarray]:
    """``labelIds`` of all 34 kinds as published, ``labelTrainIds`` of 19 classes and 255 as prepared."""
    published = {
        "train/jena/jena_000000_000019": grid("0 1 2 3 4 5", "6 7 8 9 10 11", "12 13 14 15 16 17", "18 19 20 21 22 23"),
        "train/jena/jena_000001_000019": grid("24 25 26 27 28 29", "30 31 32 33 7 7", "7 7 7 7 7 7", "8 8 8 8 8 8"),
        "train/ulm/ulm_000000_000019": grid("23 23 23 23 23 23", "11 11 21 21 11 11", "26 26 7 7 26 26", "7 7 7 7 7 7"),
        "train/ulm/ulm_000001_000019": grid("23 23 23 23 23 23", "11 17 17 19 20 11", "24 24 7 7 25 25", "7 7 7 7 1 1"),
        "val/munster/munster_000000_000019": grid(
            "23 23 11 11 12 13", "17 19 20 21 22 24", "25 26 27 28 31 32", "33 7 7 8 8 0"
        ),
        "val/munster/munster_000001_000019": grid(
            "23 23 23 23 23 23", "11 11 11 11 11 11", "8 8 7 7 8 8", "7 7 7 7 7 7"
        ),
    }
    prepared = {
        "train/jena/jena_000000_000019": grid(
            "255 255 255 255 255 255", "255 0 1 255 255 2", "3 4 255 255 255 5", "255 6 7 8 9 10"
        ),
        "train/jena/jena_000001_000019": grid("11 12 13 14 15 255", "255 16 17 18 0 0", "0 0 0 0 0 0", "1 1 1 1 1 1"),
        "train/ulm/ulm_000000_000019": grid("10 10 10 10 10 10", "2 2 8 8 2 2", "13 13 0 0 13 13", "0 0 0 0 0 0"),
        "train/ulm/ulm_000001_000019": grid("10 10 10 10 10 10", "2 5 5 6 7 2", "11 11 0 0 12 12", "0 0 0 0 255 255"),
        "val/munster/munster_000000_000019": grid(
            "10 10 2 2 3 4", "5 6 7 8 9 11", "12 13 14 15 16 17", "18 0 0 1 1 255"
        ),
        "val/munster/munster_000001_000019": grid("10 10 10 10 10 10", "2 2 2 2 2 2", "1 1 0 0 1 1", "0 0 0 0 0 0"),
    }
    images, masks = {"README": b"", "license.txt": b""}, {"README": b"", "license.txt": b""}
    for seed, (name, mask) in enumerate(published.items()):
        images[f"leftImg8bit/{name}_leftImg8bit.png"] = photo(seed, kind="PNG")
        masks[f"gtFine/{name}_gtFine_labelIds.png"] = png(mask)
        masks[f"gtFine/{name}_gtFine_instanceIds.png"] = png(mask)
        masks[f"gtFine/{name}_gtFine_color.png"] = photo(seed, kind="PNG")
        masks[f"gtFine/{name}_gtFine_polygons.json"] = b"{}"
    images["leftImg8bit/test/bonn/bonn_000000_000019_leftImg8bit.png"] = photo(90, kind="PNG")
    pack(source, "leftImg8bit_trainvaltest.zip", images, unpacked)
    pack(source, "gtFine_trainvaltest.zip", masks, unpacked)
    if coarse:
        extra = {
            f"leftImg8bit/train_extra/erfurt/erfurt_00000{i}_000000_leftImg8bit.png": photo(100 + i, kind="PNG")
            for i in range(3)
        }
        pack(source, "leftImg8bit_trainextra.zip", extra, unpacked)
    return {f"gtFine/{name}_gtFine_labelTrainIds.png": mask for name, mask in prepared.items()}


def box(left: int, top: int, right: int, bottom: int) -> list[float]:
    """A rectangle's polygon, from and to the edges of cells."""
    x0, y0, x1, y1 = (CELL * side for side in (left, top, right, bottom))
    return [x0, y0, x1, y0, x1, y1, x0, y1]


def run_lengths(mask: np.ndarray) -> list[int]:
    """COCO's uncompressed run lengths: down the columns, beginning with zeros."""
    counts, value = [0], 0
    for pixel in mask.T.ravel().tolist():
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return counts


# COCO numbers its 80 kinds of things from 1 to 90, leaving some numbers out.
LEFT_OUT = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
COCO_IDS = [i for i in range(1, 91) if i not in LEFT_OUT]


def make_coco(source: Path, unpacked: bool = False, extra: bool = True) -> dict[str, np.ndarray]:
    """Instances as published; a class for each pixel as prepared. Stop sign (13) is 12, toothbrush (90) 80."""
    crowd = grid("1 1 1 1 1 1", "1 1 1 1 1 1", "0 0 0 0 0 0", "0 0 0 0 0 0")
    hole = grid("1 1 1 0 0 0", "1 0 1 0 0 0", "1 1 1 0 0 0", "0 0 0 0 0 0")

    def polygon(category: int, *boxes: list[float]) -> dict:
        return {"category_id": category, "iscrowd": 0, "segmentation": list(boxes)}

    def runs(category: int, mask: np.ndarray, iscrowd: int) -> dict:
        counts = {"size": list(mask.shape), "counts": run_lengths(mask)}
        return {"category_id": category, "iscrowd": iscrowd, "segmentation": counts}

    train = {
        # A small thing on a large one stays visible, whichever comes first.
        1: [polygon(13, box(1, 1, 3, 3)), polygon(90, box(0, 0, 5, 4))],
        # The crowd lies below the single person's dog (18), though the dog is larger than the crowd's rest.
        2: [polygon(18, box(0, 1, 4, 4)), runs(1, crowd, 1)],
        # Two parts of one thing, and a thing given by run lengths, with a hole.
        3: [polygon(2, box(4, 0, 6, 1), box(4, 3, 6, 4)), runs(89, hole, 0)],
        # Nothing in it.
        4: [],
    }
    val = {
        5: [polygon(1, box(0, 0, 3, 4)), polygon(3, box(3, 0, 6, 4))],
        6: [polygon(90, box(2, 1, 4, 3), [1, 2, 3, 4])],
    }
    prepared = {
        1: grid("80 80 80 80 80 0", "80 12 12 80 80 0", "80 12 12 80 80 0", "80 80 80 80 80 0"),
        2: grid("1 1 1 1 1 1", "17 17 17 17 1 1", "17 17 17 17 0 0", "17 17 17 17 0 0"),
        3: grid("79 79 79 0 2 2", "79 0 79 0 0 0", "79 79 79 0 0 0", "0 0 0 0 2 2"),
        4: grid("0 0 0 0 0 0", "0 0 0 0 0 0", "0 0 0 0 0 0", "0 0 0 0 0 0"),
        5: grid("1 1 1 3 3 3", "1 1 1 3 3 3", "1 1 1 3 3 3", "1 1 1 3 3 3"),
        6: grid("0 0 0 0 0 0", "0 0 80 80 0 0", "0 0 80 80 0 0", "0 0 0 0 0 0"),
    }
    notes = {}
    for part, things in (("train2017", train), ("val2017", val)):
        pack(source, f"{part}.zip", {f"{part}/{i:012d}.jpg": photo(i) for i in things}, unpacked)
        content = {
            "categories": [{"id": i, "name": f"thing {i}"} for i in reversed(COCO_IDS)],
            "images": [{"id": i, "file_name": f"{i:012d}.jpg", "height": 4 * CELL, "width": 6 * CELL} for i in things],
            "annotations": [{"image_id": i, **thing} for i, all_of_it in things.items() for thing in all_of_it],
        }
        notes[f"annotations/instances_{part}.json"] = json.dumps(content).encode()
        notes[f"annotations/captions_{part}.json"] = b"{}"
    pack(source, "annotations_trainval2017.zip", notes, unpacked)
    if extra:
        pack(source, "unlabeled2017.zip", {f"unlabeled2017/{i:012d}.jpg": photo(i) for i in (70, 71, 72)}, unpacked)
    return {f"masks/{i:012d}.png": mask for i, mask in prepared.items()}


def mat(mask: np.ndarray) -> bytes:
    """A MATLAB file as SBD's: a structure GTcls with Boundaries, Segmentation and CategoriesPresent."""
    buffer = io.BytesIO()
    cells = {"Boundaries": np.zeros((20, 1)), "Segmentation": mask, "CategoriesPresent": np.unique(mask[mask > 0])}
    scipy.io.savemat(buffer, {"GTcls": cells})
    return buffer.getvalue()


def make_pascal(source: Path, unpacked: bool = False) -> dict[str, np.ndarray]:
    """VOC's palette masks with borders, SBD's MATLAB masks without; VOC's own are preferred."""
    own = {
        "2007_000032": grid("0 0 0 0 0 0", "0 255 255 255 255 0", "0 255 1 1 255 0", "0 255 255 255 255 0"),
        "2007_000039": grid("0 0 0 20 20 20", "0 0 0 20 20 20", "0 0 0 255 255 255", "0 0 0 0 0 0"),
        "2007_000033": grid("0 0 1 1 15 15", "0 0 1 1 15 15", "0 0 1 1 15 15", "0 0 255 255 255 255"),
        "2007_000042": grid("0 0 0 0 0 0", "19 19 19 19 19 19", "19 19 19 19 19 19", "0 0 0 0 0 0"),
    }
    sbd = {
        "2007_000032": grid("0 0 0 0 0 0", "0 1 1 1 1 0", "0 1 1 1 1 0", "0 1 1 1 1 0"),  # not this one: VOC has it
        "2008_000002": grid("0 0 0 0 0 0", "0 20 20 20 20 0", "0 20 20 20 20 0", "0 0 0 0 0 0"),
        "2008_000003": grid("15 15 15 0 0 0", "15 15 15 0 0 0", "7 7 7 7 7 7", "7 7 7 7 7 7"),
    }
    lists = {"train": "2007_000032\n2007_000039\n", "val": "2007_000033\n2007_000042\n"}
    voc = {f"VOCdevkit/VOC2012/ImageSets/Segmentation/{part}.txt": text.encode() for part, text in lists.items()}
    for seed, name in enumerate([*own, "2008_000002", "2008_000003", "2008_000009"]):
        voc[f"VOCdevkit/VOC2012/JPEGImages/{name}.jpg"] = photo(seed)
    for name, mask in own.items():
        voc[f"VOCdevkit/VOC2012/SegmentationClass/{name}.png"] = png(mask, palette=True)
        voc[f"VOCdevkit/VOC2012/SegmentationObject/{name}.png"] = png(mask, palette=True)
    pack(source, "VOCtrainval_11-May-2012.tar", voc, unpacked)
    more = {f"benchmark_RELEASE/dataset/cls/{name}.mat": mat(mask) for name, mask in sbd.items()}
    more |= {f"benchmark_RELEASE/dataset/inst/{name}.mat": mat(mask) for name, mask in sbd.items()}
    more |= {f"benchmark_RELEASE/dataset/img/{name}.jpg": photo(50) for name in sbd}
    pack(source, "benchmark.tgz", more, unpacked)
    prepared = {**own, **{name: sbd[name] for name in ("2008_000002", "2008_000003")}}
    return {f"SegmentationClass/{name}.png": mask for name, mask in prepared.items()}


MAKERS = {"ade20k": make_ade20k, "cityscapes": make_cityscapes, "coco": make_coco, "pascal": make_pascal}
