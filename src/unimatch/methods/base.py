"""What all methods share: student and teacher, optimiser, evaluation and logs. A method adds its losses.

``training_step`` here calls ``losses`` of the method: that is the whole way from Lightning to the algorithm.
"""

import inspect
import logging
import sys
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import torch
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim import Optimizer
from typing_extensions import override

from unimatch.checkpoints.content import write
from unimatch.errors import ConfigError
from unimatch.lightning_internals import set_log_step
from unimatch.methods import optim
from unimatch.methods.criteria import ClassWeights, criterion_to_balance, labeled_criterion
from unimatch.methods.fit_checks import (
    batch_errors_explained,
    check_classes,
    check_data,
    check_groups,
    check_hooks,
    check_losses,
    check_method,
    check_model,
    check_trainer,
    check_weights,
    time_is_over,
    total_steps,
)
from unimatch.methods.losses import Criterion, Losses
from unimatch.methods.optim import Factor, MakeOptimizer
from unimatch.methods.parts_at_once import BATCH_NORMS, PartsOfSteps
from unimatch.methods.pseudo_quality import PseudoLabelQuality
from unimatch.methods.resuming import continue_from, explain_restoring, write_progress
from unimatch.methods.saved_settings import drop_objects, settings_of
from unimatch.methods.sharding import shard
from unimatch.methods.teacher import PUBLISHED_DECAY, Teacher, fitting_decay, forget_places
from unimatch.models.base import Model
from unimatch.models.descriptions import check_logits, describe_model
from unimatch.options import NamedOptions, is_between, not_negative, probability, seed_of_numpy
from unimatch.speed.apply import speed_up
from unimatch.tasks import Task, chosen_task
from unimatch.types import CountsClasses, Needs, TrainBatch

log = logging.getLogger("unimatch")


