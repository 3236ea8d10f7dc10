"""Real masks through every tool's format and back; more of them with ``UNIMATCH_MASKS=367 pytest -s``."""

import json
import os
import shutil

import cv2
import numpy as np
import pytest
from PIL import Image

from helpers.exports import masks, save
from helpers.places import SHARED
from helpers.support import at_night
from unimatch.data.catalog import CAMVID
from unimatch.labelling import TOOLS, read, write

COUNT = int(os.environ.get("UNIMATCH_MASKS", "2"))


@pytest.fixture(scope="module")
def data(request, tmp_path_factory):
    """Some photos and masks in the layout that training reads."""
    source, root = SHARED / "data" / request.param, tmp_path_factory.mktemp(request.param)
    if not source.is_dir():
        pytest.skip(f"needs {source}")
    names = ("train", "trainannot") if request.param == "camvid" else ("images", "masks")
    classes = CAMVID.classes if request.param == "camvid" else (source / "classes.txt").read_text().split()
    for photo in sorted((source / names[0]).iterdir())[:COUNT]:
        (root / "images").mkdir(exist_ok=True)
        (root / "masks").mkdir(exist_ok=True)
        shutil.copy(photo, root / "images")
        mask = np.array(Image.open(source / names[1] / f"{photo.stem}.png"))
        mask[mask >= len(classes)] = 255
        Image.fromarray(mask).save(root / "masks" / f"{photo.stem}.png")
    save(root / "classes.txt", "\n".join(classes))
    return root


def regions(mask, ignored):
    """Connected regions of at least 100 pixels, each with its class."""
    for number in set(np.unique(mask).tolist()) - ignored:
        count, numbers, facts, _ = cv2.connectedComponentsWithStats((mask == number).astype(np.uint8), connectivity=4)
        for i in range(1, count):
            if facts[i, cv2.CC_STAT_AREA] >= 100:
                yield number, numbers == i


@pytest.mark.parametrize("data", ["camvid", at_night("nuclei")], indirect=True)
@pytest.mark.parametrize("shapes", ["polygons", at_night("masks")])
@pytest.mark.parametrize("tool", TOOLS)
def test_real_masks_come_back(data, tool, shapes, tmp_path):
    write(read(data), tmp_path / "out", format=tool, shapes=shapes, workers=0)
    if tool == "labelstudio":
        tasks = json.loads((tmp_path / "out" / "tasks.json").read_text())
        save(tmp_path / "out/tasks.json", [{"data": t["data"], "annotations": t["predictions"]} for t in tasks])
    labels = read(data)
    before, after = masks(labels), masks(read(tmp_path / "out", classes=data / "classes.txt"))
    assert before.keys() == after.keys()
    if shapes == "masks" or tool == "cvat":
        assert all((before[name] == after[name]).all() for name in before)
        return
    checked, least = 0, 1.0
    for name, mask in before.items():
        for number, region in regions(mask, {labels.fill}):
            near = cv2.dilate(region.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
            mine = (after[name] == number) & near & ((mask != number) | region)  # not its neighbours of the same class
            least = min(least, (mine & region).sum() / (mine | region).sum())
            checked += 1
    print(f"{tool}: {checked} regions, least IoU {least:.4f}")  # noqa: T201
    assert checked > 20
    assert least >= 0.99
