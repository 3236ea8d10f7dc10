"""Compiles student, teacher and losses by ``torch.compile``, where ``trainer.compile=true``."""

import logging
import time
from collections.abc import Callable
from typing import Any, Literal

import lightning
import torch
from torch import nn
from torch._dynamo.exc import TorchDynamoException
from typing_extensions import override

from unimatch.kinds import checked

log = logging.getLogger("unimatch")

Mode = Literal["default", "max-autotune-no-cudagraphs"]
"""A mode of ``torch.compile`` that a training can choose."""

LOSSES_ON: set[str] = set()
"""Kinds of devices on which losses and pseudo labels run compiled code at the moment: ``cuda``, or none."""

LAYOUT_LOST = (2, 13)
"""The first PyTorch whose compiled convolutions lose the channels-last layout in their backward pass."""


@checked
class Compile(lightning.Callback):
    """Compiles encoder and decoder of student and teacher for training; on request, on a GPU, losses and pseudo labels.

    Calls of the modules run compiled code, but the modules themselves, and so the names in checkpoints, do not change.
    Evaluation, whose images have many sizes, is not compiled. If compiling fails, a warning says why, and training
    continues uncompiled.

    Args:
        blocks: compile a transformer's blocks one by one instead of the whole encoder. As their code is the same, it is
            compiled once and used for all blocks, which makes the first step shorter.
        losses: on a GPU, compile the losses and pseudo labels too.
        mode: the mode of ``torch.compile`` for student and teacher.
    """

    def __init__(self, blocks: bool = False, losses: bool = False, mode: Mode = "default") -> None:
        self.blocks, self.losses, self.mode = blocks, losses, mode

    @override
    def on_fit_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        for who, model in (("student", pl_module.student), ("teacher", pl_module.teacher.model)):
            compile_model(model, who, blocks=self.blocks, mode=self.mode)
        self.compile_losses()
        self.started: float | None = None
        log.info("trainer.compile: the first step compiles student and teacher, which takes a minute or several")
        if pl_module.device.type == "cuda" and torch_version() >= LAYOUT_LOST:
            log.warning(
                "trainer.compile: with PyTorch %s convolutions may lose their layout in the backward pass, which makes "
                "the step slower (pytorch issue 189239); 2.12 and older keep it",
                torch.__version__,
            )

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
        LOSSES_ON.clear()

    @override
    def on_validation_end(self, *arguments: Any, **options: Any) -> None:
        torch.compiler.set_stance("default")
        self.compile_losses()

    @override
    def teardown(self, *arguments: Any, **options: Any) -> None:
        torch.compiler.set_stance("default")  # an error may have ended an evaluation
        LOSSES_ON.clear()

    def compile_losses(self) -> None:
        """Lets losses and pseudo labels run compiled code from now on, if the argument ``losses`` asks for it."""
        if self.losses:
            LOSSES_ON.add("cuda")


def torch_version() -> tuple[int, int]:
    """Returns PyTorch's major and minor version."""
    major, minor = torch.__version__.split(".")[:2]
    return int(major), int(minor)


def compile_model(model: nn.Module, who: str, *, blocks: bool = False, **options: Any) -> None:
    """Makes a model's encoder and decoder run compiled code when they are next called.

    Args:
        model: a :class:`unimatch.models.base.Model`.
        who: the model's name in the log.
        blocks: as for :class:`Compile`.
        **options: of ``torch.compile``.
    """
    encoder, decoder = model.get_submodule("encoder"), model.get_submodule("decoder")
    repeated = blocks_of(encoder) if blocks else []
    for number, block in enumerate(repeated):
        compile_in_place(block, f"block {number} of the {who}'s encoder", **options)
    if not repeated:
        compile_in_place(encoder, f"the {who}'s encoder", **options)
    compile_in_place(decoder, f"the {who}'s decoder", **options)


def blocks_of(encoder: nn.Module) -> list[nn.Module]:
    """Returns a transformer's blocks, which are all of one class; an empty list for other encoders."""
    blocks = list(getattr(getattr(encoder, "body", None), "blocks", ()))
    kinds = {type(block) for block in blocks}
    return blocks if len(kinds) == 1 and kinds != {nn.Sequential} else []


def compile_in_place(module: nn.Module, name: str, **options: Any) -> None:
    """Makes calls of a module run compiled code; if compiling fails, warns and runs them uncompiled."""
    module.compile(**options)
    compiled: Callable[..., Any] = module._compiled_call_impl  # type: ignore[assignment]

    def call(*arguments: Any, **options: Any) -> Any:
        try:
            return compiled(*arguments, **options)
        except TorchDynamoException as error:
            module._compiled_call_impl = None
            warn(name, error)
            return module(*arguments, **options)

    module._compiled_call_impl = call


def compiled_function(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Returns a function compiled for each shape of its arguments; if compiling fails, it warns and runs uncompiled."""
    run = torch.compile(function, dynamic=False)

    def call(*arguments: Any) -> Any:
        nonlocal run
        try:
            return run(*arguments)
        except TorchDynamoException as error:
            run = function
            warn(name, error)
            return function(*arguments)

    return call


def warn(name: str, error: Exception) -> None:
    """Logs what could not be compiled, and the first line of the reason."""
    reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    log.warning("trainer.compile: %s is not compiled (%s); training goes on without", name, reason)
