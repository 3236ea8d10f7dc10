"""How good a trained model's pseudo labels are, measured where the truth of the unlabelled images is known.

    nice -n 19 python benchmarks/pseudo_labels.py RUN --steps 40

``RUN`` is the directory of a UniMatch V2 run. Its last checkpoint labels further training batches; nothing is trained.
Three tables are printed:

*Thresholds*: the share of pixels with at least that confidence, and how much of that share is right; the same for each
class, as a share of the pixels of that class.

*Referee*: a second opinion from the encoder's last level. Each patch gets the class of the 20 labelled patches that are
most like it; only labelled patches with at least three quarters of one class are used. For the pixels above a threshold
on which teacher and referee differ, the table says how often each is right.

*Gradients*: the cosine between the gradients of the labelled and the unlabelled loss at each step; it is negative if
the unlabelled images pull against the labelled ones.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch import Callback
from numpy.typing import NDArray
from omegaconf import OmegaConf
from torch import Tensor

import unimatch
from unimatch.checkpoints.files import read_checkpoint
from unimatch.cli.building import build
from unimatch.data.sources.base import Source
from unimatch.models.base import Model
from unimatch.selection.features import MEAN, STD
from unimatch.types import IGNORE_INDEX

TAUS = (0.95, 0.9, 0.8, 0.7, 0.5)
NEIGHBOURS = 20
PURE = 0.75
"""The share of a patch's pixels that are of one class, for the patch to be remembered."""
SCALES = (0.75, 1.0, 1.5)
"""At which labelled images are remembered, each also mirrored."""


class Referee:
    """Labels patches by the labelled patches that they are most like.

    Args:
        model: whose encoder sees the patches.
        labeled: the images to remember.
    """

    @torch.no_grad()
    def __init__(self, model: Model, labeled: Source) -> None:
        self.model, self.classes = model, model.num_classes
        features, ids = [], []
        for index in range(len(labeled)):
            for scale in SCALES:
                for step in (1, -1):  # as it is, and mirrored
                    found = self.patches(labeled.image(index)[:, ::step], labeled.mask(index)[:, ::step], scale)
                    features.append(found[0])
                    ids.append(found[1])
        self.features, self.ids = torch.cat(features), torch.cat(ids)

    def patches(self, image: NDArray[Any], mask: NDArray[Any], scale: float) -> tuple[Tensor, Tensor]:
        """Return the pure patches (P, E) of an image, at unit length, and their classes (P,)."""
        multiple = self.model.size_multiple
        sides = [round(side * scale / multiple) * multiple for side in image.shape[1::-1]]
        small = torch.from_numpy(cv2.resize(image, sides, interpolation=cv2.INTER_AREA)).permute(2, 0, 1)
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
        level = self.model.encode(((small / 255 - mean) / std)[None])[-1]
        height, width = level.shape[-2:]
        sizes = (width * multiple, height * multiple)
        cells = cv2.resize(mask, sizes, interpolation=cv2.INTER_NEAREST).reshape(height, multiple, width, multiple)
        cells = cells.swapaxes(1, 2).reshape(height * width, -1)
        shares = np.stack([(cells == c).mean(axis=1) for c in range(self.classes)], axis=1)
        pure = torch.from_numpy(shares.max(axis=1) >= PURE)
        return F.normalize(level[0].flatten(1).T, dim=1)[pure], torch.from_numpy(shares.argmax(axis=1))[pure]

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Return the most voted class of each pixel (B, H, W) of images (B, 3, H, W)."""
        level = self.model.encode(images)[-1]
        patches = F.normalize(level.permute(0, 2, 3, 1).flatten(0, 2), dim=1)
        alike, nearest = (patches @ self.features.T).topk(NEIGHBOURS, dim=1)
        votes = alike.new_zeros(len(patches), self.classes).scatter_add_(1, self.ids[nearest], alike.clamp(min=0))
        votes = votes.view(len(images), *level.shape[-2:], -1).permute(0, 3, 1, 2)
        return F.interpolate(votes, size=images.shape[-2:], mode="bilinear", align_corners=False).argmax(dim=1)


class Watch(Callback):
    """Keeps of each training batch the pseudo labels, the referee's, the truth, and the cosine of the gradients."""

    def __init__(self) -> None:
        self.referee: Referee | None = None
        self.pixels: list[NDArray[Any]] = []
        self.cosines: list[float] = []

    def on_train_batch_start(self, trainer: Any, method: Any, batch: Any, batch_idx: int) -> None:
        """Compute the losses of the batch once more, and what follows from them."""
        self.referee = self.referee or Referee(method.teacher.model, trainer.datamodule.data.labeled)
        losses = method.losses(batch, method.step_generator(batch_idx))
        parameters = [parameter for parameter in method.student.parameters() if parameter.requires_grad]
        gradients = [
            torch.cat([gradient.flatten() for gradient in torch.autograd.grad(loss, parameters, retain_graph=True)])
            for loss in (losses.parts["loss_x"], losses.parts["loss_s"])
        ]
        self.cosines.append(float(F.cosine_similarity(*gradients, dim=0)))
        truth, found = batch["unlabeled"]["truth"], losses.pseudo
        counted = found.valid & (truth != IGNORE_INDEX)
        columns = (found.label, found.confidence, self.referee(batch["unlabeled"]["weak"]), truth)
        self.pixels.append(np.stack([column[counted].float().numpy() for column in columns]))


