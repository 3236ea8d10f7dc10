"""Archives of exports that are damaged: each is one message with its file."""

import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from helpers import exports
from helpers.exports import masks
from unimatch.errors import DataError
from unimatch.labelling import read
from unimatch.labelling.export_files import Source, size_of

NAME = "annotations/instances.json"


def made(folder: Path) -> Path:
    exports.coco(folder / "export")
    return Path(shutil.make_archive(str(folder / "export"), "zip", folder / "export"))


def changed(path: Path, local: int, central: int, change) -> None:
    """Changes a byte of the file's header and of its entry in the archive's directory."""
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        at = archive.getinfo(NAME).header_offset
    entry = content.rfind(b"PK\x01\x02", 0, content.rfind(NAME.encode()))
    for place in (at + local, entry + central):
        content[place] = change(content[place])
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("local", "central", "change", "message"),
    [
        (6, 8, lambda flags: flags | 1, "is encrypted"),
        (8, 10, lambda _: 97, "compression method is not supported"),
        (14, 16, lambda byte: byte ^ 1, "Bad CRC-32"),
        (30 + len(NAME) + 4, 16, lambda byte: byte ^ 0xFF, "decompressing|CRC"),
    ],
)
def test_a_damaged_file_in_a_zip_is_named(tmp_path, local, central, change, message):
    path = made(tmp_path)
    assert masks(read(path)).keys() == {"train/a.png", "train/b.png"}
    changed(path, local, central, change)
    copy = path.rename(tmp_path / "damaged.zip")  # the whole one is still open
    with pytest.raises(DataError, match=rf"damaged\.zip/{NAME}: cannot be read .*({message}).*; export it again"):
        read(copy)


def test_a_tar_is_read_and_a_compressed_one_is_to_be_unpacked(tmp_path):
    exports.coco(tmp_path / "export")
    for name, mode in (("a.tar", "w"), ("a.tar.gz", "w:gz"), ("b.tar", "w:gz")):
        with tarfile.open(tmp_path / name, mode) as archive:
            archive.add(tmp_path / "export", "export")
    assert masks(read(tmp_path / "a.tar")).keys() == {"train/a.png", "train/b.png"}
    for name in ("a.tar.gz", "b.tar"):
        with pytest.raises(DataError, match=rf"{name}: is compressed as a whole; unpack it"):
            read(tmp_path / name)


def test_a_folder_behind_a_link_that_leads_out_is_named(tmp_path, caplog):
    exports.coco(tmp_path / "export")
    (tmp_path / "export" / "images").rename(tmp_path / "images")
    (tmp_path / "export" / "images").symlink_to(tmp_path / "images")
    with pytest.raises(DataError, match=r"a\.png: no such photo"):
        read(tmp_path / "export")
    assert "images: is a link that leads out of" in caplog.text


def test_an_archive_of_windows_is_to_be_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("export\\a.json", "{}")
    with pytest.raises(DataError, match=r"a\.zip: export\\a\.json has its folder in its name, .* unpack"):
        Source(tmp_path / "a.zip")


def test_a_file_that_begins_with_a_mark_of_its_bytes_is_known(tmp_path):
    file = exports.coco(tmp_path)
    file.write_text("\ufeff" + file.read_text())
    assert read(tmp_path).classes == ("background", "stone", "leaf")


def test_a_photo_of_several_bands_is_called_so_and_not_damaged(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((4, 6, 5), np.uint16), photometric="minisblack", planarconfig="contig")
    with pytest.raises(DataError, match=r"^a\.tif: .*a TIFF of other bands or values.* give 8-bit RGB copies"):
        size_of(path.read_bytes(), "a.tif")
