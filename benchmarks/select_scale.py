"""Time and memory that ``unimatch.select`` needs for many photos whose features are known.

    nice -n 19 python benchmarks/select_scale.py --photos 100000 --n 100

The features are made up, with the size of those of DINOv2 ViT-S: no photo is decoded, and no encoder runs. The photos
are files of a few bytes in a temporary folder, which are read to find their features, as real photos would be. Seconds
are by the clock and of all processor cores together, without making the features; memory is the peak of the process.
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

import unimatch
from unimatch.selection import ColorDescriber, Description
from unimatch.selection.feature_cache import key_of, open_store
from unimatch.selection.features import PATCHES

IMAGE, PATCH = 4 * 384, 384
"""Numbers of a photo, and of a patch: of DINOv2 ViT-S."""

PLACES, THINGS = 500, 2000
"""Of how many places the photos are, and how many things they show."""


def unit(values: np.ndarray) -> np.ndarray:
    """Return rows at unit length."""
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def make(folder: Path, count: int) -> list[Path]:
    """Write files and their features; return the files."""
    rng = np.random.default_rng(0)
    places, things = (unit(rng.normal(size=size)) for size in ((PLACES, IMAGE), (THINGS, PATCH)))
    files = []
    with open_store(folder / "features") as store, store.connection:
        for number in range(count):
            path = folder / "photos" / f"{number // 1000:03d}" / f"{number:06d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(str(number))
            image = unit(places[rng.integers(PLACES)] + rng.normal(0, 0.02, IMAGE))
            patches = things[rng.integers(THINGS, size=PATCHES)]
            row = (key_of(path, ColorDescriber().identity), *of(Description(*map(np.float16, (image, patches)))))
            store.connection.execute("INSERT INTO photos VALUES (?, ?, ?, ?)", row)  # all in one transaction
            files.append(path)
    return files


def of(found: Description) -> tuple[bytes, bytes, int]:
    """Return a description as the store has it."""
    return found.image.tobytes(), found.patches.tobytes(), found.patches.shape[1]


def main() -> None:
    """Make the features, choose, print seconds and memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=100_000)
    parser.add_argument("--n", type=int, default=100)
    parser.add_argument("--folder", type=Path, help="folder in which the temporary folder is made")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        files = make(Path(folder), options.photos)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start, start_cpu = time.perf_counter(), time.process_time()
        found = unimatch.select(files, options.n, features=Path(folder) / "features", progress=False)
        facts = {
            "photos": options.photos,
            "n": len(found.chosen),
            "seconds": round(time.perf_counter() - start, 1),
            "cpu_seconds": round(time.process_time() - start_cpu, 1),
            "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            "megabytes_before": before // 1024,
            "features_megabytes": (Path(folder) / "features" / "features.sqlite").stat().st_size // 2**20,
        }
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
