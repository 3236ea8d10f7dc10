"""How a training computes the parts of its steps: what is drawn for each, and how many go together in a batch."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from unimatch.errors import ConfigError
from unimatch.methods.evaluations import EvaluatedTraining
from unimatch.methods.parts import StepGenerator, mean_over_parts
from unimatch.methods.parts_that_fit import most_that_fit
from unimatch.trainer import Trainer, parts_of

if TYPE_CHECKING:
    from unimatch.methods.base import Method

log = logging.getLogger("unimatch")

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class PartsOfSteps(EvaluatedTraining):
    """The part of :class:`unimatch.Method` that knows of a step's parts (:class:`unimatch.Trainer`)."""

    seed: int
    freeze_batch_statistics: bool
    keeps_parts_apart: ClassVar[bool] = False
    """Whether the ``losses`` beside it can compute several parts of a step at once: it draws of each part's generator
    (:func:`unimatch.methods.parts.generators_of`), pastes within parts, and takes :meth:`part_mean` of its losses."""
    parts_at_once: int = 1
    """How many parts of a step a batch holds."""

    def part_mean(self, loss: Callable[..., Tensor], *values: Any) -> Tensor:
        """Returns a loss of a batch: the mean over its parts, of which there is one but for ``parts_at_once``."""
        return mean_over_parts(loss, *values, parts=self.parts_at_once)

    def step_generator(self, batch_idx: int) -> torch.Generator:
        """Returns a generator seeded by (seed, epoch, step, part): no state is lost when a run is resumed."""
        step, first = divmod(batch_idx * self.parts_at_once, parts_of(self.trainer))
        parts = [turn * self.trainer.world_size + self.global_rank for turn in range(first, first + self.parts_at_once)]
        words = [np.random.SeedSequence((self.seed, self.current_epoch, step, part, 1)) for part in parts]
        return StepGenerator.seeded([int(word.generate_state(1, np.uint64)[0]) for word in words], self.device)

    @property
    def uses_batch_statistics(self) -> bool:
        """Whether a BatchNorm is training, so that an image's features depend on the rest of its batch."""
        return any(isinstance(module, BATCH_NORMS) and module.training for module in self.student.modules())

    def put_parts_together(self) -> None:
        """Sets how many parts of a step a batch holds, as ``trainer.parts_at_once`` asks."""
        self.parts_at_once = 1  # of an earlier fit there may have been more
        if not isinstance(self.trainer, Trainer):
            return
        asked, why = self.trainer.parts_at_once, self.parts_stay_alone_because()
        if not getattr(getattr(self.trainer, "datamodule", None), "puts_parts_together", False):
            why = "only a SemiSupervisedDataModule puts several into one batch"
        if asked == "auto":
            self.parts_at_once = 1 if why else most_that_fit(cast("Method", self), self.trainer)
            log.info("trainer.parts_at_once=auto: %d%s", self.parts_at_once, f", because {why}" * bool(why))
        else:
            self.check_parts(asked, why)
            self.parts_at_once = asked
        self.trainer.put_together(self.parts_at_once)

    def check_parts(self, asked: int | str, why: str | None = None) -> None:
        """Refuses more parts at once than one, if ``why`` or the method itself says that they must stay alone."""
        why = why or self.parts_stay_alone_because()
        if asked not in (1, "auto") and why:
            raise ConfigError(f"trainer.parts_at_once={asked}: must be 1, because {why}")

    def parts_stay_alone_because(self) -> str | None:
        """Says why parts of a step computed at once would not be what they are one by one; None where they are."""
        owner = next(kind for kind in type(self).__mro__ if "losses" in vars(kind))
        if not vars(owner).get("keeps_parts_apart"):
            return f"{owner.__name__} does not say, by keeps_parts_apart = True, that its losses keep the parts apart"
        norms = any(isinstance(module, BATCH_NORMS) for module in self.student.modules())
        later = self.student.unlock_after > 0 and not self.freeze_batch_statistics  # until then it is in eval mode
        if self.uses_batch_statistics or (later and norms):
            return "BatchNorm would normalise the images of all parts together, without method.freeze_batch_statistics"
        return None
