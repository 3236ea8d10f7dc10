"""Trained weights -> masks, or classes. PyTorch is imported only when a checkpoint is opened."""

from typing import TYPE_CHECKING, Any

from unimatch.engines.model_facts import ModelFacts
from unimatch.engines.test_time import Inference
from unimatch.inference.predictor import Prediction, Predictor

if TYPE_CHECKING:
    from unimatch.inference.classifier import Classifier

__all__ = ["Classifier", "Inference", "ModelFacts", "Prediction", "Predictor"]


def __getattr__(name: str) -> Any:
    """Imports ``Classifier``, which needs PyTorch, on first use."""
    if name == "Classifier":
        from unimatch.inference.classifier import Classifier

        return Classifier
    raise AttributeError(f"module 'unimatch.inference' has no attribute {name!r}")
