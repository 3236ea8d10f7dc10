"""Compiles student and teacher by ``torch.compile``, in place, where ``trainer.compile=true``."""

import logging
import time
from collections.abc import Callable
from typing import Any

import lightning
import torch
from torch import nn
from torch._dynamo.exc import TorchDynamoException
from typing_extensions import override

log = logging.getLogger("unimatch")


class Compile(lightning.Callback):
    """Compiles encoder and decoder of student and teacher for training.

    Calls of the modules run compiled code; the modules themselves, and with them the names in checkpoints, stay as they
    are. Evaluation, whose images have many sizes, is not compiled. Where compiling fails, the log says why, and
    training goes on without.
    """

    @override
    def on_fit_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        for who, model in (("student", pl_module.student), ("teacher", pl_module.teacher.model)):
            for part in ("encoder", "decoder"):  # compiled when they are first called
                compile_in_place(model.get_submodule(part), f"the {who}'s {part}")
        self.started: float | None = None
        log.info("trainer.compile: the first step compiles student and teacher, which takes a minute or several")

    @override
    def on_train_batch_start(self, *arguments: Any, **options: Any) -> None:
        if self.started is None:
            self.started = time.monotonic()

    @override
    def on_train_batch_end(self, *arguments: Any, **options: Any) -> None:
        if self.started:
            log.info("trainer.compile: the first step took %.0f s", time.monotonic() - self.started)
            self.started = 0.0

    @override
    def on_validation_start(self, *arguments: Any, **options: Any) -> None:
        torch.compiler.set_stance("force_eager")

    @override
    def on_validation_end(self, *arguments: Any, **options: Any) -> None:
        torch.compiler.set_stance("default")

    @override
    def teardown(self, *arguments: Any, **options: Any) -> None:
        torch.compiler.set_stance("default")  # an error may have ended an evaluation


def compile_in_place(module: nn.Module, name: str) -> None:
    """Makes calls of a module run compiled code; where compiling fails, warns and lets them run as before."""
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
