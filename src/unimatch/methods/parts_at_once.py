"""The parts of a training's steps: the random numbers of each part, and how many parts one batch holds."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from unimatch.errors import ConfigError
from unimatch.methods.evaluations import EvaluatedTraining
from unimatch.methods.parts_at_once_auto import most_that_fit
from unimatch.methods.parts_in_batch import StepGenerator, mean_over_parts
from unimatch.trainer import Trainer, parts_of

if TYPE_CHECKING:
    from unimatch.methods.base import Method

log = logging.getLogger("unimatch")

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class PartsOfSteps(EvaluatedTraining):
    """The part of :class:`unimatch.Method` that handles a step's parts (:class:`unimatch.Trainer`)."""

    seed: int
    freeze_batch_statistics: bool
    keeps_parts_apart: ClassVar[bool] = False
    """Whether the ``losses`` of the same class can compute several parts of a step at once.

    They must draw from each part's generator (:func:`unimatch.methods.parts_in_batch.generators_of`), paste within
    parts, and average by :meth:`part_mean`.
    """
    parts_at_once: int = 1
    """How many parts of a step a batch holds."""

    def part_mean(self, loss: Callable[..., Tensor], *values: Any) -> Tensor:
        """Returns the mean of a loss over the :attr:`parts_at_once` parts of a batch."""
        return mean_over_parts(loss, *values, parts=self.parts_at_once)

    def step_generator(self, batch_idx: int) -> torch.Generator:
        """Returns a generator seeded by (seed, epoch, step, part), so that a resumed run draws the same numbers."""
        step, first = divmod(batch_idx * self.parts_at_once, parts_of(self.trainer))
        seeds = []
        for own_part in range(first, first + self.parts_at_once):  # its number among this process's parts of the step
            part = own_part * self.trainer.world_size + self.global_rank
            sequence = np.random.SeedSequence((self.seed, self.current_epoch, step, part, 1))
            seeds.append(int(sequence.generate_state(1, np.uint64)[0]))
        return StepGenerator.seeded(seeds, self.device)

    @property
    def uses_batch_statistics(self) -> bool:
        """Whether a BatchNorm is in training mode, so that an image's features depend on the rest of its batch."""
        return any(isinstance(module, BATCH_NORMS) and module.training for module in self.student.modules())

    def put_parts_together(self) -> None:
        """Sets how many parts of a step a batch holds, as ``trainer.parts_at_once`` asks."""
        self.parts_at_once = 1  # an earlier fit may have had more
        if not isinstance(self.trainer, Trainer):
            return
        asked, reason = self.trainer.parts_at_once, self.reason_for_one_part()
        if not getattr(getattr(self.trainer, "datamodule", None), "puts_parts_together", False):
            reason = "only a SemiSupervisedDataModule puts several into one batch"
        if asked == "auto":
            self.parts_at_once = 1 if reason else most_that_fit(cast("Method", self), self.trainer)
            because = f", because {reason}" if reason else ""
            log.info("trainer.parts_at_once=auto: %d%s", self.parts_at_once, because)
        else:
            self.check_parts(asked, reason)
            self.parts_at_once = asked
        self.trainer.put_together(self.parts_at_once)

    def check_parts(self, asked: int | str, reason: str | None = None) -> None:
        """Refuses several parts at once if ``reason``, or the method itself, is against it.

        Raises:
            ConfigError: with the reason.
        """
        reason = reason or self.reason_for_one_part()
        if asked not in (1, "auto") and reason:
            raise ConfigError(f"trainer.parts_at_once={asked}: must be 1, because {reason}")

    def reason_for_one_part(self) -> str | None:
        """Returns why a batch must hold one part: what several would change; None if they would change nothing."""
        owner = next(kind for kind in type(self).__mro__ if "losses" in vars(kind))
        if not vars(owner).get("keeps_parts_apart"):
            return f"{owner.__name__} does not say, by keeps_parts_apart = True, that its losses keep the parts apart"
        has_norms = any(isinstance(module, BATCH_NORMS) for module in self.student.modules())
        unlocked_later = self.student.unlock_after > 0 and not self.freeze_batch_statistics  # in eval mode until then
        if self.uses_batch_statistics or (unlocked_later and has_norms):
            return "BatchNorm would normalise the images of all parts together, without method.freeze_batch_statistics"
        return None
