"""Writes, reads and checks what our checkpoints hold beside Lightning's entries.

``unimatch_model`` says how to build the model; ``unimatch_method`` holds the method's settings, ``unimatch_run`` facts
about the run, and ``unimatch_training`` the progress of the training. All are plain values and tensors, so that a file
loads without unpickling code. What older versions wrote in another form is converted when it is read.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from unimatch.checkpoints.earlier_versions import migrated
from unimatch.errors import WeightsError
from unimatch.options import as_plain
from unimatch.untrusted import bound, count

MODEL, METHOD, RUN, TRAINING = "unimatch_model", "unimatch_method", "unimatch_run", "unimatch_training"


@dataclass(frozen=True)
class Place:
    """A place in a training, between two batches of each process."""

    epoch: int
    """Number of epochs that are done."""
    batch: int
    """Number of batches of the current epoch that are done; all of them only while their evaluation is still due."""
    evaluated: bool
    """Whether the evaluation that may be due here is done."""
    accumulating: bool
    """Whether there are gradients that no optimizer step has used yet, which are not in a checkpoint."""


@dataclass(frozen=True)
class Run:
    """The facts about the run that wrote a checkpoint; in converted published checkpoints the classes only, or nothing.

    Attributes:
        config: the resolved configuration as plain values, without settings that only concern the start.
        classes: names of the classes, in the order of their ids.
        palette: an RGB colour (0-255) for each class.
        processes: number of processes that trained together.
        metrics_rows: number of rows that ``metrics.csv`` had.
        data: the :func:`unimatch.data.fingerprint.fingerprint` of the data set; empty in older checkpoints.
    """

    config: dict[str, Any] = field(default_factory=dict)
    classes: list[str] = field(default_factory=list)
    palette: list[list[int]] = field(default_factory=list)
    processes: int = 1
    metrics_rows: int = 0
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Training:
    """The progress of a training, beside the weights, the optimizer's state and Lightning's counters.

    Attributes:
        place: where the training stands.
        evaluated_after: number of batches, over all epochs, after which the last evaluation was finished.
        evaluations: all evaluations so far, as plain values.
        pseudo_label_counts: the counts since the last evaluation from which the pseudo labels' quality follows.
        parts_at_once: number of parts of a step in a batch (``trainer.parts_at_once``).
    """

    place: Place
    evaluated_after: int
    evaluations: list[dict[str, Any]]
    pseudo_label_counts: torch.Tensor | None
    parts_at_once: int = 1


@dataclass(frozen=True)
class MethodSettings:
    """The arguments that build a method again, except its model.

    Attributes:
        name: of the method's class.
        settings: the arguments that are plain values, by name.
        objects: names of the arguments that are not plain values, and so are missing here.
        training: arguments of the model that only concern training, by name.
    """

    name: str
    settings: dict[str, Any]
    objects: list[str]
    training: dict[str, Any]


ENTRIES: dict[type, str] = {MethodSettings: METHOD, Run: RUN, Training: TRAINING}


def write(checkpoint: dict[str, Any], content: dict[str, Any] | MethodSettings | Run | Training) -> None:
    """Adds an entry to a checkpoint: the model's description (a dict), method settings, the run or the progress."""
    if isinstance(content, dict):
        checkpoint[MODEL] = content
    else:
        checkpoint[ENTRIES[type(content)]] = asdict(content)


def is_ours(checkpoint: Any) -> bool:
    """Tells whether a file's content is a checkpoint that this package wrote."""
    state = checkpoint.get("state_dict") if isinstance(checkpoint, dict) and MODEL in checkpoint else None
    return isinstance(state, dict) and all(isinstance(name, str) for name in state)