def watched(run: Path, steps: int, seed: int) -> tuple[Watch, tuple[str, ...]]:
    """Label the batches of so many steps by a run's last checkpoint; the names of its classes too."""
    config = OmegaConf.create(json.loads((run / "config.json").read_text()))
    data = build(config.dataset)
    model = build(config.model, num_classes=data.info.num_classes, bands=data.info.bands)
    config.method.learning_rate, config.method.weight_decay = 1e-12, 0.0
    method = build(config.method, model, task=build(config.task))
    state = read_checkpoint(run / "checkpoints" / "last.ckpt")["state_dict"]
    method.load_state_dict(state, strict=False)
    config.datamodule.seed = seed  # batches that the training did not see
    watch = Watch()
    trainer = unimatch.Trainer(
        max_steps=steps,
        logger=False,
        callbacks=[watch],
        limit_val_batches=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(method, build(config.datamodule, data, split_seed=config.dataset.get("split_seed") or 0))
    return watch, data.info.classes


def share(part: NDArray[Any], whole: int | np.integer) -> float:
    """Return how large a part is, in percent."""
    return round(100 * float(part.sum() / max(whole, 1)), 1)


def tables(watch: Watch, classes: tuple[str, ...]) -> dict[str, Any]:
    """Return the three tables."""
    label, confidence, referee, truth = np.concatenate(watch.pixels, axis=1)
    found: dict[str, Any] = {"pixels": len(truth), "thresholds": [], "classes": [], "referee": []}
    for tau in TAUS:
        kept = confidence >= tau
        found["thresholds"].append((tau, share(kept, kept.size), share(kept & (label == truth), kept.sum())))
        differ = kept & (label != referee)
        right = [share(differ & (who == truth), differ.sum()) for who in (label, referee)]
        found["referee"].append((tau, share(differ, kept.size), *right))
    for number, name in enumerate(classes):
        row: list[Any] = [name]
        for tau in (0.95, 0.8):
            kept = (confidence >= tau) & (label == number)
            row += [share(kept, (truth == number).sum()), share(kept & (truth == number), kept.sum())]
        found["classes"].append(row)
    found["referee_right"] = [share(who == truth, truth.size) for who in (label, referee)]
    cosines = np.array(watch.cosines)
    found["cosine"] = {
        "mean": round(float(cosines.mean()), 3),
        "mean_of_sizes": round(float(np.abs(cosines).mean()), 3),
        "negative": share(cosines < 0, cosines.size),
    }
    return found


def main() -> None:
    """Print the tables, write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--seed", type=int, default=77)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = tables(*watched(options.run, options.steps, options.seed))
    for title in ("thresholds", "classes", "referee"):
        print(title)
        for row in found[title]:
            print("  " + "  ".join(f"{cell:>10}" for cell in row))
    print("right in all, teacher and referee:", found["referee_right"])
    print("cosine of the gradients:", found["cosine"])
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
