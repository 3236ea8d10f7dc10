"""The data module of all tasks: loads labelled and unlabelled images side by side."""

import logging
from collections import Counter
from collections.abc import Callable
from functools import cached_property
from math import ceil
from typing import Any, ClassVar, Literal

import lightning
import numpy as np
import torch
from lightning.pytorch.utilities import CombinedLoader
from torch.utils.data import DataLoader
from typing_extensions import override

from unimatch.augment import PaddedCrop, RandAugment, ScaledCrop, StrongAugmentation, StrongView, Views, WeakView
from unimatch.augment.base import LARGEST_SIDE, CalledView
from unimatch.augment.batched import with_strong_views
from unimatch.data.check.before_training import verify
from unimatch.data.loading.auto_crop import fitting_side, rounded_down
from unimatch.data.loading.bad_images import BadImages
from unimatch.data.loading.datasets import EvaluationDataset, LabeledDataset, UnlabeledDataset, keep_list
from unimatch.data.loading.rare_classes import ClassCounts, RareClasses, count_classes
from unimatch.data.loading.samplers import EvaluationSampler, Stream, TrainSampler
from unimatch.data.loading.workers import check_open_files, check_sent, prepare_worker
from unimatch.data.sources.base import SegmentationData, Source
from unimatch.data.splits.held_out import HeldOut, hold_out_labels
from unimatch.errors import ConfigError
from unimatch.images.arrays import ImageArray, nearest_multiple
from unimatch.images.tensors import prepare
from unimatch.kinds import checked
from unimatch.options import MOST, is_between, probability, seed_of_numpy, within
from unimatch.trainer import parts_in_batch, parts_of
from unimatch.types import HasNeeds, Needs

log = logging.getLogger("unimatch")