class Method(PartsOfSteps, NamedOptions, ABC):
    """Trains a student and its EMA teacher; a subclass computes the losses.

    Args:
        model: the student; the teacher starts as its copy.
        learning_rate: of the encoder.
        decoder_multiplier: the rest learns at ``learning_rate`` times this.
        optimizer: ``adamw``, the paper's, or ``sgd`` with Nesterov momentum 0.9, FixMatch's for classification; or
            a callable that makes one from a list of parameter groups, each with its learning rate, such as
            ``torch.optim.RAdam``.
        schedule: of the learning rates over the whole run: ``poly``, the paper's, or ``cosine``, FixMatch's; or a
            function ``(step, total steps) -> factor``.
        weight_decay: of every parameter, with ``adamw`` and ``sgd``.
        decay_norms: False for no weight decay on norms and biases.
        layer_decay: layer-wise learning-rate decay: below 1, the encoder's earlier layers get smaller rates
            (:func:`unimatch.methods.optim.parameter_groups`).
        ema_decay: the teacher's largest decay. Short runs need less than the published 0.996, because the teacher lags
            about ``1 / (1 - ema_decay)`` steps behind. None to choose it by the number of steps
            (:func:`unimatch.methods.teacher.fitting_decay`) and log it.
        criterion: of the labelled images: ``ce``, cross-entropy, or ``ohem``, online hard example mining; or a
            function or module of logits and labels that returns a scalar. It sees logits (B, C, H, W) float32 at the
            labels' size, upsampled from the decoder's, and labels (B, H, W) int64 with 255 for pixels that do not
            count; in classification (B, C) and (B,).
        ohem_threshold: ``threshold`` of :func:`unimatch.methods.losses.ohem_cross_entropy`.
        ohem_min_kept: its ``min_kept``.
        class_weights: of the classes in ``ce`` and ``ohem``: a number for each, or ``balanced``, which counts the
            labelled pixels before training (:func:`unimatch.methods.criteria.balanced_weights`). The losses of pseudo
            labels have no class weights.
        dice: weight of :func:`unimatch.methods.losses.dice_loss`, which is added to the criterion.
        freeze_batch_statistics: train with BatchNorm's running statistics, and do not update them. With few images a
            step, batch statistics are noisy, and those of strong views differ from those of weak views.
        reference_batch: the number of labelled images in an optimizer step that ``learning_rate`` is meant for. A step
            with twice as many doubles the rate. None to use ``learning_rate`` unchanged.
        seed: of the random choices inside a step.
        task: how the model is evaluated; None for the model's own task, on whole images.
    """

    uses_unlabeled: ClassVar[bool] = True
    """Whether ``losses`` needs ``batch["unlabeled"]``."""
    uses_partner: bool = False
    """Whether ``losses`` needs a second unlabelled batch, ``batch["partner"]``."""
    strong_views: int = 2
    """How many strong views of each unlabelled image ``losses`` needs, 1 or 2."""

    def __init__(
        self,
        model: Model,
        *,
        learning_rate: float = 5e-6,
        decoder_multiplier: float = 40.0,
        optimizer: Literal["adamw", "sgd"] | MakeOptimizer = "adamw",
        schedule: Literal["poly", "cosine"] | Factor = "poly",
        weight_decay: float = 0.01,
        decay_norms: bool = True,
        layer_decay: float = 1.0,
        ema_decay: float | None = PUBLISHED_DECAY,
        criterion: Literal["ce", "ohem"] | Criterion = "ce",
        ohem_threshold: float = 0.7,
        ohem_min_kept: int = 200_000,
        class_weights: ClassWeights | None = None,
        dice: float = 0.0,
        freeze_batch_statistics: bool = False,
        reference_batch: int | None = None,
        seed: int = 0,
        task: Task | None = None,
    ) -> None:
        super().__init__()
        check_model(model)
        not_negative(decoder_multiplier=decoder_multiplier, weight_decay=weight_decay, ohem_min_kept=ohem_min_kept)
        if not is_between(learning_rate, sys.float_info.min, sys.float_info.max):
            raise ConfigError(f"learning_rate={learning_rate}: must be above 0")
        optim.check_choices(optimizer, schedule, reference_batch)
        if not is_between(layer_decay, sys.float_info.min, 1):
            raise ConfigError(f"layer_decay={layer_decay}: must be above 0 and at most 1")
        if ema_decay is not None and (not is_between(ema_decay, 0, 1) or ema_decay == 1):
            raise ConfigError(f"ema_decay={ema_decay}: must be at least 0 and below 1")
        probability(ohem_threshold=ohem_threshold)
        seed_of_numpy(seed=seed)
        self.student: Model = model
        self.teacher: Teacher[Model] = Teacher(model, PUBLISHED_DECAY if ema_decay is None else ema_decay)
        # Python's floats: the optimiser's state holds them, and a checkpoint with NumPy's would not be read.
        self.learning_rate, self.decoder_multiplier = float(learning_rate), float(decoder_multiplier)
        self.optimizer, self.schedule = optimizer, schedule
        self.weight_decay, self.decay_norms, self.layer_decay = float(weight_decay), decay_norms, float(layer_decay)
        self.freeze_batch_statistics, self.reference_batch = freeze_batch_statistics, reference_batch
        self.ema_decay, self.seed = ema_decay, seed
        self.task = chosen_task(task, model)
        self.criterion: Criterion = labeled_criterion(
            criterion,
            num_classes=model.num_classes,
            ignore_index=self.task.ignore_index,
            ohem_threshold=ohem_threshold,
            ohem_min_kept=ohem_min_kept,
            class_weights=class_weights,
            dice=dice,
            areas=self.task.areas,
        )
        self.build_metrics(("student", "teacher"), model.num_classes)
        self.pseudo_quality = PseudoLabelQuality(model.num_classes)
        self.model_description: dict[str, object] | None = None  # of before layers are replaced for speed
        self.begin_anew()
        self.train()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        check_hooks(cls, Method)

    def begin_anew(self) -> None:
        """Discards the progress of an earlier fit; that of a checkpoint to continue from is read later."""
        if self.student.unlock_after:
            self.student.lock()
        forget_places(self.student, self.teacher.model)  # their modules may have been replaced since an earlier fit
        self.start = (0, 0)  # (epoch, batch) at which the data begin; later only when a training is resumed
        self.forget_evaluations()

    @abstractmethod
    def losses(self, batch: TrainBatch, generator: torch.Generator) -> Losses:
        """Computes one step's losses.

        Args:
            batch: normalised images on the module's device.
            generator: for every random choice of the step, on the same device. If the batch holds several parts of a
                step (``trainer.parts_at_once``), it has a generator for each (:mod:`unimatch.methods.parts_in_batch`).
        """

    def losses_at(self, step: int, batch: TrainBatch, generator: torch.Generator) -> Losses:
        """Computes the losses of an optimizer step, counted from 0; here those of every step."""
        return self.losses(batch, generator)

    @property
    def needs(self) -> Needs:
        """What this method needs from the data module."""
        return Needs(self.uses_unlabeled, self.uses_partner, self.strong_views, self.student.size_multiple, self.start)

    @override
    def training_step(self, batch: TrainBatch, batch_idx: int) -> Tensor:
        generator = self.step_generator(batch_idx)
        torch.manual_seed(generator.initial_seed())  # for the model's own dropout: resuming restores no state of it
        with batch_errors_explained(batch, unlabeled=self.uses_unlabeled):
            losses = self.losses_at(self.global_step, batch, generator)
        check_losses(losses)
        self.log("train/loss", losses.total.detach())
        for name, value in losses.parts.items():
            self.log(f"train/{name}", value.detach())
        for number, group in enumerate(self.trainer.optimizers[0].param_groups):
            name = group.get("name", number)  # the groups of a subclass's optimiser may have no names
            self.log(f"lr/{name}", torch.tensor(group["lr"]))  # Lightning would copy a number to the device, and wait
        if losses.pseudo is not None and self.global_step % self.log_interval == 0:
            pseudo = losses.pseudo
            confident = pseudo.confidence >= pseudo.tau
            self.pseudo_quality.update(pseudo.label, confident, pseudo.valid, batch["unlabeled"]["truth"])
        return losses.total

    @property
    def log_interval(self) -> int:
        """Steps between two rows of the log."""
        return max(1, int(getattr(self.trainer, "log_every_n_steps", 50)))

    @override
    def optimizer_step(self, *arguments: Any, **options: Any) -> None:
        """Steps the optimiser, then updates the teacher: once for each step, not for each accumulated batch."""
        iteration = self.global_step
        self.teacher.keep_apart()
        super().optimizer_step(*arguments, **options)
        if any(parameter.grad is not None for parameter in self.student.parameters()):  # the step was not skipped
            self.teacher.update(self.student, iteration)

    @override
    def setup(self, stage: str) -> None:
        if stage == "fit":
            self.prepare_fit()
        super().setup(stage)
        explain_restoring(self.trainer)
        speed_up(self, self.trainer.strategy.root_device)

    def prepare_fit(self) -> None:
        """Checks method, model and data, and returns to the state before the first step."""
        check_method(self)
        check_model(self.student)
        self.begin_anew()
        check_weights(self.student)
        self.model_description = describe_model(self.student)
        if "own" in self.model_description:
            check_logits(self.student)
        datamodule = getattr(self.trainer, "datamodule", None)
        check_classes(self.student, datamodule)
        check_data(self.task, datamodule)
        self.train()  # Lightning keeps the mode that it finds
        self.check_datamodule(datamodule)
        self.put_parts_together()
        weighted = criterion_to_balance(self.criterion)
        if weighted is not None and isinstance(datamodule, CountsClasses):
            weighted.balance(datamodule.labeled_pixels)  # a checkpoint's weights are read later

    def check_datamodule(self, datamodule: object) -> None:
        """Refuses a data module that lacks what the settings need, before it reads any data; None for plain loaders."""
        counts = inspect.getattr_static(datamodule, "labeled_pixels", None) is not None  # the property would count now
        if criterion_to_balance(self.criterion) is not None and not counts:
            raise ConfigError(
                "class_weights=balanced: only a data module with labeled_pixels counts the labelled pixels, such as "
                "SemiSupervisedDataModule; with other loaders give a number for each class"
            )

    @override
    def on_fit_start(self) -> None:
        check_trainer(self.trainer)

    @override
    def on_train_start(self) -> None:
        """Ends a resumed training at once if it has used up ``trainer.max_time`` already."""
        if self.evaluations and time_is_over(self.trainer):
            self.trainer.should_stop = True

    @override
    def configure_model(self) -> None:
        """Divides student and teacher among the processes in the same way, if the strategy is FSDP2."""
        mesh = self.device_mesh
        if mesh is not None and self.student.unlock_after:
            raise ConfigError("unlock_after: FSDP2 divides the trained parameters before the first step; use 0")
        if mesh is not None:
            for model in (self.student, self.teacher.model):
                shard(model, mesh["data_parallel"])

    @override
    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Returns the optimiser and its learning-rate schedule over the whole run, whose length must be known."""
        total = total_steps(self.trainer)
        if self.ema_decay is None:
            self.teacher.decay = fitting_decay(total)
            log.info("the teacher's decay is %.4g, which fits a training of %d steps", self.teacher.decay, total)
        # Under AMP, Lightning refuses to clip gradients with a fused optimiser, because that may unscale them itself.
        # FSDP2 has no fused SGD.
        amp = isinstance(self.trainer.precision_plugin, MixedPrecision)
        clipped_under_amp = amp and self.trainer.gradient_clip_val is not None
        optimizer = self.build_optimizer(
            factor=optim.learning_rate_factor(self.trainer, self.reference_batch),
            fused=self.trainer.scaler is None and self.device_mesh is None and not clipped_under_amp,
        )
        scheduler = optim.build_schedule(self.schedule, optimizer, total)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def build_optimizer(self, *, factor: float = 1.0, fused: bool = True) -> Optimizer:
        """Builds the student's optimiser, its rates times ``factor``; ``fused``: in one kernel where there is one."""
        groups = optim.parameter_groups(
            self.student,
            learning_rate=self.learning_rate * factor,
            decoder_multiplier=self.decoder_multiplier,
            layer_decay=self.layer_decay,
            decay_norms=self.decay_norms,
        )
        if not isinstance(self.optimizer, str):
            return optim.custom_optimizer(self.optimizer, groups)
        return optim.build_optimizer(self.optimizer, groups, weight_decay=self.weight_decay, fused=fused)

    @override
    def train(self, mode: bool = True) -> "Method":
        """Sets the student's mode; BatchNorms with frozen statistics stay in eval mode, and so does the teacher."""
        super().train(mode)
        if mode and self.freeze_batch_statistics:
            for module in self.student.modules():
                if isinstance(module, BATCH_NORMS):
                    module.eval()
        return self

    @override
    def on_train_batch_start(self, *arguments: Any, **options: Any) -> None:
        """Makes logs count the optimizer's steps, also after resuming; unlocks the encoder when its step has come."""
        set_log_step(self.trainer, self.global_step)
        check_groups(self.trainer)
        if self.student.locked and 0 < self.student.unlock_after <= self.global_step:
            self.unlock_encoder()

    def unlock_encoder(self) -> None:
        """Trains the student's encoder from now on; the teacher no longer shares it."""
        self.student.unlock()
        self.train(self.training)  # BatchNorm with frozen statistics stays in eval mode
        self.teacher.keep_apart()
        strategy = self.trainer.strategy
        if isinstance(strategy, DDPStrategy):  # DDP exchanges gradients of what was trainable when it was configured
            strategy.model = self
            strategy.configure_ddp()

    @override
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds how to build model and method, so that the file suffices to use them, and where the training stands."""
        write(checkpoint, self.model_description or describe_model(self.student))
        write(checkpoint, settings_of(self))
        drop_objects(checkpoint)
        write_progress(checkpoint, self)

    @override
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Continues where the checkpoint was saved; refuses one from the middle of an optimizer step."""
        continue_from(checkpoint, self)
