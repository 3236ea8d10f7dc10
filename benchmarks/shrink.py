"""Copies a data set of images and masks at a smaller size, as a real problem for a small machine.

Images are averaged over areas; each pixel of a mask is the one nearest to its centre. Lists and class names are copied.

    python benchmarks/shrink.py CAMVID SMALL --size 160 120
    python benchmarks/shrink.py NUCLEI SMALL --factor 0.5
"""

import argparse
import shutil
from pathlib import Path

from PIL import Image

from unimatch.images.file_kinds import IMAGE_SUFFIXES


def main() -> None:
    """Copy everything below one folder to another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--size", type=int, nargs=2, metavar=("WIDTH", "HEIGHT"))
    size.add_argument("--factor", type=float)
    options = parser.parse_args()
    for path in sorted(options.source.rglob("*")):
        target = options.target / path.relative_to(options.source)
        if path.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        elif path.suffix.lower() not in IMAGE_SUFFIXES:
            shutil.copyfile(path, target)
        else:
            with Image.open(path) as image:
                shape = options.size or [max(1, round(side * options.factor)) for side in image.size]
                is_mask = image.mode in ("P", "L") and any("annot" in part or part == "masks" for part in path.parts)
                small = image.resize(shape, Image.Resampling.NEAREST if is_mask else Image.Resampling.BOX)
                small.save(target)


if __name__ == "__main__":
    main()
