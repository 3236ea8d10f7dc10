"""One file per task: what a model predicts and how it is scored. Methods do not know which task they train."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from unimatch.engines.test_time import Inference
from unimatch.errors import ConfigError, WeightsError
from unimatch.models.base import Model
from unimatch.options import as_plain
from unimatch.tasks.base import PixelTask, Task
from unimatch.tasks.change import ChangeDetection
from unimatch.tasks.classification import Classification
from unimatch.tasks.scores import Absent, Ignored
from unimatch.tasks.segmentation import Segmentation

TASKS: dict[str, type[Task]] = {task.name: task for task in (Segmentation, ChangeDetection, Classification)}
"""The tasks by name; :data:`unimatch.models.descriptions.MODELS` has the model of each under the same name."""


def task_of(
    model: Model, inference: Inference | None = None, *, absent: Absent = "exclude", ignored: Ignored = "exclude"
) -> Task:
    """Returns a model's task, with these settings.

    Raises:
        ConfigError: ``ignored`` is given for another task than :class:`ChangeDetection`, or ``absent`` for this one or
            :class:`Classification`, which do not use it.
    """
    if absent != "exclude" and model.task in (ChangeDetection.name, Classification.name):
        raise ConfigError(f"absent={absent}: no score of this model is a mean over classes; leave it out")
    if model.task == ChangeDetection.name:
        return ChangeDetection(inference, absent=absent, ignored=ignored)
    if ignored != "exclude":
        raise ConfigError(f"ignored={ignored}: only change detection counts ignored pixels; leave it out")
    return TASKS[model.task](inference, absent=absent)


def chosen_task(task: Task | None, model: Model) -> Task:
    """Returns the task that a method is given; None for the model's own, on whole images.

    Raises:
        ConfigError: it is no task.
    """
    if task is None:
        return task_of(model)
    if not isinstance(task, Task):
        raise ConfigError(f"task={task}: must be a task, such as unimatch.Segmentation(unimatch.Inference(...))")
    return task


def describe_task(task: Task) -> dict[str, Any]:
    """Returns a task as plain values, for a checkpoint.

    Raises:
        TypeError: a task of your own that is not in :data:`TASKS`.
    """
    if type(task) not in TASKS.values():
        raise TypeError(f"{type(task).__name__} is none of the tasks in TASKS")
    description = {"name": task.name, "inference": as_plain(asdict(task.inference)), "absent": task.absent}
    if isinstance(task, ChangeDetection):
        description["ignored"] = task.ignored
    return description


def describes_task(value: object) -> bool:
    """Tells whether a value is what :func:`describe_task` returns."""
    return isinstance(value, dict) and value.keys() >= {"name", "inference", "absent"}


def build_task(description: Mapping[str, Any]) -> Task:
    """Returns the task that :func:`describe_task` has described.

    Raises:
        WeightsError: the values do not describe a task.
    """
    try:
        settings = {key: value for key, value in description.items() if key not in ("name", "inference")}
        return TASKS[description["name"]](Inference(**description["inference"]), **settings)
    except (KeyError, TypeError) as error:
        raise WeightsError(f"the checkpoint's task cannot be understood ({error!r})") from error


__all__ = [
    "TASKS",
    "ChangeDetection",
    "Classification",
    "PixelTask",
    "Segmentation",
    "Task",
    "build_task",
    "chosen_task",
    "describe_task",
    "describes_task",
    "task_of",
]
