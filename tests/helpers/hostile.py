"""Two hundred small files that ask for memory, time or the reader's end: each must be refused, cheaply.

``python -m helpers.hostile FOLDER`` (with ``tests`` on the path) reads each in a process of its own and prints, as JSON
by name, what became of it: ``refused``, ``taken`` or the error; seconds; and megabytes, with those of a fork itself.
"""

import io
import json
import math
import os
import signal
import struct
import sys
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from omegaconf import OmegaConf

from helpers.hostile_graphs import hostile_graphs
from helpers.runs import make_run
from unimatch import Predictor, SegmentationModel, UnimatchError, load_official
from unimatch.app.masks import Masks
from unimatch.app.time_limit import TimeLimit
from unimatch.checkpoints.files import read_checkpoint
from unimatch.data.catalog import DatasetInfo, distinct_colors
from unimatch.data.sources.masks import mask_reader
from unimatch.engines.model_facts import ModelFacts
from unimatch.evaluate import choose_data
from unimatch.images.arrays import read_colors, read_image, read_mask
from unimatch.images.bands import PHOTOS
from unimatch.inference.load import load_with_facts
from unimatch.models.weights import read_state_dict
from unimatch.report import write_report

LARGEST = 10**6
"""How many bytes each has at most."""


class Hostile(NamedTuple):
    """How a file is made, below a folder of its own, and what reads it from there."""

    make: Callable[[Path], object]
    read: Callable[[Path], object]


@cache
def honest() -> dict[str, Any]:
    """A checkpoint of 300 kB that is taken, if nothing in it is changed."""
    options = {"embed_dim": 16, "num_heads": 2, "depth": 4}
    model = SegmentationModel("vits", 3, weights=None, options=options, features=8, out_channels=(8, 8, 8, 8))
    return {
        "state_dict": {f"teacher.model.{name}": tensor for name, tensor in model.state_dict().items()},
        "unimatch_model": model.description(),
        "unimatch_run": {
            "config": {"inference": {"window": 70}},
            "classes": ["a", "b", "c"],
            "palette": [[0, 0, 0], [1, 1, 1], [2, 2, 2]],
        },
    }


def shallow(depth: int, value: Any = 0) -> Any:
    """One value in many lists."""
    for _ in range(depth):
        value = [value]
    return value


def laughs(depth: int) -> Any:
    """Lists of ten times the same list: 10 ** depth values in a few bytes."""
    value: Any = ["ha"]
    for _ in range(depth):
        value = [value] * 10
    return value


def save(content: Any, folder: Path) -> None:
    torch.save(content, folder / "model.ckpt")


def save_saying(part: str, said: dict[Any, Any], folder: Path) -> None:
    save({**honest(), part: {**honest()[part], **said}}, folder)


def load(folder: Path) -> None:
    load_with_facts(folder / "model.ckpt")


def evaluate(folder: Path) -> None:
    choose_data(OmegaConf.create({}), read_checkpoint(folder / "model.ckpt"), PHOTOS)


