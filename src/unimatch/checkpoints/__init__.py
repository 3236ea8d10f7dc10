"""Everything a checkpoint means: what it holds, how it is read, and how a training continues from it."""

from unimatch.checkpoints.files import load_model
from unimatch.checkpoints.official import load_official

__all__ = ["load_model", "load_official"]
