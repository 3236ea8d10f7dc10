"""Trains a decoder on a frozen encoder's features of the photos that ``unimatch.select`` chooses.

    nice -n 19 python benchmarks/select_frozen.py DATA WEIGHTS --data camvid nuclei
    nice -n 19 python benchmarks/select_frozen.py DATA WEIGHTS --data camvid --rounds
    nice -n 19 python benchmarks/select_frozen.py DATA WEIGHTS --data camvid --decoder dpt

A faster version of ``select_trained.py``: the encoder is frozen, so the features of each image are computed only once.
``DATA`` holds ``camvid/`` and ``nuclei/``, ``WEIGHTS`` is a DINOv2 ViT-S/14. The choice is compared with ten random
draws, each trained with ``--seeds``: AdamW, a rate falling from 1e-3 to 0, a tenth of the channels dropped, images
mirrored at random. A *linear* classifier sees two whole images per step for 400 steps, which takes minutes for all
draws. A *DPT* decoder sees four crops of 12 x 12 cells per step for 300 steps, which takes an hour or two. The logits
are upsampled to the image and scored like those of any model.

With ``--rounds`` a simulated annotator gives six photos their true masks, then six more, up to thirty. They are chosen
by ``unimatch.select``, which from the second round on also uses how unsure the model of the round before is of each
photo (the mean of 1 - confidence), as ``unimatch.round`` does. For comparison, photos are also chosen without this, and
drawn at random.
"""

import argparse
import json
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from select_trained import COUNTS, DRAWS, EVERY, load
from torch import Tensor, nn

import unimatch
from unimatch.data.sources.base import Source
from unimatch.images.arrays import nearest_multiple
from unimatch.models import build_encoder
from unimatch.models.dpt import DPTDecoder
from unimatch.selection import EncoderDescriber
from unimatch.selection.features import MEAN, STD

RATE = 1e-3
CELLS = 12
"""Cells of a side of the crops that a DPT decoder sees."""
LEVELS = 4
"""How many of the encoder's blocks are read."""
LONGEST = 480
"""Pixels of the longer side at which images are described, at most."""
STAGES = (6, 12, 18, 24, 30)
"""How many photos are labelled after each round."""

Example = tuple[Tensor, Tensor]
"""Features (D, h, w) float16, and the mask (H, W) int64."""


class Features:
    """The features of a part's images, each computed when it is first asked for."""

    def __init__(self, source: Source, encoder: nn.Module) -> None:
        self.source, self.encoder, self.kept = source, encoder, dict[int, Example]()
        self.mean, self.std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))

    @torch.no_grad()
    def __getitem__(self, index: int) -> Example:
        """Return the features and the mask of an image."""
        if index not in self.kept:
            image = self.source.image(index)
            scale = min(1.0, LONGEST / max(image.shape[:2]))
            sides = [nearest_multiple(side * scale, self.encoder.size_multiple) for side in image.shape[1::-1]]
            small = torch.from_numpy(cv2.resize(image, sides, interpolation=cv2.INTER_AREA)).permute(2, 0, 1)
            levels = self.encoder(((small[None] / 255) - self.mean) / self.std)
            mask = torch.from_numpy(self.source.mask(index)).long()
            self.kept[index] = torch.cat(levels, dim=1)[0].half(), mask
        return self.kept[index]


