"""One file per task: what a model predicts and how it is scored. Methods do not know which one they train."""

from unimatch.engines.test_time import Inference
from unimatch.errors import ConfigError
from unimatch.models.networks import Model
from unimatch.tasks.base import PixelTask, Task
from unimatch.tasks.change import ChangeDetection
from unimatch.tasks.classification import Classification
from unimatch.tasks.scores import Absent, Ignored
from unimatch.tasks.segmentation import Segmentation

TASKS: dict[str, type[Task]] = {task.name: task for task in (Segmentation, ChangeDetection, Classification)}
"""The tasks by name; :data:`unimatch.models.networks.MODELS` has the model of each under the same name."""


def task_of(
    model: Model, inference: Inference | None = None, *, absent: Absent = "exclude", ignored: Ignored = "exclude"
) -> Task:
    """Returns the task that a model is for, with these settings; ``ignored`` is :class:`ChangeDetection`'s.

    Raises:
        ConfigError: ``ignored`` is given for another task.
    """
    if model.task == ChangeDetection.name:
        return ChangeDetection(inference, absent=absent, ignored=ignored)
    if ignored != "exclude":
        raise ConfigError(f"ignored={ignored}: only change detection counts ignored pixels; leave it out")
    return TASKS[model.task](inference, absent=absent)


__all__ = ["TASKS", "ChangeDetection", "Classification", "PixelTask", "Segmentation", "Task", "task_of"]
