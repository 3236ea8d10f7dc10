"""What a checkpoint of ours holds beside Lightning's entries: the one place that writes, reads and checks it.

``unimatch_model`` says how to build the model, ``unimatch_method`` the method's settings, ``unimatch_run`` what the run
was, ``unimatch_training`` where training stands. All are plain values and tensors, so that a file loads without
unpickling code. What older versions wrote otherwise is brought up to date when it is read.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from unimatch.checkpoints.earlier import migrated
from unimatch.errors import WeightsError
from unimatch.options import as_plain
from unimatch.plain import bound, count

MODEL, METHOD, RUN, TRAINING = "unimatch_model", "unimatch_method", "unimatch_run", "unimatch_training"


@dataclass(frozen=True)
class Place:
    """Between two batches of each process."""

    epoch: int
    """Epochs that are done."""
    batch: int
    """Batches of the present epoch that are done; all of them only while the evaluation after them is still due."""
    evaluated: bool
    """Whether the evaluation that may be due here is done."""
    accumulating: bool
    """Whether gradients are held that no optimizer step has used yet: they are not in a checkpoint."""


@dataclass(frozen=True)
class Run:
    """What a checkpoint says of the run that wrote it; converted published checkpoints name classes alone, or nothing.

    Attributes:
        config: the resolved configuration as plain values, without what concerns the start alone.
        classes: names of the classes, in the order of their ids.
        palette: a colour for each class.
        processes: how many trained together.
        metrics_rows: rows that ``metrics.csv`` had.
        data: what :func:`unimatch.data.fingerprint.fingerprint` says of its data set; empty in older checkpoints.
    """

    config: dict[str, Any] = field(default_factory=dict)
    classes: list[str] = field(default_factory=list)
    palette: list[list[int]] = field(default_factory=list)
    processes: int = 1
    metrics_rows: int = 0
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Training:
    """Where training stands, beside the weights, the optimizer's state and Lightning's counters.

    Attributes:
        place: between which two batches.
        evaluated_after: batches, over all epochs, after which the last evaluation was finished.
        evaluations: all so far, as plain values.
        pseudo_label_counts: what the pseudo labels' quality was counted from since the last evaluation.
        parts_at_once: parts of a step that a batch held (``trainer.parts_at_once``).
    """

    place: Place
    evaluated_after: int
    evaluations: list[dict[str, Any]]
    pseudo_label_counts: torch.Tensor | None
    parts_at_once: int = 1


@dataclass(frozen=True)
class MethodSettings:
    """What builds a method again, beside its model.

    Attributes:
        name: of its class.
        settings: arguments that are plain values.
        objects: names of arguments that are not, and so are not here.
        training: arguments of the model that concern training alone.
    """

    name: str
    settings: dict[str, Any]
    objects: list[str]
    training: dict[str, Any]


PARTS: dict[type, str] = {MethodSettings: METHOD, Run: RUN, Training: TRAINING}


def write(checkpoint: dict[str, Any], part: dict[str, Any] | MethodSettings | Run | Training) -> None:
    """Adds a part to a checkpoint: how to build the model (a dict), the method, the run, or where training stands."""
    if isinstance(part, dict):
        checkpoint[MODEL] = part
    else:
        checkpoint[PARTS[type(part)]] = asdict(part)


def is_ours(checkpoint: Any) -> bool:
    """Tells whether a file's content is a checkpoint that this package wrote."""
    state = checkpoint.get("state_dict") if isinstance(checkpoint, dict) and MODEL in checkpoint else None
    return isinstance(state, dict) and all(isinstance(name, str) for name in state)


def model_of(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Reads how to build the model; raises as :func:`checked` does."""
    return checked(checkpoint[MODEL])


def run_of(checkpoint: Mapping[str, Any]) -> Run:
    """Reads what is known of the run, its configuration as today's code would have written it.

    Raises:
        WeightsError: the entry is not what this package writes.
    """
    try:
        as_plain(given := checkpoint.get(RUN))  # a tensor is neither true nor false
        run = Run(**given or {})
        numbers = [run.processes, run.metrics_rows, *(part for color in run.palette for part in color)]
        sound = (
            isinstance(run.config, dict)
            and isinstance(run.data, dict)
            and all(isinstance(name, str) for name in run.classes)
        )
        if not sound or any(len(color) != 3 for color in run.palette) or any(type(n) is not int for n in numbers):
            raise TypeError("an entry is of another kind")
    except (TypeError, AttributeError) as error:
        raise WeightsError(f"the checkpoint's {RUN} cannot be understood ({error})") from error
    return Run(**{**vars(run), "config": migrated(run.config)})


def training_of(checkpoint: Mapping[str, Any]) -> Training | None:
    """Reads where training stands; None where the checkpoint is of no training, as a converted one.

    Raises:
        WeightsError: the entry is not what this package writes.
    """
    given = checkpoint.get(TRAINING)
    try:
        return None if given is None else Training(**{**given, "place": Place(**given["place"])})
    except (TypeError, KeyError) as error:
        raise WeightsError(f"the checkpoint's {TRAINING} cannot be understood ({error})") from error


def method_settings_of(checkpoint: Mapping[str, Any]) -> MethodSettings | None:
    """Reads the method's settings; None where the checkpoint, an older one, holds none.

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


LARGEST = 2**16
"""No model of ours has more classes or a wider layer."""
LARGEST_OPTION = 2**12
"""Nor more blocks, heads or an image of more pixels a side: building it would take forever."""
BOUNDS = {"num_classes": LARGEST, "features": LARGEST, "out_channels": LARGEST, "bands": 1e15}
"""Of what may be larger; values of bands cost nothing."""


def checked(description: Any) -> dict[str, Any]:
    """Returns a file's description of its model, if building it reads no other file and its numbers are within reason.

    How much memory they mean together is only known once it is built (:func:`unimatch.checkpoints.files.build_with`).

    Raises:
        WeightsError: it is no description, or names a file or a number beyond those.
    """
    if not isinstance(description, dict) or not is_name(description.get("encoder")):
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


def is_name(encoder: Any) -> bool:
    """Tells whether this is the name of an encoder: no path, and no place that timm would download from."""
    return isinstance(encoder, str) and re.fullmatch(r"[\w.-]{1,200}", encoder) is not None


def check_arguments(arguments: Mapping[str, Any]) -> None:
    """Refuses arguments of a model that a file may not give; raises errors of Python's."""
    for key, value in arguments.items():
        bound(value, key, BOUNDS.get(key, LARGEST_OPTION))
    options = arguments.get("options") or {}
    if not isinstance(options, dict):
        raise ValueError("options are no object")
    if arguments.get("weights") is not None or "checkpoint_path" in options:  # timm would read that file
        raise ValueError("it names a file of weights")
    if isinstance(encoder := arguments.get("encoder"), str) and not is_name(encoder):
        raise ValueError(f"its encoder {encoder!r:.80} is no name")