def checkpoints() -> Iterator[tuple[str, Hostile]]:
    """Checkpoints that say something else than :func:`honest`, part by part."""

    def saying(part: str, **said: Any) -> Callable[[Path], object]:
        return partial(save_saying, part, said)

    numbers = [0, -1, 60_000, 2**16, 10**6, 10**12, 10**400, math.nan, math.inf, 1.5, "many", shallow(40), laughs(30)]
    for key in ("num_classes", "features"):
        for i, number in enumerate(numbers):
            yield f"{key} {i}", Hostile(saying("unimatch_model", **{key: number}), load)
    for i, number in enumerate((0, 60_000, 10**9, "a")):
        yield f"out_channels {i}", Hostile(saying("unimatch_model", out_channels=[number] * 4), load)
    yield "lora", Hostile(saying("unimatch_model", lora=4096), load)
    for encoder in (
        "vitg",
        "vitl",
        "sam_h",
        "eva_giant_patch14_224",
        "convnext_xxlarge",
        "resnetv2_152x4_bit",
        "mitb5",
    ):
        yield f"encoder {encoder}", Hostile(saying("unimatch_model", encoder=encoder, options={}), load)
    for i, (encoder, options) in enumerate((
        ("vits", {"depth": 4096}), ("vits", {"depth": 10**6}), ("vits", {"embed_dim": 4096, "depth": 4096}),
        ("vits", {"img_size": 4096, "patch_size": 1}), ("vits", {"mlp_ratio": 4096}), ("vits", {"reg_tokens": 4096}),
        ("vits", {"depth": math.inf}), ("vits", {"depth": laughs(30)}), ("vits", {"checkpoint_path": "/dev/zero"}),
        ("convnext_tiny", {"depths": [4096] * 4}), ("convnext_tiny", {"dims": [4096] * 4}),
        ("resnet50", {"layers": [4096] * 4}), ("swin_tiny_patch4_window7_224", {"window_size": 512, "img_size": 4096}),
        ("swin_tiny_patch4_window7_224", {"depths": [4096] * 4}), ("efficientnet_lite0", {"channel_multiplier": 4096}),
        ("efficientnet_lite0", {"depth_multiplier": 4096}), ("beit_b", {"img_size": 4096}),
    )):  # fmt: skip
        name = f"options {i} {encoder} {', '.join(options)}"
        yield name, Hostile(saying("unimatch_model", encoder=encoder, options=options), load)

    for i, inference in enumerate((
        {"scales": [3000]}, {"scales": [1.0] * 50_000}, {"scales": [1e-9]}, {"scales": [math.nan]}, {"window": 10**9},
        {"window": 1}, {"window": 8192, "scales": [4]}, {"mode": "sliding", "window": 798, "stride": 1},
        {"large": 10**12}, {"large": laughs(30)}, {"unknown": 1}, {1: 2}, [1], "text", {"window": 70.5},
    )):  # fmt: skip
        yield f"inference {i}", Hostile(saying("unimatch_run", config={"inference": inference}), load)
    for i, said in enumerate((
        {"classes": ["one"]}, {"classes": ["a"] * 50_000}, {"classes": "abc"}, {"palette": [[0, 0, 300]] * 3},
        {"palette": [[0, 0, -1]] * 3}, {"palette": [[0]] * 3}, {"palette": 3}, {"config": []}, {"config": laughs(30)},
        {"config": shallow(150)}, {"other": 1}, {1: 2},
    )):  # fmt: skip
        yield f"run {i}", Hostile(partial(save_saying, "unimatch_run", said), load)
    for i, dataset in enumerate((
        {"train": 10**9}, {"val": 10**9}, {"size": 10**6}, {"labeled": 10**9}, {"train": math.inf}, {"val": laughs(30)},
        {"scene_seed": -1}, {"unknown": 1},
    )):  # fmt: skip
        config = {"dataset": {"_target_": "unimatch.data.digits", **dataset}}
        yield f"dataset {i}", Hostile(saying("unimatch_run", config=config), evaluate)

    around: list[Any] = []
    around.append(around)
    for name, more in {
        "laughs beside": {"x": laughs(30)}, "a cycle beside": {"x": around}, "no state": {"state_dict": {}},
        "a list for the state": {"state_dict": [1]}, "numbers for names": {"state_dict": {1: torch.zeros(2)}},
        "numbers for tensors": {"state_dict": dict.fromkeys(honest()["state_dict"], 1)},
        "expanded": {"x": torch.zeros(()).expand(10**6, 10**6)}, "meta": {"x": torch.zeros(10**6, device="meta")},
        "sparse": {"x": torch.sparse_coo_tensor([[0]], [1.0], (10**12,))},
        "a list for the run": {"unimatch_run": [1]}, "a list for the model": {"unimatch_model": [1]},
        "many values": {"unimatch_model": {"encoder": "vits", "options": {"a": [0] * 300_000}}},
    }.items():  # fmt: skip
        yield name, Hostile(partial(save, {**honest(), **more}), load)


