"""Files made to run code, to write or read elsewhere, or to fill the memory: none acts, and each is refused by name."""

import io
import os
import pickle
import resource
import struct
import subprocess
import sys
import time
import zipfile
import zlib
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
import yaml
from PIL import EpsImagePlugin, Image

import unimatch
from helpers.support import make_folder, write_pair
from unimatch import Classifier, Predictor, UnimatchError, load_official
from unimatch.app.opened import open_model
from unimatch.checkpoints.files import load_model, read_checkpoint
from unimatch.data.check.mask_faults import kind_of_error
from unimatch.data.prepare.archives import Member
from unimatch.data.prepare.mask_bytes import decode_mask
from unimatch.images.arrays import read_colors, read_image, read_mask
from unimatch.inference.inputs import Photo
from unimatch.labelling.export_files import open_picture
from unimatch.labelling.shapes import Picture
from unimatch.models.weights import read_state_dict


class Act:
    """Calls a function when it is unpickled."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


class InState(dict):
    def __reduce__(self):
        return dict, (), None, None, iter([("state_dict", Act(os.system, self["command"]))])


def torch_zip(pickled: bytes, path: Path) -> None:
    """The form of ``torch.save`` around any pickle."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", "3\n")


def ours(**content):
    return {"unimatch_model": {"encoder": "tiny", "num_classes": 2}, "state_dict": {}, **content}


def opcode_pickle(command: str) -> bytes:
    """Written by hand, in the text opcodes: no class of ours is in it."""
    return b"cos\nsystem\n(S'" + command.encode() + b"'\ntR."


PICKLES = {
    "os.system": lambda c: pickle.dumps(ours(x=Act(os.system, c))),
    "posix.system by hand": lambda c: opcode_pickle(c).replace(b"cos\n", b"cposix\n"),
    "os.system by hand": opcode_pickle,
    "subprocess.call": lambda c: pickle.dumps(ours(x=Act(subprocess.call, ["sh", "-c", c]))),
    "subprocess.Popen": lambda c: pickle.dumps(ours(x=Act(subprocess.Popen, ["sh", "-c", c]))),
    "eval": lambda c: pickle.dumps(ours(x=Act(eval, f"__import__('os').system({c!r})"))),
    "exec": lambda c: pickle.dumps(ours(x=Act(exec, f"import os; os.system({c!r})"))),
    "__import__": lambda c: pickle.dumps([Act(__import__, "antigravity")]),
    "getattr": lambda c: pickle.dumps(ours(x=Act(getattr, c, "upper"))),
    "inside a state dict": lambda c: pickle.dumps(InState(command=c)),
    "as a key": lambda c: pickle.dumps(OrderedDict(state_dict={"a": Act(os.popen, c)})),
    "torch.hub": lambda c: pickle.dumps(ours(x=Act(torch.hub.load, "evil/evil", "model"))),
    "torch.load of another": lambda c: pickle.dumps(ours(x=Act(torch.load, c))),
    "builtins.open": lambda c: pickle.dumps(ours(x=Act(open, c.split()[-1].strip('"'), "w"))),
    "protocol 0": lambda c: pickle.dumps(ours(x=Act(os.system, c)), protocol=0),
}


@pytest.mark.parametrize("form", ["zip", "bare"])
@pytest.mark.parametrize("disguise", PICKLES)
def test_a_pickle_with_code_does_not_run_and_is_refused_with_its_name(disguise, form, tmp_path):
    touched, path = tmp_path / "touched", tmp_path / "model.ckpt"
    content = PICKLES[disguise](f'echo run > "{touched}"')
    if form == "zip":
        torch_zip(content, path)
    else:
        path.write_bytes(content)
    for read in (read_checkpoint, load_model, read_state_dict, unimatch.load_official):
        with pytest.raises(UnimatchError, match=r"model\.ckpt"):
            read(path)
    assert not touched.exists()
    assert "antigravity" not in sys.modules


def test_a_program_with_pickles_is_not_unpickled_unless_it_is_trusted(tmp_path):
    """PyTorch itself unpickles what ``torch.export.load`` finds in one."""
    touched, path = tmp_path / "touched", tmp_path / "model.pt2"
    evil = opcode_pickle(f"touch {touched}")
    part = io.BytesIO()
    with zipfile.ZipFile(part, "w") as archive:
        archive.writestr("archive/data.pkl", evil)
        archive.writestr("archive/version", "3\n")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/archive_format", "pt2")
        for name in ("data/sample_inputs/model.pt", "data/constants/model.pt", "data/weights/model.pt"):
            archive.writestr(f"archive/{name}", part.getvalue())
        archive.writestr("archive/data.pkl", evil)
        archive.writestr("archive/version", "3\n")
    for read in (Predictor, lambda path: Predictor([path, path]), Classifier, load_model, load_official, open_model):
        with pytest.raises(UnimatchError, match=r"model\.pt2: "):
            read(path)
    for name in ("model.PT2", "model.ckpt", "model.onnx"):
        path.rename(path := path.with_name(name))
        with pytest.raises(UnimatchError, match=name):
            Predictor(path)
    assert not touched.exists()