@checked
class SemiSupervisedDataModule(lightning.LightningDataModule):
    """Loads labelled and unlabelled images for any method and task, and validation and test images.

    A training batch is ``{"labeled": ..., "unlabeled": ...}`` (:class:`unimatch.types.TrainBatch`), with ``batch_size``
    labelled images and ``unlabeled_ratio`` times as many unlabelled ones per process. An epoch is one pass over the
    unlabelled list. The labelled list is repeated, and then cut, to the length of the unlabelled one divided by the
    ratio. If it is longer than that, each epoch draws other images from it, so that none is left out for good.

    The attached method says what it needs (:class:`unimatch.types.Needs`). A method without unlabelled images gets only
    labelled batches: the same ones in the same order, unless the labelled list is longer than the unlabelled one. A
    method with a partner gets a second unlabelled batch, ``"partner"``: the same list in another order.

    Args:
        data: the data set, such as :func:`unimatch.data.camvid` returns it.
        crop: side of the training views, in pixels. Once a method is attached, it is rounded to the nearest multiple of
            the model's patch size. ``auto`` chooses it by the size of the images
            (:func:`unimatch.data.loading.auto_crop.fitting_side`), rounded down.
        weak: cuts views out of images; None for the paper's :class:`unimatch.augment.ScaledCrop` or, if an image has
            one class, FixMatch's :class:`unimatch.augment.PaddedCrop`.
        strong: makes strong views of weak ones; may be a function ``(rng, image) -> image``
            (:class:`unimatch.augment.base.CalledView`). None for the paper's
            :class:`unimatch.augment.StrongAugmentation` or, if an image has one class, FixMatch's
            :class:`unimatch.augment.RandAugment`. The defaults of the paper's views are for segmentation; its change
            detection uses ``ScaledCrop((0.8, 1.2))`` and ``StrongAugmentation(grayscale_probability=0.0)``, as
            ``task=change`` does.
        batch_size: labelled images per process and step.
        unlabeled_ratio: unlabelled images for each labelled one of a step; FixMatch uses 7 for classification.
        labeled_length: the length to which a shorter labelled list is repeated if no unlabelled images are used; None
            for the length of the longer list.
        labeled_strong: whether labelled images are augmented strongly too (for a labelled-only baseline).
        held_out: the number of labelled images that are not trained on, and on which pseudo labels are measured at each
            evaluation (:mod:`unimatch.methods.reliability`). ``auto`` is 8, or 5% if that is more, but at most a
            quarter.
        split_seed: chooses the held-out images.
        rare_class_temperature: draws labelled images by their rarest classes, with this ``T``
            (:class:`unimatch.data.loading.rare_classes.RareClasses`); None takes them in turn. The length of an epoch
            stays the same.
        rare_class_crops: the most crops that are drawn of such an image until one shows the class.
        cutmix: probability of a CutMix box in a strong view; None for 0.5 or, if an image has one class, for none.
        augment: where colour jitter, grayscale and blur are computed: by the ``workers`` for each image, or on the
            ``device`` for the whole batch, in floats. The random draws are the same.
        evaluation_batch: images in a batch of evaluation. On a GPU, consecutive images of one size are predicted
            together; elsewhere it changes nothing.
        workers: processes per loader; 0 loads in the training process. Batches do not depend on it.
        seed: of the order and the views.

    Raises:
        ConfigError: a number is out of range, or views do not fit the data or each other.
        DataError: from :meth:`setup`, if the data set has faults (:func:`unimatch.data.check.before_training.verify`).
    """

    puts_parts_together: ClassVar[bool] = True
    """Whether batches hold as many parts of a step as the trainer says (``trainer.parts_at_once``)."""

    def __init__(
        self,
        data: SegmentationData,
        *,
        crop: int | Literal["auto"],
        weak: WeakView | None = None,
        strong: StrongView | Callable[[np.random.Generator, ImageArray], ImageArray] | None = None,
        batch_size: int = 4,
        unlabeled_ratio: int = 1,
        labeled_length: int | None = None,
        labeled_strong: bool = False,
        held_out: HeldOut = None,
        split_seed: int = 0,
        rare_class_temperature: float | None = None,
        rare_class_crops: int = 20,
        cutmix: float | None = None,
        augment: Literal["workers", "device"] = "workers",
        evaluation_batch: int = 1,
        workers: int = 4,
        seed: int = 0,
    ) -> None:
        super().__init__()
        within(1, MOST, batch_size=batch_size, unlabeled_ratio=unlabeled_ratio, rare_class_crops=rare_class_crops)
        within(1, MOST, evaluation_batch=evaluation_batch, labeled_length=labeled_length)
        within(0, MOST, workers=workers)
        if not isinstance(crop, str):
            within(1, LARGEST_SIDE, crop=crop)
        elif crop != "auto":
            raise ConfigError(f"crop={crop}: must be a whole number of pixels, or auto")
        if rare_class_temperature is not None and not is_between(rare_class_temperature, 1e-300, MOST):
            raise ConfigError(f"rare_class_temperature={rare_class_temperature}: must be above 0, such as 0.05")
        seed_of_numpy(seed=seed, split_seed=split_seed)
        probability(cutmix=0.5 if cutmix is None else cutmix)
        if weak is not None and not isinstance(weak, WeakView):
            raise ConfigError(f"weak={weak}: must be a weak view, such as unimatch.augment.ScaledCrop()")
        self.given, self.data = data, hold_out_labels(data, held_out, split_seed)
        self.asked_crop = crop
        self.weak, self.cutmix, self.augment = weak, cutmix, augment
        self.strong = strong if strong is None or isinstance(strong, StrongView) else CalledView(strong)
        # PyTorch's loaders refuse NumPy's integers.
        self.batch_size, self.workers, self.seed = int(batch_size), int(workers), int(seed)
        self.unlabeled_ratio, self.evaluation_batch = int(unlabeled_ratio), int(evaluation_batch)
        self.labeled_length, self.labeled_strong = labeled_length, labeled_strong
        self.rare_class_temperature, self.rare_class_crops = rare_class_temperature, rare_class_crops
        self.bad_images = BadImages(data.unlabeled)
        self.findings = list[str]()
        self._verified = set[Needs]()  # the needs of methods for which the data set was checked
        self._views(1 if crop == "auto" else self.crop)  # raises an error for views that do not go together

    @property
    def needs(self) -> Needs:
        """What the attached method needs."""
        module = self.trainer.lightning_module if self.trainer is not None else None
        return module.needs if isinstance(module, HasNeeds) else Needs()

    @property
    def crop(self) -> int:
        """Side of the views in pixels, rounded to a multiple of the attached model's patch size."""
        multiple = self.needs.size_multiple
        if self.asked_crop == "auto":
            return rounded_down(self.fitting_side, multiple)
        return nearest_multiple(self.asked_crop, multiple)

    @cached_property
    def fitting_side(self) -> int:
        """The value of ``crop=auto`` before it is rounded; some images are read for it once."""
        return fitting_side(self.data)

    @property
    def views(self) -> Views:
        """What makes samples of images, as the attached method needs them."""
        return self._views(self.crop)

    def _views(self, crop: int) -> Views:
        one_class = self.data.one_class
        default = (PaddedCrop(), RandAugment(), 0.0) if one_class else (ScaledCrop(), StrongAugmentation(), 0.5)
        return Views(
            crop,
            self.weak or default[0],
            self.strong or default[1],
            cutmix=default[2] if self.cutmix is None else self.cutmix,
            strong_views=self.needs.strong_views,
            labeled_strong=self.labeled_strong,
            on_device=self.augment == "device",
            one_class=one_class,
            bands=self.data.info.bands,
        )

    @cached_property
    def class_counts(self) -> ClassCounts:
        """How often the labelled images show each class; their masks are read once."""
        return count_classes(self.data.labeled, self.data.info.num_classes)

    @property
    def labeled_pixels(self) -> list[int]:
        """The number of labelled pixels of each class; of labelled images, if an image has one class."""
        return [int(count) for count in self.class_counts.pixels]

    @property
    def epoch_length(self) -> int:
        """Labelled images in one epoch of all processes together, before the last partial batch is dropped."""
        as_unlabeled = ceil(len(self.data.unlabeled) / self.unlabeled_ratio)
        if self.needs.unlabeled:
            return as_unlabeled
        return max(self.labeled_length or as_unlabeled, len(self.data.labeled))

    @override
    def setup(self, stage: str) -> None:
        if stage != "fit":
            return
        self.bad_images.counts.clear()  # those of an earlier fit; those of a checkpoint are loaded later
        check_open_files(self.workers)
        check_sent(self.workers, (self.data, self.views))
        needs, (world, _) = self.needs, self._world()
        if needs not in self._verified:  # once for the needs of a method, before any long work starts
            self.findings = verify(self.given, needs_unlabeled=needs.unlabeled)
            if self.asked_crop == "auto":
                log.info("crop=auto: %d, for images whose shorter side has %d pixels", self.crop, self.fitting_side)
            elif self.crop != self.asked_crop:
                multiple = needs.size_multiple
                log.info("crop %d rounded to %d, a multiple of the patch size %d", self.asked_crop, self.crop, multiple)
            if len(self.data.val) < world:
                raise ConfigError(f"{len(self.data.val)} validation images cannot be shared by {world} processes")
            self._verified.add(needs)
        self._check_batch()

    @override
    def __getstate__(self) -> dict[str, Any]:
        """Leaves out the trainer, which cannot be pickled or copied."""
        return {**self.__dict__, "trainer": None}

    def _check_batch(self) -> None:
        """Refuses a batch larger than an epoch: Lightning would silently train on nothing."""
        needs, (world, _), parts = self.needs, self._world(), parts_of(self.trainer)
        ratio = self.unlabeled_ratio if needs.unlabeled else 1
        images = len(self.data.unlabeled) if needs.unlabeled else self.epoch_length
        if images < self.batch_size * ratio * world * parts:
            raise ConfigError(
                f"batch_size={self.batch_size}"
                + f", unlabeled_ratio={ratio}" * (ratio > 1)
                + f", trainer.global_batch={self.batch_size * world * parts}" * (parts > 1)
                + f": an epoch of {images} images does not fill one batch on {world} process(es); lower it"
            )

    @override
    def train_dataloader(self) -> CombinedLoader:
        self._check_batch()  # again: Lightning's batch-size finder changes it after setup
        rare = None
        if self.rare_class_temperature is not None:
            rare = RareClasses(self.class_counts, self.rare_class_temperature, self.rare_class_crops)
        labeled = LabeledDataset(self.data.labeled, self.views.labeled, self.seed, rare)
        loaders = {"labeled": self._train_loader(labeled, "labeled")}
        streams: list[Stream] = ["unlabeled", "partner"] if self.needs.partner else ["unlabeled"]
        for stream in streams if self.needs.unlabeled else []:
            loaders[stream] = self._train_loader(self.unlabeled_dataset(stream), stream)
        return CombinedLoader(loaders, mode="min_size")  # the unlabelled list ends the epoch

    def unlabeled_dataset(self, stream: Stream) -> UnlabeledDataset:
        """Returns the unlabelled samples of a stream."""
        skip_bad = self.data.on_bad_image == "skip"
        return UnlabeledDataset(self.data.unlabeled, self.views.unlabeled, self.seed, stream, skip_bad=skip_bad)

    @override
    def val_dataloader(self) -> DataLoader:
        return self._evaluation_loader(self.data.val)

    @override
    def test_dataloader(self) -> DataLoader:
        if self.data.test is None:
            raise ConfigError(
                f"the data set {self.data.info.name} has no test images here: add its test folder, or use the "
                "validation images"
            )
        return self._evaluation_loader(self.data.test)

    def held_out_dataloader(self) -> DataLoader | None:
        """Returns a loader of this process's held-out images; None if none are held out.

        Process ``r`` of ``W`` gets images ``r``, ``r + W`` and so on, as in an evaluation, but all processes get
        equally many, since a model that is divided among the processes predicts in all of them at once: the first
        images follow the last one again.
        """
        return None if self.data.held_out is None else self._evaluation_loader(self.data.held_out, padded=True)

    @override
    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        if isinstance(batch, dict):  # a training batch; its replaced images are counted while it is on the CPU
            for part in batch.values():
                if "bad" in part:
                    self.bad_images.add(part.pop("bad"))
        return batch

    @override
    def teardown(self, stage: str) -> None:
        report = self.bad_images.report()
        if stage == "fit" and report:
            log.warning("%s", report)

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"bad_images": dict(self.bad_images.counts)}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.bad_images.counts = Counter(state_dict["bad_images"])  # drops those of a probe before

    @override
    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        if isinstance(batch, list):
            return [prepare(sample, self.data.info.bands) for sample in batch]
        if self.augment == "device" and isinstance(strong := self.views.strong, StrongAugmentation):
            batch = {name: with_strong_views(part, strong.blur_sigma[1]) for name, part in batch.items()}
        return {name: prepare(part, self.data.info.bands) for name, part in batch.items()}

    def _world(self) -> tuple[int, int]:
        """Returns the number of processes, and which one this is."""
        return (self.trainer.world_size, self.trainer.global_rank) if self.trainer is not None else (1, 0)

    def _train_loader(self, dataset: LabeledDataset | UnlabeledDataset, stream: Stream) -> DataLoader:
        world, rank = self._world()
        labeled = stream == "labeled"
        batch_size = self.batch_size if labeled else self.batch_size * self.unlabeled_ratio
        together, (epoch, batches) = parts_in_batch(self.trainer), self.needs.start
        sampler = TrainSampler(
            self.epoch_length if labeled else len(dataset.source),
            batch_size,
            seed=self.seed,
            stream=stream,
            population=len(dataset.source),
            parts=parts_of(self.trainer),
            num_replicas=world,
            rank=rank,
            start=(epoch, batches * together),
        )
        return DataLoader(
            dataset,
            batch_size=batch_size * together,
            sampler=sampler,
            drop_last=True,
            num_workers=self.workers,
            worker_init_fn=prepare_worker,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.workers > 0,
        )

    def _evaluation_loader(self, source: Source, *, padded: bool = False) -> DataLoader:
        world, rank = self._world()
        return DataLoader(
            EvaluationDataset(source, self.data.info.bands),
            batch_size=1 if padded else self.evaluation_batch,
            sampler=EvaluationSampler(len(source), num_replicas=world, rank=rank, padded=padded),
            num_workers=min(self.workers, 2),
            worker_init_fn=prepare_worker,
            collate_fn=keep_list,
            pin_memory=torch.cuda.is_available(),
        )