def archives() -> Iterator[tuple[str, Hostile]]:
    """PyTorch's form, with parts that become more than the file."""

    def packed(folder: Path) -> None:
        whole = io.BytesIO()
        torch.save({"weight": torch.zeros(2 * 10**8, dtype=torch.uint8)}, whole)
        with zipfile.ZipFile(whole) as given, zipfile.ZipFile(folder / "model.pth", "w") as made:
            for part in given.namelist():
                made.writestr(part, given.read(part), zipfile.ZIP_DEFLATED)

    def shared(folder: Path) -> None:
        """Every entry of the directory points to one part."""
        file = io.BytesIO()
        torch.save({f"w{i}": torch.zeros(1, dtype=torch.uint8) for i in range(2000)}, file)
        with zipfile.ZipFile(file) as given, zipfile.ZipFile(folder / "model.pth", "w") as made:
            for part in given.namelist():
                if "/data/" not in part:
                    made.writestr(part, given.read(part))
            made.writestr("archive/data/0", bytes(500_000))
            first = made.filelist[-1]
            for i in range(1, 2000):
                entry = zipfile.ZipInfo(f"archive/data/{i}")
                entry.header_offset, entry.CRC = first.header_offset, first.CRC
                entry.file_size = entry.compress_size = 500_000
                made.filelist.append(entry)

    for name, make in (("packed", packed), ("shared", shared)):
        yield f"archive {name}", Hostile(make, lambda folder: read_state_dict(folder / "model.pth"))
        yield f"archive {name}, official", Hostile(make, lambda folder: load_official(folder / "model.pth"))


def published() -> Iterator[tuple[str, Hostile]]:
    """Files in the authors' form."""
    one = torch.zeros(())
    given = {
        "huge": {"backbone.cls_token": one.expand(1, 1, 10**12)},
        "none": {"backbone.cls_token": one},
        "another width": {"backbone.cls_token": one.expand(1, 1, 385)},
        "registers": {"register_tokens": one, "pos_embed": one.expand(1, 1, 10**11), "cls_token": one},
        "a number": {"backbone.cls_token": 1},
    }
    heads = [f"head.projects.{i}.weight" for i in range(4)]
    heads += ["head.scratch.layer1_rn.weight", "head.scratch.output_conv.2.weight"]
    for width in (384, 768, 1024, 1536):
        for channels in (0, 60_000, 10**9):
            shapes = {name: one.expand(channels, 1) for name in heads}
            given[f"{width} wide, {channels}"] = {"backbone.cls_token": one.expand(1, 1, width), **shapes}
    given["heads of no shape"] = {"backbone.cls_token": one.expand(1, 1, 384), **dict.fromkeys(heads, one)}
    for name, state in given.items():
        make = partial(lambda state, folder: torch.save({"model_ema": state}, folder / "model.pth"), state)
        yield f"published {name}", Hostile(make, lambda folder: load_official(folder / "model.pth"))


