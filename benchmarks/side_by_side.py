"""Draws validation images of CamVid, their true masks, and the predictions of several trained models.

python benchmarks/side_by_side.py CAMVID OUT.png "labelled-only=A.ckpt" "UniMatch V2=B.ckpt" --images 3
"""

import argparse
from pathlib import Path

import unimatch
from unimatch.callbacks.pictures import draw_predictions
from unimatch.images.pictures import spread_evenly


def main() -> None:
    """Read the models' teachers, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("models", nargs="+", help="NAME=CHECKPOINT")
    parser.add_argument("--images", type=int, default=3)
    options = parser.parse_args()
    data = unimatch.data.camvid(options.root)
    models = {name: unimatch.load_model(file) for name, _, file in (word.partition("=") for word in options.models)}
    indices = spread_evenly(len(data.val), options.images)
    draw_predictions(unimatch.Segmentation(), models, data.val, data.info, indices, options.out)


if __name__ == "__main__":
    main()
