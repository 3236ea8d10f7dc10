"""Made sets of the same pictures as photos, in more bits, in more bands and in floats."""

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image


def write_png16(path: Path, values: np.ndarray) -> None:
    """A PNG of (H, W, 3) uint16."""
    cv2.imwrite(str(path), values[..., ::-1])


def write_tiff(path: Path, values: np.ndarray) -> None:
    """A TIFF of (H, W, C), of its own type."""
    import tifffile

    tifffile.imwrite(path, values, photometric="minisblack", planarconfig="contig")


def rewritten(
    root: Path,
    to: Path,
    values: Callable[[np.ndarray], np.ndarray],
    suffix: str = ".tif",
    folders: tuple[str, ...] = ("images", "unlabeled", "A", "B"),
) -> Path:
    """A copy of a tree whose photos, RGB (H, W, 3) uint8, store other values; what is no photo stays."""
    write = write_tiff if suffix == ".tif" else write_png16
    for file in sorted(path for path in root.rglob("*") if path.is_file()):
        target = to / file.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".png" and set(file.relative_to(root).parts) & set(folders):
            write(target.with_suffix(suffix), values(np.asarray(Image.open(file).convert("RGB"))))
        else:
            shutil.copy(file, target)
    return to


def twelve_bits(photo: np.ndarray) -> np.ndarray:
    """The 256 levels spread over 0-4095."""
    return np.rint(photo * (4095 / 255)).astype(np.uint16)


def five_bands(photo: np.ndarray) -> np.ndarray:
    """12 bits of red, green and blue, then their mean, and their negative."""
    mean = photo.mean(-1, keepdims=True).round()
    return twelve_bits(np.concatenate([photo, mean, 255 - mean], axis=-1))


def floats(photo: np.ndarray) -> np.ndarray:
    """Reflectances 0-1."""
    return (photo / 255).astype(np.float32)
