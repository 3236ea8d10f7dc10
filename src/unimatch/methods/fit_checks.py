"""Checks before a method is trained: do trainer and data fit it?"""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import GradientAccumulationScheduler, ModelPruning, StochasticWeightAveraging, Timer

from unimatch.data.sources.base import SegmentationData
from unimatch.errors import ConfigError
from unimatch.lightning_internals import is_compiled
from unimatch.methods.losses import Losses
from unimatch.models.base import Model
from unimatch.options import one_of
from unimatch.tasks import Task
from unimatch.trainer import PRECISIONS

HOOKS = (
    "setup",
    "configure_model",
    "train",
    "on_fit_start",
    "on_train_batch_start",
    "optimizer_step",
    "on_train_batch_end",
    "on_validation_epoch_start",
    "validation_step",
    "on_validation_epoch_end",
    "on_validation_end",
    "on_test_epoch_start",
    "test_step",
    "on_test_epoch_end",
    "on_test_end",
    "on_save_checkpoint",
    "on_load_checkpoint",
)
"""Lightning's hooks in which a method does work that an override must not leave out."""

REFUSED_CALLBACKS = {
    StochasticWeightAveraging: "would set the teacher's batch statistics to zero, and evaluate it so; the teacher is "
    "an average of the student's weights already: leave the callback out",
    ModelPruning: "would rename the student's weights, in which the teacher follows it; leave the callback out, and "
    "prune the network of unimatch.load_model after training",
    GradientAccumulationScheduler: "would change how many steps the training has, from which the learning rates "
    "follow; give trainer.accumulate_grad_batches in its place",
}
"""Lightning's callbacks that would break a method, with the reason and what to do instead."""


def check_hooks(kind: type, base: type) -> None:
    """Refuses a subclass that overrides one of a method's hooks without calling ``super()``.

    Without :meth:`unimatch.Method.optimizer_step`, for example, the teacher would silently stand still.

    Args:
        kind: the subclass.
        base: :class:`unimatch.Method`.

    Raises:
        ConfigError: naming the hook.
    """
    for name in HOOKS:
        hook = inspect.unwrap(getattr(kind, name))
        code = getattr(hook, "__code__", None)
        if hook is inspect.unwrap(getattr(base, name)) or code is None or code.co_name != name:
            continue  # the code of a decorator's wrapper does not show what the hook calls
        if not {"super", "__class__", name} & {*code.co_names, *code.co_freevars}:
            raise ConfigError(
                f"{kind.__name__}.{name}: leaves out what a method does there; call super().{name}(...) in it, with "
                "the same arguments"
            )


def check_trainer(trainer: lightning.Trainer) -> None:
    """Refuses a trainer that has an unsuitable precision or callback, has nothing to train, or ends unevaluated.

    Raises:
        ConfigError: naming the setting or the callback.
    """
    one_of("precision", trainer.precision, PRECISIONS)
    trainer.should_stop = False  # trial runs before the fit, such as Lightning's BatchSizeFinder's, leave it set
    if trainer.overfit_batches:  # type: ignore[attr-defined]
        raise ConfigError(
            f"trainer.overfit_batches={trainer.overfit_batches}: Lightning would put its own order of samples in the "  # type: ignore[attr-defined]
            "place of ours, from which the views are drawn; give data of a few labelled images, or limit_train_batches"
        )
    for kind, why in REFUSED_CALLBACKS.items():
        if any(isinstance(callback, kind) for callback in trainer.callbacks):  # type: ignore[attr-defined]
            raise ConfigError(f"{kind.__name__}: {why}")
    steps, epochs = trainer.max_steps, trainer.max_epochs or -1
    # These counters are an earlier fit's: those of a checkpoint are restored later.
    if 0 < steps <= trainer.global_step or 0 < epochs <= trainer.current_epoch:
        raise ConfigError(
            f"this trainer has trained {trainer.global_step} steps already, all that it was made for, and would train "
            "nothing; make a new one"
        )
    every = 1 if trainer.check_val_every_n_epoch is None else trainer.check_val_every_n_epoch
    if every < 1:
        raise ConfigError(f"trainer.check_val_every_n_epoch={every}: must be at least 1, or null to count steps alone")
    if every > 1 and (epochs < 0 or epochs % every or steps > 0):
        raise ConfigError(
            f"trainer.check_val_every_n_epoch={every} would leave the end of training without an evaluation: choose a "
            "divisor of trainer.max_epochs, or evaluate every N steps: trainer.val_check_interval=N "
            "trainer.check_val_every_n_epoch=null"
        )