def exported() -> Iterator[tuple[str, Hostile]]:
    """Safetensors files with their JSON, and the facts that ONNX files hold."""
    facts = {
        "classes": ["a", "b"], "palette": [[0, 0, 0], [1, 1, 1]], "mean": [0.5] * 3, "std": [0.5] * 3,
        "size_multiple": 14, "inference": {}, "dates": 1, "model": {"encoder": "tiny", "num_classes": 2},
    }  # fmt: skip
    empty = struct.pack("<Q", 2) + b"{}"
    lies = b'{"w":{"dtype":"F32","shape":[1000000,1000000],"data_offsets":[0,4000000000000]}}'
    deep = b'{"w":' * 10**5

    def write(content: bytes, text: str, folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(content)
        (folder / "model.safetensors.json").write_text(text)

    def read(folder: Path) -> None:
        load_with_facts(folder / "model.safetensors")

    described = {
        "vitg": {"encoder": "vitg", "num_classes": 2}, "classes": {"encoder": "tiny", "num_classes": 60_000},
        "features": {"encoder": "tiny", "num_classes": 2, "features": 60_000},
        "depth": {"encoder": "vits", "num_classes": 2, "options": {"depth": 4096}},
        "list": [1], "nothing": None, "numbers": {"encoder": 5},
    }  # fmt: skip
    for name, model in described.items():
        yield f"safetensors {name}", Hostile(partial(write, empty, json.dumps({**facts, "model": model})), read)
    for name, text in (("deep", "[" * 500_000), ("digits", "1" * 500_000), ("no text", "\0")):
        yield f"sidecar {name}", Hostile(partial(write, empty, text), read)
    for name, head in (("lies", lies), ("deep", deep), ("cut", b"")):
        content = struct.pack("<Q", len(head) or 10**15) + head
        yield f"header {name}", Hostile(partial(write, content, json.dumps(facts)), read)

    for i, said in enumerate((
        {"size_multiple": 0}, {"size_multiple": 10**6}, {"size_multiple": -14}, {"dates": 10**9}, {"std": [0, 0, 0]},
        {"mean": [math.inf] * 3}, {"mean": [0.5] * 60_000}, {"palette": [[0, 0, 10**9]] * 2},
        {"classes": ["a"] * 60_000},
        {"inference": {"scales": [3000]}}, {"inference": {"scales": [1] * 100_000}}, {"inference": {"window": 10**9}},
        {"inference": [1]}, {"classes": {"a": 1}}, {"size_multiple": "x"}, {"inference": {"unknown": 1}},
    )):  # fmt: skip
        text = json.dumps({**facts, **said})
        make = partial(lambda text, folder: (folder / "facts.json").write_text(text), text)
        yield (
            f"facts {i}",
            Hostile(make, lambda folder: ModelFacts.from_json((folder / "facts.json").read_text(), "it")),
        )


def png(width: int, height: int, data: bytes = b"", extra: bytes = b"", bits: int = 8, kind: int = 2) -> bytes:
    """A PNG that claims a size."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))
    body = extra + chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + body


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


@cache
def counting(side: int) -> bytes:
    """A TIFF of a hundred kilobytes whose 32-bit pixels are numbered: their differences are compressed."""
    steps = np.ones((side, side), "<u4")
    steps[:, 0] = side * np.arange(side)
    data = zlib.compress(steps.tobytes(), 9)
    tags = ((256, side), (257, side), (258, 32), (259, 8), (262, 1), (273, 8), (277, 1), (278, side), (279, len(data)),
            (317, 2), (339, 2))  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(tags)) + entries + bytes(4)


def written(name: str, content: Callable[[], bytes]) -> Callable[[Path], object]:
    """What makes a file; its content, which takes up to a second to compress, is made only then."""
    return lambda folder: (folder / name).write_bytes(content())


def images() -> Iterator[tuple[str, Hostile]]:
    """Images that claim sizes, or hold texts, that no memory has room for."""

    def with_text(kind: bytes) -> bytes:
        return png(1, 1, bytes(4), chunk(kind, b"a\0\0" + zlib.compress(bytes(10**8), 9)))

    contents: dict[str, Callable[[], bytes]] = {
        "png of 3.6 gigapixels": lambda: png(60_000, 60_000, bytes(30_001) * 3000),
        "png of the largest sides": lambda: png(2**31 - 1, 2**31 - 1),
        "png of one bit": lambda: png(14_000, 14_000, bytes(1751) * 14_000, bits=1, kind=0),
        "png of 0": lambda: png(0, 0),
        "png with text": lambda: with_text(b"zTXt"), "png with a profile": lambda: with_text(b"iCCP"),
        "bmp": lambda: b"BM"
        + struct.pack("<IHHIIiiHHIIiiII", 60, 0, 0, 54, 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0),
        "gif": lambda: b"GIF89a" + struct.pack("<HHBBB", 65_535, 65_535, 0, 0, 0)
        + b",\0\0\0\0\xff\xff\xff\xff\0\x02\x01\x01\0;",
        "ppm": lambda: b"P6 60000 60000 255\n" + bytes(100), "pgm of 0": lambda: b"P5 0 0 255\n",
        "tiff": lambda: b"II*\0\x08\0\0\0\x04\0" + b"".join(
            struct.pack("<HHII", tag, 4, 1, value) for tag, value in ((256, 60_000), (257, 60_000), (259, 1), (273, 8))
        ) + bytes(4),
        "eps": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n",
    }  # fmt: skip
    for name, content in contents.items():
        for reader in (read_image, read_mask, read_colors):
            read = partial(lambda reader, folder: reader(folder / "image.png"), reader)
            yield f"{name}, {reader.__name__}", Hostile(written("image.png", content), read)
    reader = mask_reader(DatasetInfo("it", ("a", "b"), distinct_colors(2)))
    for side in (2000, 5000):
        make = written("mask.tif", partial(counting, side))
        yield f"mask of {side**2} ids", Hostile(make, lambda folder: reader(folder / "mask.tif"))
    for side in (5001, 13_000):
        make = written("image.png", partial(page, side))
        yield (
            f"page, {side} x {side}",
            Hostile(make, lambda folder: app_answer((folder / "image.png").read_bytes())),
        )


def page(side: int) -> bytes:
    """A white page of one bit a pixel."""
    return png(side, side, bytes(1 + -(-side // 8)) * side, bits=1, kind=0)


@cache
def predictor() -> Predictor:
    from unimatch.inference.load import Trained, facts_from

    model = SegmentationModel("tiny", 2, features=8, out_channels=(8, 8, 8, 8)).eval()
    facts = {"classes": "ab", "palette": [[0] * 3] * 2, "mean": [0.5] * 3, "std": [0.5] * 3, "size_multiple": 1}
    return Predictor(Trained(model, facts_from({**facts, "classes": ["a", "b"], "inference": {}}, "made")))


def app_answer(image: bytes) -> object:
    """What the local page answers to an image."""
    return Masks(predictor(), TimeLimit(20.0), {}).answer({"image": image})


def run_directories() -> Iterator[tuple[str, Hostile]]:
    """Run directories whose files somebody else has written."""
    changes = {
        "summary.json": ("[]", "[" * 500_000, "1" * 5000, '{"steps": []}', '{"seconds": 1e999, "steps": 1}', "{"),
        "config.json": ("[]", '{"a":' * 100_000, '{"a":' * 70 + "1" + "}" * 70),
        "evaluations.jsonl": ("[]", "null", "[" * 500_000, "{}\n{}\n", '{"step": 1, "teacher": [1]}'),
        "confusion.csv": ("truth,a\na,1\n", "truth,a\na,x\n", 'truth,"' + "x" * 500_000, "truth,a\na," + "9" * 5000),
        "metrics.csv": ('step,"' + "x" * 500_000 + '"\n',),
        "examples/examples.json": ("[]", '{"views": [1]}', '{"validation": [{"cells": 1}]}'),
    }

    def make(file: str, text: str, folder: Path) -> None:
        (make_run(folder / "run") / file).write_text(text)

    for file, texts in changes.items():
        for i, text in enumerate(texts):
            yield f"run's {file} {i}", Hostile(partial(make, file, text), lambda folder: write_report(folder / "run"))


def hostile_files() -> dict[str, Hostile]:
    """All of them, by name."""
    return dict(
        item for kind in (checkpoints, archives, published, exported, images, run_directories) for item in kind()
    ) | {name: Hostile(*file) for name, file in hostile_graphs()}


def outcome(name: str, file: Hostile, folder: Path) -> str:
    """Makes a file, checks that it is small, reads it, and says what became of it."""
    folder.mkdir(parents=True)
    file.make(folder)
    for path in folder.rglob("*"):
        assert path.stat().st_size <= LARGEST, f"{name}: {path} has {path.stat().st_size} bytes"
    try:
        file.read(folder)
    except UnimatchError:
        return "refused"
    except BaseException as error:  # what this is to find
        return f"{type(error).__name__}: {error}"[:500]
    return "taken"


def measured(name: str, file: Hostile, folder: Path) -> dict[str, Any]:
    """Reads a file in a forked process, and returns what became of it, the seconds and the megabytes that it took."""
    make = Hostile(file.make, lambda _: None)
    assert outcome(name, make, folder) == "taken"
    told = folder.with_suffix(".txt")
    begun = time.monotonic()
    child = os.fork()
    if not child:
        signal.alarm(120)
        told.write_text(outcome(name, Hostile(lambda _: None, lambda _: file.read(folder)), folder / "read"))
        os._exit(0)
    _, status, usage = os.wait4(child, 0)
    return {
        "outcome": told.read_text() if status == 0 else f"ended with {status}",
        "seconds": time.monotonic() - begun,
        "megabytes": usage.ru_maxrss / 1024,
    }


if __name__ == "__main__":
    predictor()  # and whatever it imports
    results = {n: measured(n, f, Path(sys.argv[1]) / f"{i}") for i, (n, f) in enumerate(hostile_files().items())}
    sys.stdout.write(json.dumps(results))
