"""Pairs the labelled and the unlabelled loader."""

import logging
import signal
from collections.abc import Sequence
from dataclasses import replace
from math import ceil
from typing import Any, Literal

import cv2
import lightning
import torch
from lightning.pytorch.utilities import CombinedLoader
from torch import Tensor
from torch.utils.data import DataLoader

from unimatch.augment.batched import augment as augmented
from unimatch.augment.strong import StrongAugmentation
from unimatch.augment.views import LabeledView, UnlabeledViews
from unimatch.data.check.before_training import verify
from unimatch.data.loading.bad_images import BadImages
from unimatch.data.loading.datasets import EvaluationDataset, LabeledDataset, UnlabeledDataset, Views, keep_list
from unimatch.data.loading.samplers import EvaluationSampler, Stream, TrainSampler
from unimatch.data.sources.base import SegmentationData, Source
from unimatch.errors import ConfigError
from unimatch.images import nearest_multiple
from unimatch.tensors import normalize
from unimatch.trainer import parts_of

log = logging.getLogger("unimatch")


IMAGE_FIELDS = ("image", "weak", "strong1", "strong2")
LABEL_FIELDS = ("label", "truth")


class SemiSupervisedDataModule(lightning.LightningDataModule):
    """Loaders of labelled and unlabelled images for any method, and of validation and test images.

    A training batch is ``{"labeled": ..., "unlabeled": ...}`` (:class:`unimatch.types.TrainBatch`), with ``batch_size``
    labelled images and ``unlabeled_ratio`` times as many unlabelled ones per process. An epoch is one pass over the
    unlabelled list; the labelled list is repeated, whole and then cut, to the length of the unlabelled one, or to that
    divided by the ratio. (Where there are more labelled than unlabelled images, each epoch
    draws others of them, so that none is left out for good.) Methods whose ``uses_unlabeled`` is False get labelled
    batches only: the same ones in the same order, as long as the unlabelled list is the longer one. Methods whose
    ``uses_partner`` is True get a second unlabelled batch, ``"partner"``: the same list in an order of its own.

    Args:
        data: which images, from :func:`unimatch.data.camvid` and its like.
        crop: side of the training views, pixels.
        crop_multiple: the crop is rounded to the nearest multiple of this, an encoder's ``size_multiple``.
        scale: lowest and highest factor by which an image's long side is resized before the crop.
        flip: probability of a horizontal flip.
        batch_size: labelled images per process and step.
        unlabeled_ratio: unlabelled images for each labelled one of a step; FixMatch has 7 for classification.
        labeled_length: length the labelled list is repeated to, if it is shorter, when no unlabelled images are
            used; None for that of the longer one of the two lists.
        labeled_strong: also augments labelled images strongly (for a labelled-only baseline).
        cutmix: probability of a CutMix box in a strong view.
        strong: the strong augmentation.
        augment: where colour jitter, grayscale and blur are carried out: by the ``workers``, image by image, or on the
            ``device``, for the whole batch, in floats. The draws are the same.
        workers: processes per loader; 0 loads in the training process. The batches do not depend on it.
        seed: of order and views.

    Raises:
        ConfigError: a number that cannot be.
        DataError: from :meth:`setup`, if the data set has faults (:func:`unimatch.data.check.before_training.verify`).
    """

    def __init__(
        self,
        data: SegmentationData,
        *,
        crop: int,
        crop_multiple: int = 1,
        scale: Sequence[float] = (0.5, 2.0),
        flip: float = 0.5,
        batch_size: int = 4,
        unlabeled_ratio: int = 1,
        labeled_length: int | None = None,
        labeled_strong: bool = False,
        cutmix: float = 0.5,
        strong: StrongAugmentation | None = None,
        augment: Literal["workers", "device"] = "workers",
        workers: int = 4,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if len(scale) != 2 or not 0 < scale[0] <= scale[1]:
            raise ConfigError(f"datamodule.scale={list(scale)}: lowest and highest factor, both above 0, are needed")
        for key, number, lowest in (
            ("crop", crop, 1),
            ("batch_size", batch_size, 1),
            ("unlabeled_ratio", unlabeled_ratio, 1),
            ("workers", workers, 0),
        ):
            if number < lowest:
                raise ConfigError(f"datamodule.{key}={number}: must be at least {lowest}")
        for key, probability in (("flip", flip), ("cutmix", cutmix)):
            if not 0 <= probability <= 1:
                raise ConfigError(f"datamodule.{key}={probability}: must be a probability, 0 to 1")
        if augment not in ("workers", "device"):
            raise ConfigError(f"datamodule.augment={augment}: workers or device")
        self.data = data
        self.crop = nearest_multiple(crop, crop_multiple)
        self.batch_size, self.workers, self.seed = batch_size, workers, seed
        self.unlabeled_ratio = unlabeled_ratio
        self.labeled_length = labeled_length
        self.strong = strong or StrongAugmentation()
        on_device = augment == "device"
        limits = (float(scale[0]), float(scale[1]))
        self.labeled_view: Views = LabeledView(
            self.crop, limits, flip, strong=self.strong if labeled_strong else None, cutmix=cutmix, on_device=on_device
        )
        self.unlabeled_views: Any = UnlabeledViews(
            self.crop, limits, flip, strong=self.strong, cutmix=cutmix, on_device=on_device
        )
        self.bad_images = BadImages(data.unlabeled)
        self._verified = False

    @property
    def uses_unlabeled(self) -> bool:
        """Whether the attached method trains on unlabelled images."""
        return bool(self._asks("uses_unlabeled", True))

    def _asks(self, name: str, default: Any) -> Any:
        """What the attached method says it needs."""
        method = self.trainer.lightning_module if self.trainer is not None else None
        return getattr(method, name, default)

    @property
    def epoch_length(self) -> int:
        """Labelled images in one epoch, all processes together, before the last partial batch is dropped."""
        as_unlabeled = ceil(len(self.data.unlabeled) / self.unlabeled_ratio)
        if self.uses_unlabeled:
            return as_unlabeled
        return max(self.labeled_length or as_unlabeled, len(self.data.labeled))

    def setup(self, stage: str) -> None:
        """Check the data once, before the long work starts."""
        if stage == "fit" and not self._verified:
            verify(self.data, needs_unlabeled=self.uses_unlabeled)
            world = self._world()[0]
            ratio = self.unlabeled_ratio if self.uses_unlabeled else 1
            images = len(self.data.unlabeled) if self.uses_unlabeled else self.epoch_length
            parts = parts_of(self.trainer)
            if images < self.batch_size * ratio * world * parts:
                raise ConfigError(
                    f"datamodule.batch_size={self.batch_size}"
                    + f", unlabeled_ratio={ratio}" * (ratio > 1)
                    + f", trainer.global_batch={self.batch_size * world * parts}" * (parts > 1)
                    + f": an epoch of {images} images does not fill one batch on {world} process(es); lower it"
                )
            if len(self.data.val) < world:
                raise ConfigError(f"{len(self.data.val)} validation images cannot be shared by {world} processes")
            self._verified = True

    def train_dataloader(self) -> CombinedLoader:
        """Labelled and unlabelled loaders side by side; the shorter one, the unlabelled, ends the epoch."""
        loaders: dict[str, DataLoader] = {
            "labeled": self._train_loader(LabeledDataset(self.data.labeled, self.labeled_view, self.seed), "labeled")
        }
        if self.uses_unlabeled:
            views = replace(self.unlabeled_views, strong_views=self._asks("strong_views", 2))
            streams: list[Stream] = ["unlabeled", "partner"] if self._asks("uses_partner", False) else ["unlabeled"]
            skip_bad = self.data.on_bad_image == "skip"
            for stream in streams:
                dataset = UnlabeledDataset(self.data.unlabeled, views, self.seed, stream, skip_bad=skip_bad)
                loaders[stream] = self._train_loader(dataset, stream)
        return CombinedLoader(loaders, mode="min_size")

    def val_dataloader(self) -> DataLoader:
        """Validation images one by one; batching would not change the result (images are evaluated singly)."""
        return self._evaluation_loader(self.data.val)

    def test_dataloader(self) -> DataLoader:
        """Test images one by one.

        Raises:
            ConfigError: the data set has no test images.
        """
        if self.data.test is None:
            raise ConfigError(
                f"the data set {self.data.info.name} has no test images here: add its test folder, or use the "
                "validation images"
            )
        return self._evaluation_loader(self.data.test)

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Count the unlabelled images that were replaced, while the batch is on the CPU."""
        if isinstance(batch, dict):
            for part in batch.values():
                if "bad" in part:
                    self.bad_images.add(part.pop("bad"))
        return batch

    def teardown(self, stage: str) -> None:
        """Say how many unlabelled images were replaced."""
        report = self.bad_images.report()
        if stage == "fit" and report:
            log.warning("%s", report)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run must know."""
        return {"bad_images": dict(self.bad_images.counts)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue counting."""
        self.bad_images.counts.update(state_dict["bad_images"])

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Make the strong views that are left to the device, normalise images and widen masks."""
        if isinstance(batch, list):
            return [prepare(sample) for sample in batch]
        return {name: prepare(self._augmented(part)) for name, part in batch.items()}

    def _augmented(self, part: dict[str, Tensor]) -> dict[str, Tensor]:
        """The part of a batch with the strong views whose changes were only drawn."""
        result = {name: value for name, value in part.items() if not name.startswith("change")}
        sigma = self.strong.blur_sigma[1]
        if "change" in part:
            result["image"] = augmented(part["image"], part["change"], sigma)
        changes = [part[name] for name in ("change1", "change2") if name in part]
        if changes:
            views = augmented(torch.cat([part["weak"]] * len(changes)), torch.cat(changes), sigma).chunk(len(changes))
            result |= {f"strong{number}": view for number, view in enumerate(views, 1)}
        return result

    def _world(self) -> tuple[int, int]:
        return (self.trainer.world_size, self.trainer.global_rank) if self.trainer is not None else (1, 0)

    def _start(self) -> tuple[int, int]:
        """(epoch, batch) at which a resumed training continues: the method has it from the checkpoint."""
        method = self.trainer.lightning_module if self.trainer is not None else None
        return getattr(method, "start", (0, 0))

    def _train_loader(self, dataset: LabeledDataset | UnlabeledDataset, stream: Stream) -> DataLoader:
        world, rank = self._world()
        labeled = stream == "labeled"
        batch_size = self.batch_size if labeled else self.batch_size * self.unlabeled_ratio
        sampler = TrainSampler(
            self.epoch_length if labeled else len(dataset.source),
            batch_size,
            seed=self.seed,
            stream=stream,
            population=len(dataset.source),
            parts=parts_of(self.trainer),
            num_replicas=world,
            rank=rank,
            start=self._start(),
        )
        return DataLoader(
            dataset,
            batch_size=batch_size,
            sampler=sampler,
            drop_last=True,
            num_workers=self.workers,
            worker_init_fn=prepare_worker,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.workers > 0,
        )

    def _evaluation_loader(self, source: Source) -> DataLoader:
        world, rank = self._world()
        return DataLoader(
            EvaluationDataset(source),
            batch_size=1,
            sampler=EvaluationSampler(len(source), num_replicas=world, rank=rank),
            num_workers=min(self.workers, 2),
            worker_init_fn=prepare_worker,
            collate_fn=keep_list,
            pin_memory=torch.cuda.is_available(),
        )


def prepare(sample: dict[str, Tensor]) -> dict[str, Tensor]:
    """Normalise the images and widen the masks to int64; the other fields stay."""
    result = dict(sample)
    for name in IMAGE_FIELDS:
        if name in result:
            result[name] = normalize(result[name])
    for name in LABEL_FIELDS:
        if name in result:
            result[name] = result[name].long()
    return result


def prepare_worker(worker: int) -> None:
    """Let workers share the cores among themselves, and outlive a signal to all processes of the run.

    The main process finishes its step after such a signal, and needs batches for that; it ends its workers itself. One
    that it cannot end so dies by the alarm.
    """
    cv2.setNumThreads(0)  # no threads of OpenCV's below a worker
    for name in ("SIGINT", "SIGUSR1"):
        if hasattr(signal, name):  # Windows has fewer
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if hasattr(signal, "alarm"):
        signal.signal(signal.SIGTERM, lambda signum, frame: signal.alarm(30))
