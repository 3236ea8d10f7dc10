"""Trained weights -> masks. Nothing imported here needs PyTorch until a checkpoint is opened."""

from unimatch.inference.facts import ModelFacts
from unimatch.inference.predictor import Prediction, Predictor
from unimatch.inference.rule import Inference

__all__ = ["Inference", "ModelFacts", "Prediction", "Predictor"]