def time_is_over(trainer: lightning.Trainer) -> bool:
    """Returns whether the training has used up its ``max_time``, counting the time before it was resumed."""
    left = [timer.time_remaining() for timer in trainer.callbacks if isinstance(timer, Timer)]  # type: ignore[attr-defined]
    return any(seconds is not None and seconds <= 0 for seconds in left)


def total_steps(trainer: lightning.Trainer) -> int:
    """Returns how many optimizer steps the training has.

    Raises:
        ConfigError: the trainer sets no end, or has no step to take.
    """
    for name in ("max_epochs", "max_steps", "limit_train_batches"):
        if getattr(trainer, name) == 0:
            raise ConfigError(f"trainer.{name}=0: would train nothing; trainer.validate evaluates without training")
    total = trainer.estimated_stepping_batches
    if total == float("inf") or total < 1:
        raise ConfigError(
            "the length of training is not set, from which the learning rates follow: give trainer.max_epochs or "
            "trainer.max_steps (trainer.max_time alone does not tell how many steps there will be)"
        )
    return int(total)


def check_groups(trainer: lightning.Trainer) -> None:
    """Refuses parameter groups that a callback has added to the optimiser: the schedule does not know their rates.

    Raises:
        ConfigError: naming the options that freeze an encoder, for a while or for good.
    """
    for scheduler in (config.scheduler for config in trainer.lr_scheduler_configs):
        optimizer, rates = getattr(scheduler, "optimizer", None), getattr(scheduler, "base_lrs", None)
        if optimizer is not None and rates is not None and len(optimizer.param_groups) != len(rates):
            raise ConfigError(
                f"the optimiser had {len(rates)} parameter groups and now has {len(optimizer.param_groups)}: a "
                "callback, such as Lightning's BaseFinetuning, has added some, whose rates the schedule does not know; "
                "leave it out. SegmentationModel(..., unlock_after=N) holds the encoder still for N steps, and "
                "freeze=True for all of them"
            )


def check_losses(losses: object) -> None:
    """Refuses a result of a method's ``losses`` that the student cannot be trained with.

    Raises:
        ConfigError: saying what ``losses`` must return.
    """
    if not isinstance(losses, Losses) or not isinstance(losses.total, torch.Tensor):
        found = f"total={losses.total!r:.40}" if isinstance(losses, Losses) else type(losses).__name__
        fault = f"must return unimatch.Losses(total=..., parts=...) of tensors, and returns {found}"
    elif losses.total.numel() != 1:
        fault = f"total must be one number, and has the shape {tuple(losses.total.shape)}: take its mean"
    elif torch.is_grad_enabled() and not losses.total.requires_grad:
        fault = "total does not depend on the student's weights: compute it from self.student(...), without no_grad"
    else:
        return
    raise ConfigError(f"losses: {fault} (docs/new_method.md)")


