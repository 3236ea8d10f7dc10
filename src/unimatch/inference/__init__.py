"""Trained weights -> masks. Nothing imported here needs PyTorch."""

from unimatch.inference.rule import Inference

__all__ = ["Inference"]
