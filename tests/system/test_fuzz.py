"""Broken input of every kind is answered with one of our errors, quickly; nothing else gets out.

The same few inputs of each kind in every run of the suite; ``UNIMATCH_FUZZ=4``, as ``make nightly`` sets it, draws four
times as many, and others each time.
"""

import copy
import io
import json
import os
import zipfile
from contextlib import suppress
from importlib.util import find_spec
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from PIL import Image

import unimatch
from helpers.class_files import OF_TOOLS
from helpers.runs import make_run
from helpers.support import make_folder
from unimatch import UnimatchError, compare
from unimatch.callbacks import CheckpointFiles
from unimatch.checkpoints.files import load_model
from unimatch.cli.overrides import check_overrides
from unimatch.data.sets.class_names import FILES, read_classes
from unimatch.engines.model_facts import ModelFacts, facts_from
from unimatch.evaluate import choose_data
from unimatch.images.arrays import read_colors, read_ids, read_image, read_mask
from unimatch.images.bands import PHOTOS, Bands
from unimatch.images.rasters import georeference, pixel_count, read_bands, read_stored
from unimatch.inference.load import checkpoint_facts
from unimatch.loggers.metrics_file import MetricsFile
from unimatch.models.weights import read_state_dict
from unimatch.report import write_report

TIMES = int(os.environ.get("UNIMATCH_FUZZ", "0"))


