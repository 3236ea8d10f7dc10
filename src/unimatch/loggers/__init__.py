"""Where a run's numbers go: ``metrics.csv`` always, TensorBoard or Weights & Biases beside it."""

from unimatch.loggers.loggers import EventFiles, csv, tensorboard, wandb
from unimatch.loggers.metrics_file import MetricsFile

__all__ = ["EventFiles", "MetricsFile", "csv", "tensorboard", "wandb"]
