"""Loggers of a run's numbers: always ``metrics.csv``, and TensorBoard, Weights & Biases or MLflow in addition."""

from unimatch.loggers.loggers import EventFiles, csv, mlflow, tensorboard, wandb
from unimatch.loggers.metrics_file import MetricsFile

__all__ = ["EventFiles", "MetricsFile", "csv", "mlflow", "tensorboard", "wandb"]