def model_of(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Reads the model's description; raises the errors of :func:`checked_description`."""
    return checked_description(checkpoint[MODEL])


def run_of(checkpoint: Mapping[str, Any]) -> Run:
    """Reads the facts about the run, with its configuration as today's code would have written it.

    Raises:
        WeightsError: the entry is not what this package writes.
    """
    try:
        given = checkpoint.get(RUN)
        as_plain(given)  # refuses tensors, which have no truth value
        run = Run(**given or {})
        numbers = [run.processes, run.metrics_rows, *(part for color in run.palette for part in color)]
        sound = (
            isinstance(run.config, dict)
            and isinstance(run.data, dict)
            and all(isinstance(name, str) for name in run.classes)
            and all(len(color) == 3 for color in run.palette)
            and all(type(number) is int for number in numbers)
        )
        if not sound:
            raise TypeError("an entry is of another kind")
    except (TypeError, AttributeError) as error:
        raise WeightsError(f"the checkpoint's {RUN} cannot be understood ({error})") from error
    return Run(**{**vars(run), "config": migrated(run.config)})


def training_of(checkpoint: Mapping[str, Any]) -> Training | None:
    """Reads the progress of the training; None if the checkpoint holds only a model, as converted ones do.

    Raises:
        WeightsError: the entry is not what this package writes.
    """
    given = checkpoint.get(TRAINING)
    try:
        return None if given is None else Training(**{**given, "place": Place(**given["place"])})
    except (TypeError, KeyError) as error:
        raise WeightsError(f"the checkpoint's {TRAINING} cannot be understood ({error})") from error


def method_settings_of(checkpoint: Mapping[str, Any]) -> MethodSettings | None:
    """Reads the method's settings; None if the checkpoint is an older one, which does not hold them.

    Raises:
        WeightsError: the entry is not what this package writes.
    """
    given = checkpoint.get(METHOD)
    try:
        as_plain(given)
        found = None if given is None else MethodSettings(**given)
        if found and [type(value) for value in vars(found).values()] != [str, dict, list, dict]:
            raise TypeError("an entry is of another kind")
    except TypeError as error:
        raise WeightsError(f"the checkpoint's {METHOD} cannot be understood ({error})") from error
    return found


LARGEST_WIDTH = 2**16
"""The largest number of classes, or of channels of a layer, that a file may state."""
LARGEST_OPTION = 2**12
"""The largest value of other arguments, such as blocks, heads or an image's side: building would take forever."""
BOUNDS = {"num_classes": LARGEST_WIDTH, "features": LARGEST_WIDTH, "out_channels": LARGEST_WIDTH, "bands": 1e15}
"""The largest values of arguments that may exceed :data:`LARGEST_OPTION`; those of bands cost nothing."""


def checked_description(description: Any) -> dict[str, Any]:
    """Returns a file's description of its model, if building it reads no other file and its numbers are within bounds.

    How much memory the model takes is checked later, when it is built (:func:`unimatch.checkpoints.files.build_with`).

    Raises:
        WeightsError: it is not a description, or it names a file or states a number out of bounds.
    """
    if not isinstance(description, dict) or not is_encoder_name(description.get("encoder")):
        raise WeightsError("the file does not describe a model of ours")
    try:
        count(description)
        as_plain(description)
        check_arguments({key: value for key, value in description.items() if key != "own"})
        if own := description.get("own"):
            check_arguments(own["arguments"] or {})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"the file describes a model that is not built from a file: {error}") from error
    return description


def is_encoder_name(encoder: Any) -> bool:
    """Tells whether a value can be an encoder's name: not a path, and not an address that timm would download from."""
    return isinstance(encoder, str) and re.fullmatch(r"[\w.-]{1,200}", encoder) is not None


def check_arguments(arguments: Mapping[str, Any]) -> None:
    """Refuses arguments of a model that a file may not state.

    Raises:
        ValueError: with the reason.
    """
    for key, value in arguments.items():
        bound(value, key, BOUNDS.get(key, LARGEST_OPTION))
    options = arguments.get("options") or {}
    if not isinstance(options, dict):
        raise ValueError("options are no object")
    if arguments.get("weights") is not None or "checkpoint_path" in options:  # timm would read that file
        raise ValueError("it names a file of weights")
    encoder = arguments.get("encoder")
    if isinstance(encoder, str) and not is_encoder_name(encoder):
        raise ValueError(f"its encoder {encoder!r:.80} is no name")
