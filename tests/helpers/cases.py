"""Small data sets in the folder layout, and ways to spoil them as people's data are spoiled."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

COLORS = np.array([(0, 0, 0), (128, 64, 128), (128, 128, 0), (128, 0, 0)], np.uint8)
NAMES = ("other", "road", "tree", "building")
PALETTE = "".join(f"{red} {green} {blue} {name}\n" for (red, green, blue), name in zip(COLORS, NAMES, strict=True))
HEIGHT, WIDTH = 18, 24
EXIF = 274


def make(root: Path, *, classes: int = 2, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Path:
    """Five images of ten blocks each and their masks, and one unlabelled image."""
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    (root / "unlabeled").mkdir()
    rng = np.random.default_rng(0)
    for i in range(6):
        blocks = rng.permutation(np.arange(12) % classes).reshape(3, 4)
        ids = blocks.repeat(6, 0).repeat(6, 1).astype(np.uint8)[: size[0], : size[1]]
        image = Image.fromarray(COLORS[ids] + rng.integers(0, 60, (*ids.shape, 3), dtype=np.uint8))
        if i == 5:
            image.save(root / "unlabeled" / "u.png")
        else:
            image.save(root / "images" / f"a{i}.png")
            Image.fromarray(ids).save(root / "masks" / f"a{i}.png")
    (root / "classes.txt").write_text("".join(f"{name}\n" for name in NAMES[:classes]))
    return root


def images(write, suffix=".png"):
    """Spoils the images: ``write`` is given each as an array and where to."""

    def spoil(root):
        for path in sorted((root / "images").iterdir()):
            array = np.asarray(Image.open(path).convert("RGB"))
            path.unlink()
            write(array, path.with_suffix(suffix))

    return spoil


def masks(write, suffix=".png", only=slice(None), names=None):
    """Spoils the masks, or some of them: ``write`` is given each as an array and where to."""

    def spoil(root):
        for path in sorted((root / "masks").iterdir())[only]:
            array = np.asarray(Image.open(path))
            path.unlink()
            write(array, path.with_suffix(suffix))
        if names:
            (root / "classes.txt").write_text(names)

    return spoil


def both(*spoils):
    """Spoils in several ways, one after another."""

    def spoil(root):
        for each in spoils:
            each(root)

    return spoil


def tiny(array):
    """Every ninth row and eighth column."""
    return array[::9, ::8]


def deep(bands):
    return lambda array, path: cv2.imwrite(str(path), array[..., bands].squeeze().astype(np.uint16) * 16)


def save(change=lambda array: array, **options):
    return lambda array, path: Image.fromarray(change(array)).save(path, **options)


def turned(orientation):
    exif = Image.Exif()
    exif[EXIF] = orientation
    return save(exif=exif, quality=95)


def bits(number):
    """Writes a grey PNG of so many bits, which Pillow cannot."""

    def write(array, path):
        height, width = array.shape
        packed = np.packbits(np.unpackbits(array[..., None], axis=2)[..., 8 - number :].reshape(height, -1), axis=1)
        rows = b"".join(b"\0" + row.tobytes() for row in packed)
        header = struct.pack(">IIBBBBB", width, height, number, 0, 0, 0, 0)
        chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
        path.write_bytes(
            b"\x89PNG\r\n\x1a\n"
            + b"".join(struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks)
        )

    return write


def quantized(array, path):
    """A palette PNG whose palette an optimiser has sorted: the colours are right, their places are not."""
    image = Image.fromarray(3 - array)
    image.putpalette(COLORS[::-1].tobytes())
    image.save(path)


def smooth(array, path):
    image = Image.fromarray(array)
    small = image.resize((WIDTH // 2, HEIGHT // 2), Image.Resampling.NEAREST)
    small.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR).save(path)


def blurred(array, path):
    image = Image.fromarray(COLORS[array])
    image.resize((WIDTH * 2, HEIGHT * 2), Image.Resampling.BILINEAR).resize(image.size, Image.Resampling.BILINEAR).save(
        path
    )


def alpha(array, path):
    Image.fromarray(np.dstack([np.broadcast_to(COLORS[1], (*array.shape, 3)), array * 255]).astype(np.uint8)).save(path)


def paged(array, path):
    pages = [Image.fromarray(array[..., i] if array.ndim == 3 else array * i) for i in range(3)]
    pages[0].save(path, save_all=True, append_images=pages[1:])


def nodata(value, dtype):
    def write(array, path):
        stored = array.astype(dtype)
        stored[0, :5] = value
        Image.fromarray(stored).save(path)

    return write
