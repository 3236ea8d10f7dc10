"""What a method can do without training: come back from a checkpoint, be called with images, predict batches."""

from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from typing_extensions import override

from unimatch.errors import ConfigError
from unimatch.methods.saved_settings import restore
from unimatch.methods.teacher import Teacher
from unimatch.models.base import Model
from unimatch.tasks.evaluator import EvaluationLoop
from unimatch.tasks.plain_batches import as_floats, for_model, images_of, warn_unless_normalized


def device_of(map_location: Any) -> torch.device:
    """Returns the device of this name or number.

    Raises:
        ConfigError: it is none, such as the functions and dictionaries that ``torch.load`` takes.
    """
    try:
        return torch.device(map_location)
    except (RuntimeError, TypeError) as error:
        raise ConfigError(
            f"map_location={map_location!s:.80}: must be a device, such as cpu or cuda:0; without it, a method is on "
            "the CPU, wherever it was trained"
        ) from error


class AfterTraining(EvaluationLoop):
    """The part of :class:`unimatch.Method` that another project uses once a method is trained."""

    teacher: Teacher[Model]

    @classmethod
    @override
    def load_from_checkpoint(  # type: ignore[override]
        cls,
        checkpoint_path: str | Path,
        map_location: str | torch.device | None = None,
        hparams_file: None = None,
        strict: bool | None = None,
        weights_only: bool | None = None,
        *,
        model: Model | None = None,
        **settings: Any,
    ) -> Self:
        """Returns the method of a checkpoint: student, teacher and settings.

        A new ``fit`` of it starts at step 0 from these weights. (To continue the run instead, build the method as
        before and give ``trainer.fit`` the ``ckpt_path``.)

        Args:
            checkpoint_path: a checkpoint that unimatch wrote.
            map_location: the device, such as ``cuda:0``; None for the CPU.
            hparams_file: an argument of Lightning's method, without effect here.
            strict: False to ignore weights that only the file or only the method has.
            weights_only: without effect: code is never unpickled.
            model: used instead of building the model that the checkpoint describes; for models of your own.
            settings: arguments of the method that differ from the checkpoint's, and those that it could not store
                because they are not plain values.

        Raises:
            WeightsError: the file is damaged or not one of unimatch's, or its model cannot be built.
            ConfigError: another method wrote the file, an argument that it could not store is missing, or
                ``map_location`` is no device.
        """
        device = device_of("cpu" if map_location is None else map_location)
        if model is not None:
            settings["model"] = model
        method: Any = cls  # always a subclass of unimatch.Method, which mypy cannot know here
        return restore(method, checkpoint_path, settings, strict=strict is not False).to(device)

    @override
    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Returns the teacher's scores (B, C, *S), whose highest class is the prediction, as in an evaluation.

        They are logits, or probabilities where the task averages the predictions of several windows or scales.

        Args:
            images: (B, ..., H, W) of any height and width: normalised floats, or uint8 in 0-255.
        """
        model = self.teacher.checked()
        return self.task.predict(model, for_model(as_floats(images, model.bands), model))

    @override
    def predict_step(self, batch: Any, batch_idx: int) -> Tensor | list[Tensor]:
        """Returns class ids (B, *S) int64; of a list of samples, whose sizes may differ, a list of (*S).

        Args:
            batch: images as for :meth:`forward`; or a dictionary with ``image``, a tuple or list that begins with
                images, or a list of such dictionaries of single images.
            batch_idx: 0 for the first batch, which is checked: a warning is logged if it does not look normalised.
        """
        images = images_of(batch)
        if batch_idx == 0:
            warn_unless_normalized(images)
        if isinstance(images, Tensor):
            return self(images).argmax(1)
        return [self(image[None]).argmax(1)[0] for image in images]