def train(kind: Literal["linear", "dpt"], examples: list[Example], classes: int, seed: int) -> nn.Module:
    """Return a model of features (1, D, h, w) that these images have taught."""
    torch.manual_seed(seed)
    everything = torch.cat([features.float().flatten(1) for features, _ in examples], dim=1)
    mean, std = everything.mean(dim=1)[:, None, None], everything.std(dim=1)[:, None, None]
    inputs = [((features.float() - mean) / std, mask) for features, mask in examples]
    decoder = decoder_of(kind, len(everything), classes)
    steps, images = (400, 2) if kind == "linear" else (300, 4)
    optimizer = torch.optim.AdamW(decoder.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    for _ in range(steps):
        losses = []
        for index in torch.randint(len(inputs), (images,)).tolist():
            x, y = inputs[index] if kind == "linear" else cropped(*inputs[index])
            if torch.rand(()) < 0.5:
                x, y = x.flip(-1), y.flip(-1)
            logits = decoder(F.dropout2d(x[None], 0.1))
            losses.append(F.cross_entropy(upsampled(logits, y), y[None], ignore_index=255))
        optimizer.zero_grad()
        torch.stack(losses).mean().backward()
        optimizer.step()
        schedule.step()
    return nn.Sequential(Standardise(mean, std), decoder).eval()


def decoder_of(kind: Literal["linear", "dpt"], width: int, classes: int) -> nn.Module:
    """Return a decoder that nothing has taught, of features of this width."""
    if kind == "dpt":
        return DPT(width // LEVELS, classes)
    head = nn.Conv2d(width, classes, 1)
    nn.init.zeros_(head.weight)
    return head


def cropped(features: Tensor, mask: Tensor) -> Example:
    """Return a crop of the cells of an image, and of its mask, at random."""
    (height, width), (rows, columns) = features.shape[1:], mask.shape
    top, left = (int(torch.randint(size - CELLS + 1, ())) for size in (height, width))
    pixels = [round(cells * rows / height) for cells in (top, top + CELLS)]
    across = [round(cells * columns / width) for cells in (left, left + CELLS)]
    return features[:, top : top + CELLS, left : left + CELLS], mask[slice(*pixels), slice(*across)]


class DPT(nn.Module):
    """The decoder of ``encoder=vits``."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        sizes = {"features": 64, "out_channels": (48, 96, 192, 384)}
        self.decoder = DPTDecoder([width] * LEVELS, [14] * LEVELS, **sizes, num_classes=classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of the levels' features, one after the other in (1, D, h, w)."""
        return self.decoder(x.chunk(LEVELS, dim=1))


class Standardise(nn.Module):
    """Subtract the training images' mean, divide by their deviation."""

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, x: Tensor) -> Tensor:
        """Return features (1, D, h, w) with each channel standardised."""
        return (x - self.mean) / self.std


def upsampled(logits: Tensor, mask: Tensor) -> Tensor:
    """Return logits (1, C, h, w) at the size of a mask (H, W)."""
    return F.interpolate(logits, size=mask.shape, mode="bilinear", align_corners=False)


@torch.inference_mode()
def score(model: nn.Module, examples: list[Example], classes: int) -> float:
    """Return the mIoU over these images, in percent."""
    confusion = np.zeros((classes, classes), int)
    for features, mask in examples:
        predicted = upsampled(model(features.float()[None]), mask).argmax(dim=1)[0]
        counted = mask != 255
        pairs = (mask[counted] * classes + predicted[counted]).numpy()
        confusion += np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
    hit = np.diag(confusion)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - hit
    return float(100 * (hit[union > 0] / union[union > 0]).mean())


@torch.inference_mode()
def unsureness(model: nn.Module, features: Tensor) -> float:
    """Return the mean of 1 - confidence over an image."""
    return 1 - float(model(features.float()[None]).softmax(dim=1).amax(dim=1).mean())


def rounds(
    name: str,
    files: list[Path],
    train_part: Features,
    held: dict[str, list[Example]],
    classes: int,
    describer: EncoderDescriber,
    options: argparse.Namespace,
) -> list[dict]:
    """Print and return the mean mIoU of the parts after each round, for each way of choosing."""
    figures = []
    ways = ["select with scores", "select", *(f"random {draw}" for draw in range(3))]
    for way in ways:
        chosen, unsure, scores = list[int](), None, list[float]()
        for n in STAGES:
            if way.startswith("random"):
                chosen = np.random.default_rng(int(way.split()[1])).permutation(len(files))[:n].tolist()
            else:
                found = unimatch.select(
                    files,
                    n - len(chosen),
                    describer=describer,
                    given=[files[index] for index in chosen],
                    unsure=unsure,
                    features=options.features,
                )
                chosen = [*chosen, *(files.index(path) for path in found.chosen)]
            labeled = [train_part[index] for index in chosen]
            models = [train(options.decoder, labeled, classes, seed) for seed in options.seeds]
            parts = [score(model, examples, classes) for model in models for examples in held.values()]
            scores.append(float(np.mean(parts)))
            if way == "select with scores":
                unsure = {path: unsureness(models[0], train_part[index][0]) for index, path in enumerate(files)}
        print(
            f"{way:20}" + "".join(f"{n:5}: {value:4.1f}" for n, value in zip(STAGES, scores, strict=True)), flush=True
        )
        figures.append({"data": name, "way": way, "photos": list(STAGES), "miou": scores})
    return figures


def draw(figures: list[dict], path: Path) -> None:
    """Write a figure of the rounds: each way of choosing, and the range of the random draws."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(6, 3.2))
    random = np.array([figure["miou"] for figure in figures if figure["way"].startswith("random")])
    axis.fill_between(STAGES, random.min(axis=0), random.max(axis=0), color="0.85", label="random, three draws")
    axis.plot(STAGES, random.mean(axis=0), "--", color="0.45", label="their mean")
    for way, label in (("select", "chosen"), ("select with scores", "chosen, with the model's confidence")):
        axis.plot(STAGES, next(figure["miou"] for figure in figures if figure["way"] == way), "o-", label=label)
    axis.set_xlabel("labelled photos")
    axis.set_ylabel("mIoU")
    axis.set_xticks(STAGES)
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def line_of(name: str, ours: float, draws: NDArray[np.floating]) -> str:
    """Return a row of the table."""
    return (
        f"{name:20} select {ours:5.1f}   random {draws.mean():5.1f} ± {draws.std(ddof=1):.1f}   "
        f"difference {ours - draws.mean():+.1f}   above {int((draws < ours).sum())} of {len(draws)}"
    )


def main() -> None:
    """Print a table: the choice, the draws' mean and spread, and how many draws the choice beats."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, metavar="DATA")
    parser.add_argument("weights", type=Path)
    parser.add_argument("--data", nargs="+", choices=list(COUNTS), default=list(COUNTS))
    parser.add_argument(
        "--n", type=int, nargs="+", help="numbers of labelled photos; by default 6 and 12, or 8 for nuclei"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--decoder", choices=("linear", "dpt"), default="linear")
    parser.add_argument("--rounds", action="store_true", help="label in rounds instead of once")
    parser.add_argument("--features", type=Path, help="folder that keeps the photos' features")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--figure", type=Path, help="file for a picture of the rounds of one data set")
    options = parser.parse_args()
    encoder = build_encoder("vits", str(options.weights)).eval()
    figures = []
    for name in options.data:
        data = load(name, options.root)
        classes, files = data.info.num_classes, [Path(data.labeled.name(i)) for i in range(len(data.labeled))]
        train_part = Features(data.labeled, encoder)
        held = {}
        for part, step in EVERY[name].items():
            source = getattr(data, part)
            features = Features(source, encoder)
            held[part] = [features[index] for index in range(0, len(source), step)]
        describer = EncoderDescriber(encoder, "vits")
        if options.rounds:
            figures += rounds(name, files, train_part, held, classes, describer, options)
        for n in () if options.rounds else options.n or COUNTS[name]:
            found = unimatch.select(files, n, describer=describer, features=options.features)
            choices = [[files.index(path) for path in found.chosen]]
            choices += [np.random.default_rng(seed).permutation(len(files))[:n].tolist() for seed in range(DRAWS)]
            scores = np.empty((len(choices), len(held)))  # the mean over the seeds
            for row, choice in zip(scores, choices, strict=True):
                labeled = [train_part[index] for index in choice]
                models = [train(options.decoder, labeled, classes, seed) for seed in options.seeds]
                row[:] = [np.mean([score(model, part, classes) for model in models]) for part in held.values()]
                print(f"{name} n={n} {'random' if choice is not choices[0] else 'select'}: {row.round(1)}", flush=True)
            for part, values in {**dict(zip(held, scores.T, strict=True)), "mean": scores.mean(axis=1)}.items():
                print(line_of(f"{name} n={n} {part}", values[0], values[1:]), flush=True)
                figures.append({"data": name, "n": n, "part": part, "select": values[0], "draws": values[1:].tolist()})
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    if options.rounds and options.figure:
        draw(figures, options.figure)


if __name__ == "__main__":
    main()
