"""Callbacks around the training loop: checkpoints, the record of a run, progress, pictures, reports and safeguards."""

from unimatch.callbacks.checkpoints import CheckpointFiles, Checkpoints
from unimatch.callbacks.earlier_run import EarlierRun
from unimatch.callbacks.early_stopping import EarlyStopping
from unimatch.callbacks.end_together import EndTogether
from unimatch.callbacks.fitness import Fitness
from unimatch.callbacks.guard import Guard
from unimatch.callbacks.pictures import Pictures
from unimatch.callbacks.plan import Plan
from unimatch.callbacks.progress import Progress
from unimatch.callbacks.record import Record, RunFacts
from unimatch.callbacks.report import Report
from unimatch.callbacks.tracking import Tracking

__all__ = [
    "CheckpointFiles",
    "Checkpoints",
    "EarlierRun",
    "EarlyStopping",
    "EndTogether",
    "Fitness",
    "Guard",
    "Pictures",
    "Plan",
    "Progress",
    "Record",
    "Report",
    "RunFacts",
    "Tracking",
]