def fuzz(default):
    return settings(
        max_examples=default * (TIMES or 1),
        deadline=20_000,  # milliseconds: a hang is a failure
        derandomize=not TIMES,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def refused(function, *arguments):
    """Call a function that may raise our errors, and no others."""
    with suppress(UnimatchError):
        function(*arguments)


@st.composite
def damaged(draw, whole):
    """A file that is cut, or some of whose bytes are others, moved, removed or added."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(content) - 1, 0)))
        kind = draw(st.sampled_from(("cut", "byte", "insert", "remove", "repeat")))
        if kind == "cut":
            del content[at:]
        elif kind == "byte" and content:
            content[at] = draw(st.integers(0, 255))
        elif kind == "insert":
            content[at:at] = draw(st.binary(max_size=20))
        elif kind == "remove":
            del content[at : at + draw(st.integers(1, 50))]
        else:
            content[at:at] = content[at : at + draw(st.integers(1, 50))]
    return bytes(content)


def encoded(form, mode, **options):
    pixels = np.random.default_rng(0).integers(0, 255, (9, 13, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, form, **options)
    return file.getvalue()


KEYS = st.one_of(st.text(max_size=5), st.integers(), st.none())
value = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5),
        st.sampled_from([0, -1, 255, 256, 10**6, 10**12, 10**400, float("nan"), float("inf"), "1", ""]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=6,
)  # fmt: skip


IMAGES = [
    encoded("PNG", "RGB"),
    encoded("PNG", "P"),
    encoded("PNG", "L"),
    encoded("JPEG", "RGB"),
    encoded("JPEG", "L"),
    encoded("WEBP", "RGB"),
    encoded("BMP", "RGB"),
    encoded("TIFF", "RGB"),
    encoded("TIFF", "RGB", compression="tiff_lzw"),
    encoded("GIF", "P"),
    encoded("PNG", "1"),
    encoded("PNG", "RGBA"),
    encoded("JPEG", "CMYK"),
    encoded("PPM", "RGB"),
    encoded("TGA", "RGB"),
    encoded("JPEG2000", "L"),
]


def stored_files():
    """Files of more bands and bits than photos have."""
    import tifffile

    def tiff(values, **options):
        file = io.BytesIO()
        tifffile.imwrite(file, values, **options)
        return file.getvalue()

    planes = np.random.default_rng(0).integers(0, 4096, (3, 9, 13), dtype=np.uint16)
    samples, grey = np.moveaxis(planes, 0, -1), {"photometric": "minisblack"}
    place = [(42113, "s", 0, "-1", True), (33550, "d", 3, (1.0, 1.0, 0.0), True)]
    return [
        cv2.imencode(".png", samples)[1].tobytes(),
        cv2.imencode(".png", planes[0])[1].tobytes(),
        tiff(planes, planarconfig="separate", **grey),
        tiff(samples, planarconfig="contig", bigtiff=True, **grey),
        tiff(planes.astype(np.float32), imagej=True, metadata={"axes": "CYX"}, **grey),
        tiff(samples, photometric="rgb", tile=(16, 16), compression="zlib", predictor=True),
        tiff(planes[0].astype(np.int32), extratags=place, **grey),
        tiff(planes[0] > 2000, **grey),
    ]


HALVES = ((0.5,), (0.5,))
FIRST = Bands([1], [(0, 4095)], None, *HALVES)
TWO = Bands([2, 1], [(0, 4095), (0, 1)], 0, *(2 * half for half in HALVES))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


@given(content=st.one_of(st.binary(max_size=300), st.sampled_from(IMAGES).flatmap(damaged)))
@fuzz(100)
def test_images_and_masks(content, folder):
    path = folder / "image.png"
    path.write_bytes(content)
    for read in (read_image, read_mask, read_colors, georeference, pixel_count):
        refused(read, path)


@pytest.mark.skipif(find_spec("tifffile") is None, reason="the extra science is not installed")
@given(
    content=st.deferred(lambda: st.sampled_from(stored_files()).flatmap(damaged)),
    exif=st.sampled_from(["turn", "stored"]),
)
@fuzz(30)
def test_bands(content, exif, folder):
    path = folder / "bands.tif"
    path.write_bytes(content)
    for read in (read_stored, read_image, read_ids, read_colors):
        refused(lambda read=read: read(path, exif=exif))
    for bands in (FIRST, TWO):
        refused(read_bands, path, bands)
    refused(georeference, path)
    refused(pixel_count, path)


@given(
    content=st.one_of(
        st.sampled_from([text.encode() for _, text, _ in OF_TOOLS.values()]).flatmap(damaged),
        st.text(st.sampled_from("ab019 ,;:#\n\t\"'[]{}-.\r=&*!|>%@\0\x85\u2028"), max_size=60).map(str.encode),
        st.binary(max_size=60),
        value.map(lambda content: json.dumps(content, skipkeys=True).encode()),
    ),
    name=st.sampled_from(FILES),
)
@fuzz(30)
def test_class_files(content, name, folder):
    path = folder / name
    path.write_bytes(content)
    refused(read_classes, path)


def checkpoint():
    model = unimatch.SegmentationModel("tiny", 2, features=8, out_channels=(8, 8, 8, 8))
    state = {
        f"{part}.{key}": value for part in ("student", "teacher.model") for key, value in model.state_dict().items()
    }
    return {"unimatch_model": model.description(), "state_dict": state, "global_step": 1}


@pytest.fixture(scope="module")
def whole(folder):
    CheckpointFiles().save_checkpoint(checkpoint(), folder / "whole.ckpt")
    return (folder / "whole.ckpt").read_bytes()


@given(data=st.data())
@fuzz(25)
def test_checkpoints_with_damage(data, whole, folder):
    path = folder / "damaged.ckpt"
    path.write_bytes(data.draw(damaged(whole)))
    refused(load_model, path)
    refused(read_state_dict, path)


plain = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just(torch.zeros(2, 3))),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=8,
)
description = st.fixed_dictionaries(
    {},
    optional={
        "encoder": st.one_of(st.just("tiny"), plain),
        "num_classes": st.one_of(st.integers(-2, 20), plain),
        "features": st.one_of(st.integers(-2, 20), plain),
        "out_channels": st.one_of(st.lists(st.integers(-2, 20), max_size=5), plain),
        "other": plain,
    },
)


@given(
    content=st.one_of(
        plain,
        st.fixed_dictionaries({}, optional={"unimatch_model": description, "state_dict": plain, "unimatch_run": plain}),
    )
)
@fuzz(50)
def test_checkpoints_that_say_anything(content, folder):
    path = folder / "any.ckpt"
    torch.save(content, path)
    refused(load_model, path)
    refused(read_state_dict, path)


@given(content=st.binary(max_size=200), name=st.sampled_from(["data.pkl", "version", "byteorder", "data/0"]))
@fuzz(50)
def test_archives_around_any_bytes(content, name, folder):
    path = folder / "archive.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"archive/{name}", content)
    refused(load_model, path)
    refused(read_state_dict, path)


@pytest.fixture(scope="module")
def images(folder):
    return make_folder(folder / "images_and_masks", labeled=2, val=2)


@st.composite
def changed(draw, whole):
    """Plain values, of which some, in any place, are others, missing or more than they were."""
    content = copy.deepcopy(whole)
    for _ in range(draw(st.integers(1, 3))):
        at = content
        while isinstance(at, (dict, list)) and at:
            key = draw(st.sampled_from(list(at) if isinstance(at, dict) else range(len(at))))
            if isinstance(at[key], (dict, list)) and at[key] and draw(st.booleans()):
                at = at[key]
                continue
            kind = draw(st.sampled_from(("other", "missing", "more")))
            if kind == "other":
                at[key] = draw(value)
            elif kind == "missing":
                del at[key]
            elif isinstance(at, dict):
                at[draw(KEYS)] = draw(value)
            else:
                at.append(draw(value))
            break
    return content


FACTS = {
    "classes": ["a", "b"], "palette": [[0, 0, 0], [255, 255, 255]], "mean": [0.5] * 3, "std": [0.5] * 3,
    "size_multiple": 14, "dates": 1,
    "inference": {"mode": "sliding", "window": 70, "stride": 35, "scales": [1.0, 0.5], "flip": False, "large": 10**6},
}  # fmt: skip
SAID = {
    "config": {
        "inference": FACTS["inference"],
        "dataset": {"_target_": "unimatch.data.digits", "train": 9, "val": 2, "labeled": 4, "split_seed": 0},
        "datamodule": {"crop": 70, "scale": [0.5, 2.0], "flip": 0.5},
    },
    "classes": ["a", "b"], "palette": [[0, 0, 0], [1, 1, 1]], "processes": 1, "metrics_rows": 5,
}  # fmt: skip


@given(said=changed(FACTS))
@fuzz(100)
def test_facts_of_an_exported_model(said):
    refused(facts_from, said, "model.onnx")
    refused(ModelFacts.from_json, json.dumps(said, skipkeys=True), "model.onnx")


@given(said=changed(SAID))
@fuzz(100)
def test_what_a_checkpoint_says_of_its_run(said):
    model = SimpleNamespace(num_classes=2, size_multiple=14, dates=1, bands=PHOTOS)
    refused(checkpoint_facts, {"unimatch_run": said}, model)
    refused(choose_data, OmegaConf.create({}), {"unimatch_run": said}, PHOTOS)


@pytest.fixture(scope="module")
def run_directory(folder):
    return make_run(folder / "run", classes=["sky", "sea"])


@given(data=st.data())
@fuzz(50)
def test_run_directories(data, run_directory):
    name = data.draw(
        st.sampled_from(["summary.json", "config.json", "evaluations.jsonl", "metrics.csv", "confusion.csv"])
    )
    whole = (run_directory / name).read_bytes()
    try:
        if name.endswith(".csv") or data.draw(st.booleans()):
            (run_directory / name).write_bytes(data.draw(damaged(whole)))
        else:
            content = data.draw(changed(json.loads(whole.splitlines()[-1])))
            (run_directory / name).write_text(json.dumps(content, skipkeys=True))
        refused(write_report, run_directory)
        refused(lambda: compare.table(compare.compare_groups(compare.group_runs(compare.load_runs([run_directory])))))
        refused(MetricsFile(run_directory / "copy.csv").resume, 9, run_directory / "metrics.csv")
    finally:
        (run_directory / name).write_bytes(whole)


line = st.one_of(
    st.just("images/a0.png masks/a0.png"),
    st.just("images/a1.png"),
    st.text(max_size=30),
    st.lists(
        st.sampled_from(["..", "/", "images", "a0.png", " ", "masks", "\t", "~", "\0", "é", "#", '"']), max_size=8
    ).map("".join),
)


@given(
    text=st.one_of(
        st.lists(line, max_size=5).map("\n".join).map(lambda s: s.encode(errors="replace")), st.binary(max_size=60)
    )
)
@fuzz(50)
def test_lists(text, images):
    path = images.parent / "list.txt"
    path.write_bytes(text)

    def read():
        data = unimatch.data.folder(str(images), labeled_list=str(path))
        for index in range(len(data.labeled)):
            assert images.resolve() in data.labeled.pairs[index].image.resolve().parents
            data.labeled.image(index)

    refused(read)


word = st.one_of(
    st.sampled_from(
        [
            "seed",
            "method",
            "dataset",
            "encoder",
            "trainer",
            "tau",
            "method.tau",
            "recipe.crop",
            "trainer.max_steps",
            "~seed",
            "+x",
            "++a.b",
            "unimatch_v2",
            "digits",
            "0",
            "1.5",
            "null",
            "true",
            "[1,2]",
            "{a:1}",
            "${seed}",
            "${oops}",
            "1,2",
            "''",
            '"',
            ":",
            "@",
            "/",
            "-m",
            "hydra.run.dir",
            "a",
            "b",
        ]
    ),
    st.text(max_size=8),
)


@given(arguments=st.lists(st.tuples(word, st.sampled_from(["=", "", "=="]), word).map("".join), max_size=2))
@fuzz(10)
def test_settings(arguments):
    refused(check_overrides, "run", arguments)
