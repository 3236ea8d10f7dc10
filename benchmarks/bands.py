"""Trains on the same pictures as photos, with 12 bits, as floats and as bands, and compares the teachers' mIoU.

    python benchmarks/shrink.py CAMVID CAMVID160 --size 160 120
    nice -n 19 python benchmarks/bands.py CAMVID160 MADE --steps 300 --seeds 0 1 2

Copies of the pictures and run directories are written below ``MADE``. Runs that are already finished there are skipped.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from tifffile import imwrite

from unimatch.images.arrays import read_image

FULL = 4095
KINDS = {
    "photos": [],
    "12 bits": [f"dataset.value_range=[0,{FULL}]"],
    "floats": ["dataset.value_range=[0,1]"],
    "three bands": ["dataset.bands=3", f"dataset.value_range=[0,{FULL}]"],
    "five bands": ["dataset.bands=5", f"dataset.value_range=[0,{FULL}]"],
}
"""By name: the settings that read the copy. Three bands are what five are to be compared with: both get the strong
views of bands, without hue and grayscale, and means that are measured."""


def stored(photo: np.ndarray, kind: str) -> np.ndarray:
    """What a copy holds of a photo (H, W, 3): five bands are red, green, blue, their mean and its negative."""
    if kind == "floats":
        return (photo / 255).astype(np.float32)
    if kind == "five bands":
        mean = photo.mean(-1, keepdims=True)
        photo = np.concatenate([photo, mean, 255 - mean], axis=-1)
    return np.rint(photo * (FULL / 255)).astype(np.uint16)


def copy(root: Path, to: Path, kind: str) -> None:
    """Writes CamVid's tree with other images."""
    for part in ("train", "val", "test"):
        shutil.copytree(root / f"{part}annot", to / f"{part}annot")
        (to / part).mkdir()
        for path in sorted((root / part).iterdir()):
            values = stored(read_image(path), kind)
            imwrite(to / part / f"{path.stem}.tif", values, photometric="minisblack", planarconfig="contig")


def main() -> None:
    """Makes the copies, trains what is not trained yet, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("camvid", type=Path)
    parser.add_argument("made", type=Path)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    options = parser.parse_args()
    for kind in options.kinds:
        settings = KINDS[kind]
        root = options.camvid if kind == "photos" else options.made / kind.replace(" ", "_")
        if not root.is_dir():
            copy(options.camvid, root, kind)
        found = []
        for seed in options.seeds:
            run = options.made / f"run_{root.name}_{options.steps}_{seed}"
            if not (run / "report.html").is_file():
                command = [sys.executable, "-m", "unimatch.run", "dataset=camvid", f"dataset.root={root}", *settings]
                sizes = ["encoder=tiny", "dataset.labeled=60", "recipe.crop=96", f"seed={seed}"]
                length = [f"trainer.max_steps={options.steps}", f"trainer.val_check_interval={options.steps}"]
                subprocess.run(
                    [*command, *sizes, *length, "trainer=cpu", "datamodule.workers=1", f"hydra.run.dir={run}"],
                    check=True,
                    stdout=subprocess.DEVNULL,
                )
            found.append(json.loads((run / "summary.json").read_text())["teacher/miou"])
        print(f"{kind:12} {np.mean(found):6.2f} +- {np.std(found):.2f}   {' '.join(f'{score:.2f}' for score in found)}")


if __name__ == "__main__":
    main()
