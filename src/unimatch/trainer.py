"""Lightning's trainer, with optimizer steps of a given number of images at any number of processes."""

import os
from collections.abc import Mapping
from typing import Any, Literal, get_args

import lightning
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.accelerators import CUDAAccelerator, MPSAccelerator
from typing_extensions import override

from unimatch.errors import ConfigError, first_line
from unimatch.launchers import ALL_GPUS, check_processes, check_slurm
from unimatch.options import NamedOptions, not_negative, one_of
from unimatch.speed.compile import Compile, Mode

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "32", "bf16", "16")
"""The precisions in which weights are float32, as those of the models are."""

MOST_PROCESSES = 2**16
"""How many machines there may be, and processes on one: more are a slip of the hand, and some libraries crash."""

REFUSED = {
    "fast_dev_run": "trainer=debug trains four steps and evaluates two images",
    "overfit_batches": "dataset.labeled=N trains on N images",
    "barebones": "a run keeps its record; callbacks=none keeps no more than that",
    "limit_test_batches": "a training tests nothing; unimatch.evaluate split=test does",
    "limit_predict_batches": "a training predicts nothing; unimatch.predict does",
}
"""Arguments of Lightning's trainer that make no sense for a run, with what to do instead."""


def check_settings(settings: Mapping[str, Any]) -> None:
    """Refuses, before anything is loaded, settings with which a run would have no result or no record.

    Args:
        settings: arguments of :class:`Trainer`.

    Raises:
        ConfigError: beginning with the argument.
    """
    for name, instead in REFUSED.items():
        if settings.get(name):
            raise ConfigError(f"{name}={settings[name]}: is not a setting of a run; {instead}")
    for name in ("limit_train_batches", "limit_val_batches", "val_check_interval"):
        if settings.get(name) == 0:
            raise ConfigError(f"{name}={settings[name]}: must be above 0; a training is evaluated, at its end at least")
    for name in ("max_epochs", "max_steps"):
        if is_below(settings.get(name), 1) and settings[name] != -1:
            raise ConfigError(f"{name}={settings[name]}: must be at least 1, or -1 where the other one ends training")
    for name in ("accumulate_grad_batches", "num_nodes", "check_val_every_n_epoch"):
        if is_below(settings.get(name), 1):
            raise ConfigError(f"{name}={settings[name]}: must be at least 1")
    clip = settings.get("gradient_clip_val")
    if clip is not None:
        if type(clip) not in (int, float):
            raise ConfigError(f"gradient_clip_val={clip}: must be a number or null")
        not_negative(gradient_clip_val=clip)
    if is_below(settings.get("log_every_n_steps"), 0):
        raise ConfigError(f"log_every_n_steps={settings['log_every_n_steps']}: must be at least 0")
    check_device(settings)


def is_below(value: object, least: float) -> bool:
    """Tells whether a setting is a number below the least; those of another kind are refused later."""
    return isinstance(value, (int, float)) and value < least


def check_device(settings: Mapping[str, Any]) -> None:
    """Refuses a precision in which weights are not float32, and more GPUs than PyTorch finds.

    Raises:
        ConfigError: beginning with the argument.
    """
    for name in ("num_nodes", "devices"):
        if type(settings.get(name)) is int and settings[name] > MOST_PROCESSES:
            raise ConfigError(f"{name}={settings[name]}: must be at most {MOST_PROCESSES}")
    one_of("precision", str(settings.get("precision") or 32), PRECISIONS)
    accelerator, devices = settings.get("accelerator"), settings.get("devices")
    if accelerator not in ("gpu", "cuda") or (accelerator == "gpu" and MPSAccelerator.is_available()):
        return
    found = CUDAAccelerator.auto_device_count()
    if found == 0:
        raise ConfigError(
            f"accelerator={accelerator}: PyTorch finds no GPU here; trainer=cpu trains on the processor, and "
            "trainer.accelerator=cpu evaluates on it"
        )
    if type(devices) is int and devices > found:
        slurm = f"; {ALL_GPUS}" if "SLURM_STEP_ID" in os.environ else ""
        raise ConfigError(
            f"devices={devices}: PyTorch finds {found} GPU(s) here; trainer.devices=auto takes all{slurm}"
        )