DESCRIPTIONS = {
    "a model from the network": {"encoder": "hf-hub:evil/model", "num_classes": 2},
    "a model from a folder": {"encoder": "local-dir:/etc", "num_classes": 2},
    "weights from elsewhere": {"encoder": "tiny", "num_classes": 2, "weights": "/etc/passwd"},
    "classes beyond memory": {"encoder": "tiny", "num_classes": 10**12},
    "features beyond memory": {"encoder": "tiny", "num_classes": 2, "features": 10**9},
    "layers that fill the memory": {"encoder": "tiny", "num_classes": 2, "features": 30_000},
    "blocks beyond patience": {"encoder": "vits", "num_classes": 2, "options": {"depth": 10**6}},
    "another file": {"encoder": "efficientnet_lite0", "num_classes": 2, "options": {"checkpoint_path": "/etc/passwd"}},
    "no classes": {"encoder": "tiny", "num_classes": 0},
    "another type": {"encoder": ["tiny"], "num_classes": "2"},
    "no dict": "tiny",
}


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_a_checkpoint_that_describes_no_model_of_ours_is_refused(name, tmp_path):
    path = tmp_path / "model.ckpt"
    torch.save({"unimatch_model": DESCRIPTIONS[name], "state_dict": {}}, path)
    with pytest.raises(UnimatchError):
        load_model(path)


def test_weights_expanded_from_one_number_do_not_fill_the_memory(tmp_path):
    description = {"encoder": "tiny", "num_classes": 2, "features": 10_000}
    with torch.device("meta"):
        shapes = {key: value.shape for key, value in unimatch.SegmentationModel(**description).state_dict().items()}
    state = {f"teacher.model.{key}": torch.zeros(()).expand(shape) for key, shape in shapes.items()}
    path = tmp_path / "model.ckpt"
    torch.save({"unimatch_model": description, "state_dict": state}, path)
    assert path.stat().st_size < 10**6
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UnimatchError, match=r"would take [\d,]+ bytes, and the file has"):
        load_model(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB; the model would take 20 GB


def png(width: int, height: int, data: bytes = b"") -> bytes:
    """A PNG that claims a size."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(60_000, 60_000), (2**31 - 1, 2**31 - 1), (20_000, 20_000)])
@pytest.mark.parametrize("read", [read_image, read_mask])
def test_an_image_that_claims_to_be_huge_is_refused_without_the_memory(read, size, tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(png(*size, bytes(1000)))
    before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(UnimatchError, match=r"bomb\.png"):
        read(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KB
    assert time.monotonic() - begun < 20


def disguised(form: str) -> bytes:
    """A picture of a kind that Pillow knows and we do not read; it starts Ghostscript for an EPS."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, form)
    return file.getvalue()


def read_of_an_archive(path):
    return decode_mask(Member(path.parent, path.name, path.stat().st_size))


READERS = {
    "image": read_image,
    "mask": read_mask,
    "mask of colours": read_colors,
    "picture of an export": lambda path: open_picture(path.read_bytes(), str(path)),
    "picture in an annotation": lambda path: Picture(path.read_bytes()).window(9, 9),
    "mask of an archive": read_of_an_archive,
}


@pytest.mark.parametrize("form", ["EPS", "ICO", "PCX"])
@pytest.mark.parametrize("reader", READERS)
def test_an_image_of_another_kind_called_png_is_not_opened(reader, form, tmp_path, monkeypatch):
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: pytest.fail("Ghostscript was started"))
    path = tmp_path / "image.png"
    path.write_bytes(disguised(form))
    with pytest.raises(ValueError, match=r"none of BMP|cannot identify|no known kind"):
        READERS[reader](path)
    assert Photo("image", path, lambda: read_image(path)).pixels() == 0
    assert kind_of_error(path, "mask") == "unreadable"


def test_text_that_inflates_is_refused(tmp_path):
    """A small chunk of compressed text that becomes a gigabyte."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    text = b"comment\0\0" + zlib.compress(bytes(10**8))
    data = zlib.compress(b"\0" + bytes(3))
    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"zTXt", text), chunk(b"IDAT", data), chunk(b"IEND", b"")]
    (tmp_path / "text.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UnimatchError, match=r"text\.png: cannot be read"):
        read_image(tmp_path / "text.png")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


@pytest.mark.parametrize("line", ["../secret.png", "{root}/../secret.png", "link.png", "images/../../secret.png"])
def test_a_list_cannot_name_a_file_outside_its_root(line, tmp_path):
    root = make_folder(tmp_path / "data", labeled=1, val=1)
    write_pair(tmp_path / "secret.png", None)
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "labeled.txt").write_text(line.format(root=root) + " masks/a0.png\n")

    def read():
        unimatch.data.folder(str(root), labeled_list=str(tmp_path / "labeled.txt")).labeled.image(0)

    with pytest.raises(UnimatchError, match=r"secret|link"):
        read()


@pytest.mark.skipif(sys.platform == "win32", reason="has no such device")
@pytest.mark.parametrize("setting", ["classes", "labeled_list"])
def test_a_setting_that_names_a_file_without_end_is_refused(setting, tmp_path):
    """As the data set of a stranger's checkpoint may."""
    root = make_folder(tmp_path / "data", labeled=1, val=1)
    with pytest.raises(UnimatchError, match=r"/dev/zero: .* cannot be read .*no regular file"):
        unimatch.data.folder(str(root), **{setting: "/dev/zero"})


def test_yaml_is_read_without_building_objects(tmp_path):
    """Hydra's own loader reads the files of ``conf/`` and of ``--config-dir``."""
    from omegaconf import OmegaConf

    touched = tmp_path / "touched"
    (tmp_path / "run.yaml").write_text(f"x: !!python/object/apply:os.system ['touch {touched}']\n")
    with pytest.raises(yaml.constructor.ConstructorError):
        OmegaConf.load(tmp_path / "run.yaml")
    assert not touched.exists()
