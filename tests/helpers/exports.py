"""Exports of label tools, made by hand as the tools write them: photos of 12 x 8 pixels."""

import base64
import io
import json
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from unimatch.labelling import Labels
from unimatch.labelling.export_files import size_of

WIDTH, HEIGHT = 12, 8


def photo(path: Path, value: int = 90, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, 30)).save(path)
    return path


def png(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def save(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def box(left: int, top: int, right: int, bottom: int) -> list[list[float]]:
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def area(left: int, top: int, right: int, bottom: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top:bottom, left:right] = True
    return mask


def masks(labels: Labels) -> dict[str, np.ndarray]:
    """The mask of each labelled photo by its part and name."""
    return {
        f"{image.part}/{image.name}": labels.mask(image, size_of(image.photo.read(), image.name))
        for image in labels.images
        if image.labels is not None
    }


def unlabelled(labels: Labels) -> list[str]:
    return [image.name for image in labels.images if image.labels is None]


def flat(points: list[list[float]]) -> list[float]:
    return [side for point in points for side in point]


def coco(root: Path, **changes: object) -> Path:
    """Three photos, of which ``c.png`` has no annotation; ids with gaps, a box without a segmentation, a small object
    that comes before the large one around it, and a crowd that comes last."""
    for name in "abc":
        photo(root / "images" / f"{name}.png")
    size = {"width": WIDTH, "height": HEIGHT}
    notes = [
        {"id": 3, "image_id": 7, "category_id": 9, "segmentation": [flat(box(2, 2, 4, 4))]},
        {"id": 4, "image_id": 7, "category_id": 2, "segmentation": [flat(box(1, 1, 6, 6)), flat(box(8, 1, 9, 3))]},
        {"id": 8, "image_id": 7, "category_id": 9, "iscrowd": 1, "segmentation": runs(area(0, 0, 6, 2))},
        {"id": 9, "image_id": 40, "category_id": 9, "segmentation": runs(area(5, 0, 12, 3))},
        {"id": 10, "image_id": 40, "category_id": 2, "bbox": [0, 0, 3, 3]},
    ]
    content = {
        "info": {"description": "made"},
        "images": [
            {"id": 7, "file_name": "a.png", **size},
            {"id": 40, "file_name": "b.png", **size},
            {"id": 41, "file_name": "c.png", **size},
        ],
        "annotations": notes,
        "categories": [{"id": 9, "name": "leaf"}, {"id": 2, "name": "stone"}],
        **changes,
    }
    return save(root / "annotations" / "instances.json", content)


def yolo(root: Path, *, lines: object = None, names: object = ("leaf", "stone")) -> Path:
    """As Roboflow writes it: ``b`` has no object, ``c`` no file of labels; a small object comes before the large one
    around it; a box has no outline."""
    for name in ("train/images/a.rf.1", "train/images/b", "train/images/c", "valid/images/d"):
        photo(root / f"{name}.png")
    default = [f"1 {shares(box(2, 2, 4, 4))}", f"0 {shares(box(1, 1, 6, 6))}", "", "0 0.5 0.5 0.1 0.1"]
    save(root / "train" / "labels" / "a.rf.1.txt", "\n".join(default if lines is None else lines) + "\n")
    save(root / "train" / "labels" / "b.txt", "")
    save(root / "valid" / "labels" / "d.txt", f"1.0 {shares([[12, 0], [12, 8], [4, 8]])}")
    listed = "\n".join(f"  {i}: {name}" for i, name in enumerate(names))
    save(root / "data.yaml", f"train: ../train/images\nval: ../valid/images\nnc: {len(names)}\nnames:\n{listed}\n")
    return root


def shares(points: list[list[float]]) -> str:
    return " ".join(f"{x / WIDTH:.6f} {y / HEIGHT:.6f}" for x, y in points)


def runs(mask: np.ndarray) -> dict[str, object]:
    counts, value = [0], False
    for pixel in mask.ravel(order="F"):
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return {"size": list(mask.shape), "counts": counts}


def labelme(root: Path, **changes: object) -> Path:
    photo(root / "a.png")
    photo(root / "b.png")
    square = png(np.array([[True, False], [True, True]]))
    shapes = [
        {"label": "leaf", "points": box(0, 0, 6, 6), "shape_type": "polygon"},
        {"label": "stone", "points": [[8, 1], [11, 4]], "shape_type": "rectangle"},
        {"label": "leaf", "points": [[9, 2], [9, 3]], "shape_type": "circle"},
        {"label": "stone", "points": [[1, 1], [2, 2]], "shape_type": "mask", "mask": base64.b64encode(square).decode()},
        {"label": "__ignore__", "points": box(0, 7, 12, 8), "shape_type": "polygon"},
        {"label": "leaf", "points": [[1, 1]], "shape_type": "point"},
    ]
    content = {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": "a.png", "imageData": None}
    return save(root / "a.json", {**content, "imageHeight": HEIGHT, "imageWidth": WIDTH, **changes})


def supervisely(root: Path, **changes: object) -> Path:
    meta = [{"title": "leaf", "color": "#00FF10"}, {"title": "stone", "color": "#0A0B0C"}]
    save(root / "meta.json", {"classes": meta, "tags": []})
    photo(root / "train" / "img" / "a.png")
    photo(root / "val" / "img" / "a.png")
    data = base64.b64encode(zlib.compress(png(np.ones((2, 3), bool)))).decode()
    objects = [
        {
            "id": 1,
            "classTitle": "leaf",
            "geometryType": "polygon",
            "points": {"exterior": box(0, 0, 8, 8), "interior": [box(2, 2, 5, 5)]},
        },
        {"id": 2, "classTitle": "stone", "geometryType": "bitmap", "bitmap": {"origin": [9, 1], "data": data}},
    ]
    content = {"size": {"width": WIDTH, "height": HEIGHT}, "objects": objects, **changes}
    save(root / "train" / "ann" / "a.png.json", content)
    save(root / "val" / "ann" / "a.png.json", {**content, "objects": []})
    return root


def label_studio(root: Path, **changes: object) -> Path:
    from unimatch.labelling.run_lengths import write_brush

    photo(root / "a.png")
    photo(root / "b.png")
    facts = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0, "to_name": "image"}
    percent = [[x * 100 / WIDTH, y * 100 / HEIGHT] for x, y in box(1, 1, 7, 5)]
    corner = {"x": 8 * 100 / WIDTH, "y": 0, "width": 2 * 100 / WIDTH, "height": 3 * 100 / HEIGHT, "rotation": 0}
    brush = write_brush(area(3, 3, 9, 8).ravel())
    results = [
        {"id": "x", "type": "polygonlabels", "value": {"points": percent, "polygonlabels": ["leaf"]}, **facts},
        {"id": "y", "type": "rectanglelabels", "value": {**corner, "rectanglelabels": ["leaf"]}, **facts},
        {"id": "z", "type": "brushlabels", "value": {"format": "rle", "rle": brush, "brushlabels": ["stone"]}, **facts},
        {"id": "c", "type": "choices", "value": {"choices": ["good"]}},
    ]
    annotations = [
        {"id": 1, "was_cancelled": False, "result": []},
        {"id": 2, "was_cancelled": False, "result": results},
        {"id": 3, "was_cancelled": True, "result": []},
    ]
    tasks = [
        {"id": 1, "data": {"image": "/data/upload/1/0a1b2c3d-a.png"}, "annotations": annotations, **changes},
        {"id": 2, "data": {"image": "/data/local-files/?d=b.png"}, "annotations": [], "predictions": [{"result": []}]},
    ]
    return save(root / "project.json", tasks)


def cvat(root: Path) -> Path:
    photo(root / "JPEGImages" / "a.jpg")
    photo(root / "JPEGImages" / "b.jpg")
    save(root / "labelmap.txt", "# label:color_rgb:parts:actions\nleaf:0,255,16::\nbackground:0,0,0::\nstone:9,8,7::\n")
    save(root / "ImageSets" / "Segmentation" / "default.txt", "a\nb\n")
    mask = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    mask[area(1, 1, 5, 5)] = (0, 255, 16)
    mask[area(6, 1, 9, 5)] = (9, 8, 7)
    path = root / "SegmentationClass" / "a.png"
    path.parent.mkdir()
    path.write_bytes(png(mask))
    return root


def roboflow(root: Path) -> Path:
    for part, value in (("train", 1), ("valid", 2)):
        photo(root / part / "a_jpg.rf.0f.jpg")
        save(root / part / "_classes.csv", "Pixel Value, Class\n0, background\n1, stone\n2, leaf\n")
        mask = area(1, 1, 5, 5).astype(np.uint8) * value
        (root / part / "a_jpg.rf.0f_mask.png").write_bytes(png(mask))
    photo(root / "train" / "more.jpg")
    return root


def kaggle(root: Path) -> Path:
    photo(root / "train" / "a.png")
    photo(root / "train" / "b.png")
    photo(root / "train" / "c.png")
    return save(
        root / "train.csv",
        f"ImageId,ClassId,EncodedPixels\na.png,2,1 3 {HEIGHT + 1} 2\na.png,1,3 1\nb.png,1,\n",
    )