class Trainer(lightning.Trainer, NamedOptions):
    """Lightning's trainer, with steps of ``global_batch`` images, and ``compile``.

    The published step is the mean of ``P`` *parts*, one for each process: 16 images are four parts of four. CutMix
    pastes within a part, each part's losses are divided by its own pixels, and the gradients of the parts are averaged.
    Here a part is ``datamodule.batch_size`` labelled images, and a step has ``P = global_batch / batch_size`` parts
    at any number of processes: each process computes ``P / processes`` of them, one after the other, or
    ``parts_at_once`` together. The samples of a part, and the random numbers drawn for it, depend only on the step and
    the part. Therefore the gradients of a step are the same, to rounding, on 1, 2 or ``P`` processes, and so is the
    number of steps in an epoch. The one exception is BatchNorm in training mode, which sees the images that its process
    holds at once.

    Args:
        global_batch: labelled images of an optimizer step, over all processes; None for as many as the processes hold
            at once, times ``accumulate_grad_batches``. If given, a whole-number ``val_check_interval`` counts optimizer
            steps (without it, Lightning counts batches).
        parts_at_once: how many parts of a step of ``global_batch`` images a process computes in one batch, such as four
            parts of 4 + 4 images in one batch of 16 + 16. The gradients are the same as with one part after the other,
            to rounding, and a GPU with enough memory is used better. ``auto`` for the most that fit into a GPU's memory
            (:mod:`unimatch.methods.parts_at_once_auto`). Not possible with BatchNorm in training mode or distribution
            alignment. The encoder's own dropout (drop path) draws other numbers than with one part at a time.
            ``limit_train_batches`` counts batches, whatever they hold.
        compile: whether ``torch.compile`` compiles student and teacher (:class:`unimatch.speed.compile.Compile`).
        compile_blocks: with ``compile``: a transformer's blocks one by one, for a shorter first step.
        compile_losses: with ``compile``, on a GPU: losses and pseudo labels too.
        compile_mode: with ``compile``: ``default``, or ``max-autotune-no-cudagraphs``, which tries several kernels for
            each matrix product in the first step and keeps the fastest.
        **options: those of ``lightning.Trainer``.

    Raises:
        ConfigError: ``accumulate_grad_batches`` is given too, or Lightning's trainer refuses its options.
    """

    def __init__(
        self,
        *,
        global_batch: int | None = None,
        parts_at_once: int | Literal["auto"] = 1,
        compile: bool = False,
        compile_blocks: bool = False,
        compile_losses: bool = False,
        compile_mode: Mode = "default",
        **options: Any,
    ) -> None:
        one_of("compile_mode", compile_mode, get_args(Mode))
        for name in ("max_time", "val_check_interval"):
            if isinstance(options.get(name), Mapping):
                options[name] = dict(options[name])  # Lightning knows no other kind, such as Hydra's
        if global_batch is not None and options.get("accumulate_grad_batches", 1) != 1:
            raise ConfigError("accumulate_grad_batches: follows from global_batch; give one of the two")
        if parts_at_once != "auto" and (type(parts_at_once) is not int or parts_at_once < 1):
            raise ConfigError(f"parts_at_once={parts_at_once}: must be auto, or at least 1")
        if parts_at_once != 1 and global_batch is None:
            raise ConfigError(f"parts_at_once={parts_at_once}: needs global_batch, the labelled images of a step")
        if compile:
            given = options.get("callbacks") or []
            others = [given] if isinstance(given, lightning.Callback) else given  # a single one may come without a list
            options["callbacks"] = [*others, Compile(compile_blocks, compile_losses, compile_mode)]
        else:
            how = {"compile_blocks": compile_blocks, "compile_losses": compile_losses, "compile_mode": compile_mode}
            for name, value in how.items():
                if value not in (False, "default"):
                    raise ConfigError(
                        f"{name}={value}: says how to compile, and nothing is compiled; set compile=true, or leave it "
                        "out"
                    )
        check_slurm()
        try:
            super().__init__(**options)
        except (MisconfigurationException, ModuleNotFoundError, TypeError, ValueError) as error:
            raise ConfigError(f"the trainer cannot be made: {first_line(error)}") from error
        check_processes(self)
        self.global_batch, self.parts_at_once = global_batch, parts_at_once
        self.parts_in_batch = 1
        """How many parts of a step a batch holds; set when the method is set up."""

    @override
    def fit(
        self,
        model: Any,
        train_dataloaders: Any = None,
        val_dataloaders: Any = None,
        datamodule: Any = None,
        ckpt_path: Any = None,
        weights_only: bool | None = None,
    ) -> None:
        """Trains as Lightning's trainer does; the number of images in a part is the data module's ``batch_size``.

        Raises:
            ConfigError: the settings do not fit the data, or Lightning refuses them.
        """
        if self.global_batch is not None:
            batch_size = getattr(datamodule or train_dataloaders, "batch_size", None)
            if batch_size is None:
                raise ConfigError(
                    f"global_batch={self.global_batch}: is divided by the data module's batch_size, and there is none: "
                    "give fit a SemiSupervisedDataModule, or accumulate_grad_batches in place of global_batch"
                )
            self._accumulate(self.global_batch, batch_size)
        options = {} if weights_only is None else {"weights_only": weights_only}  # Lightning 2.5 has no such argument
        try:
            super().fit(model, train_dataloaders, val_dataloaders, datamodule, ckpt_path, **options)
        except MisconfigurationException as error:
            raise ConfigError(f"this cannot be trained: {first_line(error)}") from error
        except RuntimeError as error:
            if "conditioned on metric" not in str(error):  # raised by Lightning's EarlyStopping
                raise
            raise ConfigError(f"this cannot be trained: {first_line(error)}") from error
        except ValueError as error:
            if "`val_check_interval`" not in str(error):
                raise
            raise ConfigError(
                f"val_check_interval={self.val_check_interval}: an epoch has {self.num_training_batches} batches; "
                "trainer.check_val_every_n_epoch=null counts steps over all epochs"
            ) from error

    def _accumulate(self, global_batch: int, batch_size: int) -> None:
        """Sets how many parts of a step each process computes; refuses parts that cannot be shared evenly."""
        images_at_once = batch_size * self.world_size
        if global_batch < 1 or global_batch % images_at_once:
            raise ConfigError(
                f"global_batch={global_batch}: must be a multiple of {images_at_once}, what {self.world_size} "
                f"process(es) hold at batch_size={batch_size}; change one of the three"
            )
        before, self.accumulate_grad_batches = self.accumulate_grad_batches, global_batch // images_at_once
        self.parts_in_batch = 1
        if type(self.val_check_interval) is int:
            self.val_check_interval = self.val_check_interval // before * self.accumulate_grad_batches

    def check_parts(self, batch_size: int) -> None:
        """Refuses a step that its processes and batches cannot share evenly, before anything is trained."""
        if self.global_batch is not None:
            self._accumulate(self.global_batch, batch_size)
            if self.parts_at_once != "auto":
                self.check_divides(self.parts_at_once)

    def check_divides(self, count: int) -> None:
        """Refuses to put ``count`` parts into a batch if that leaves a remainder."""
        if self.accumulate_grad_batches % count:
            raise ConfigError(
                f"parts_at_once={count}: must divide {self.accumulate_grad_batches}, the parts of a step that each "
                f"process computes (global_batch={self.global_batch})"
            )

    def put_together(self, count: int) -> None:
        """Makes a batch hold ``count`` of the parts of a step that a process computes; refuses a remainder."""
        self.check_divides(count)
        self.parts_in_batch, self.accumulate_grad_batches = count, self.accumulate_grad_batches // count
        if count > 1 and type(self.val_check_interval) is int:
            self.val_check_interval //= count


def evaluates_training(trainer: lightning.Trainer) -> bool:
    """Returns whether an evaluation is part of a training, not a sanity check, ``validate`` or ``test``."""
    return trainer.state.fn not in ("validate", "test") and not trainer.sanity_checking


def parts_of(trainer: Any) -> int:
    """Returns how many parts of a step of ``global_batch`` images each process computes; 1 without ``global_batch``."""
    if getattr(trainer, "global_batch", None) is None:
        return 1
    return int(trainer.accumulate_grad_batches) * parts_in_batch(trainer)


def parts_in_batch(trainer: Any) -> int:
    """Returns how many parts of a step one batch holds; 1 for another trainer than :class:`Trainer`."""
    return int(getattr(trainer, "parts_in_batch", 1))