def check_model(model: object) -> None:
    """Refuses a network that is not a :class:`unimatch.models.Model`, or is compiled.

    Raises:
        ConfigError: saying what to give instead.
    """
    if hasattr(model, "_orig_mod"):  # the mark of torch.compile; importing its class for isinstance takes seconds
        raise ConfigError("model: is compiled by torch.compile; give it as it is, and unimatch.Trainer(compile=True)")
    if not isinstance(model, Model):
        raise ConfigError(
            f"model: a method trains a SegmentationModel, ChangeModel or Classifier, and this is "
            f"{type(model).__name__}; the encoder and the decoder of one may be modules of your own: "
            "SegmentationModel(encoder, num_classes) (docs/library.md, Networks of your own)"
        )


def check_method(method: lightning.LightningModule) -> None:
    """Refuses a method whose steps Lightning does not take, or which ``torch.compile`` compiles as a whole.

    Compiling its views, random choices and logs takes many minutes.

    Raises:
        ConfigError: saying what to do instead.
    """
    if not method.automatic_optimization:
        raise ConfigError(
            "automatic_optimization=False: the optimiser and the teacher would never step; leave the steps to "
            "Lightning, and override configure_optimizers or optimizer_step"
        )
    if is_compiled(method):
        raise ConfigError(
            "torch.compile: cannot compile a method as a whole; give fit the method itself, and compile its networks "
            "by unimatch.Trainer(compile=True)"
        )


def check_weights(model: Model) -> None:
    """Refuses weights that cannot be trained: those of inference mode, and those that are not float32.

    Raises:
        ConfigError: saying how to make weights that can.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if torch.is_inference_mode_enabled() or any(parameter.is_inference() for parameter in trained):
        raise ConfigError(
            "torch.inference_mode: nothing can be trained within it, nor a model that was built within it; make the "
            "model, and call fit, outside of it"
        )
    for parameter in trained:
        if parameter.dtype != torch.float32:
            raise ConfigError(
                f"the model's weights are {str(parameter.dtype).removeprefix('torch.')}, and its images float32: call "
                "model.float() before the method is made (torch.set_default_dtype decides what a new model is)"
            )


@contextmanager
def batch_errors_explained(batch: Any, *, unlabeled: bool) -> Iterator[None]:
    """Explains an error of the losses if it comes from a batch that is not a :class:`unimatch.types.TrainBatch`.

    Args:
        batch: what the data loader returned.
        unlabeled: whether the method needs unlabelled images.

    Raises:
        ConfigError: saying what a batch must hold.
    """
    try:
        yield
    except (LookupError, TypeError, RuntimeError) as error:
        parts = ["labeled", "unlabeled"] if unlabeled else ["labeled"]
        if not isinstance(batch, Mapping) or not all(isinstance(batch.get(part), Mapping) for part in parts):
            held = ", ".join(map(str, batch)) if isinstance(batch, Mapping) else type(batch).__name__
            raise ConfigError(
                f"a batch of training must hold {' and '.join(parts)} samples (unimatch.TrainBatch), and this one is "
                f"{held}: give fit a SemiSupervisedDataModule, which makes the views; SegmentationData.from_datasets "
                "takes any PyTorch data sets"
            ) from error
        if not batch["labeled"]["image"].is_floating_point():
            raise ConfigError(
                "the images of a batch of training are not normalised: give fit the data module itself, not its loaders"
            ) from error
        raise


def check_data(task: Task, datamodule: object) -> None:
    """Refuses data of another task, such as single images where pairs of dates are needed.

    Raises:
        ConfigError: saying what the task needs and what the data set has.
    """
    data = getattr(datamodule, "data", None)
    if isinstance(data, SegmentationData) and len(data.labeled):
        task.check_data(data)


def check_classes(model: Model, datamodule: object) -> None:
    """Refuses data with more classes than the model has; data that do not state their number are not checked.

    Raises:
        ConfigError: naming both numbers.
    """
    info = getattr(getattr(datamodule, "data", None), "info", None)
    if info is not None and info.num_classes > model.num_classes:
        raise ConfigError(
            f"num_classes={model.num_classes}: the data has {info.num_classes} classes; build the model with "
            "num_classes=data.info.num_classes"
        )
