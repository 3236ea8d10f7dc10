"""``trainer.compile=true``: student and teacher by ``torch.compile``, in place."""

import logging
import time
from collections.abc import Callable
from typing import Any

import lightning
import torch
from torch import nn
from torch._dynamo.exc import TorchDynamoException

log = logging.getLogger("unimatch")


class Compile(lightning.Callback):
    """Compiles encoder and decoder of student and teacher for training.

    What runs is another function; the modules, and with them the names in checkpoints, stay as they are. Evaluation,
    whose images have many sizes, is not compiled. Where compiling fails, training goes on without, and says why.
    """

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Mark the modules; they are compiled when they are first called."""
        for who, model in (("student", pl_module.student), ("teacher", pl_module.teacher.model)):
            for part in ("encoder", "decoder"):
                compile_in_place(model.get_submodule(part), f"the {who}'s {part}")
        self.started: float | None = None
        log.info("trainer.compile: the first step compiles student and teacher, which takes a minute or several")

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Time the first step."""
        if self.started is None:
            self.started = time.monotonic()

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Say how long it took."""
        if self.started:
            log.info("trainer.compile: the first step took %.0f s", time.monotonic() - self.started)
            self.started = 0.0

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Evaluate without."""
        torch.compiler.set_stance("force_eager")

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Train with it again."""
        torch.compiler.set_stance("default")

    def teardown(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Also after an error."""
        torch.compiler.set_stance("default")


def compile_in_place(module: nn.Module, name: str) -> None:
    """Make calls of a module run compiled code; as before, with a warning, from the first time that cannot be made."""
    module.compile()
    compiled: Callable[..., Any] = module._compiled_call_impl  # type: ignore[assignment]

    def call(*arguments: Any, **options: Any) -> Any:
        try:
            return compiled(*arguments, **options)
        except TorchDynamoException as error:
            module._compiled_call_impl = None
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            log.warning("trainer.compile: %s is not compiled (%s); training goes on without", name, reason)
            return module(*arguments, **options)

    module._compiled_call_impl = call
