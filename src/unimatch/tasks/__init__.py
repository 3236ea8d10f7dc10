"""What is trained: one file per task. Methods do not know which one they train."""

from unimatch.engines.test_time import Inference
from unimatch.models.networks import Model
from unimatch.tasks.base import PixelTask, Task
from unimatch.tasks.change import ChangeDetection
from unimatch.tasks.classification import Classification
from unimatch.tasks.scores import Absent
from unimatch.tasks.segmentation import Segmentation

TASKS: dict[str, type[Task]] = {task.name: task for task in (Segmentation, ChangeDetection, Classification)}
"""By name, which the model of a task (:data:`unimatch.models.networks.MODELS`) has too."""


def task_of(model: Model, inference: Inference | None = None, *, absent: Absent = "exclude") -> Task:
    """The task that a model is for, with these settings."""
    return TASKS[model.task](inference, absent=absent)


__all__ = ["TASKS", "ChangeDetection", "Classification", "PixelTask", "Segmentation", "Task", "task_of"]
