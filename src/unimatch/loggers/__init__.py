"""Where a run's numbers go: ``metrics.csv`` always, TensorBoard, Weights & Biases or MLflow beside it."""

from unimatch.loggers.loggers import EventFiles, csv, mlflow, tensorboard, wandb
from unimatch.loggers.metrics_file import MetricsFile

__all__ = ["EventFiles", "MetricsFile", "csv", "mlflow", "tensorboard", "wandb"]
