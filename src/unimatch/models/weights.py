"""Reads weights files without running anything in them, and says what did not match."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from unimatch.errors import WeightsError


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read a file of tensors: ``.safetensors``, or a PyTorch file with ``weights_only=True``.

    Raises:
        WeightsError: no such file, not readable, or not a plain dict of tensors.
    """
    if not path.expanduser().is_file():
        raise WeightsError(f"{path}: no such weights file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path.expanduser())
        content = torch.load(path.expanduser(), map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError) as error:
        raise WeightsError(f"{path}: cannot be read as weights ({error})") from error
    except Exception as error:  # torch raises pickle.UnpicklingError and others for files that carry code
        raise WeightsError(f"{path}: refused, it holds more than tensors ({error})") from error
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise WeightsError(f"{path}: expected a state dict, tensors by name")
    return content


def load_weights_file(module: nn.Module, path: Path) -> None:
    """Load a weights file into a module; every tensor of the module must be in the file, of the same shape.

    The file may hold more, such as a classifier that the module does not have. Step counters of BatchNorm may
    be missing.

    Raises:
        WeightsError: names the keys that are missing or of another shape.
    """
    given, wanted = read_state_dict(path), module.state_dict()
    missing = [key for key in wanted if key not in given and not key.endswith("num_batches_tracked")]
    shapes = [
        f"{key}: {tuple(given[key].shape)} in the file, {tuple(value.shape)} in the model"
        for key, value in wanted.items()
        if key in given and given[key].shape != value.shape
    ]
    if missing or shapes:
        extra = [key for key in given if key not in wanted]
        raise WeightsError(
            f"{path}: does not fit this encoder"
            + listed(f"{len(missing)} of its {len(wanted)} keys are not in the file", missing)
            + listed(f"{len(shapes)} have another shape", shapes)
            + listed(f"{len(extra)} keys of the file are not the encoder's", extra)
        )
    module.load_state_dict({key: given[key] for key in wanted if key in given}, strict=False)


def listed(title: str, keys: list[str], limit: int = 8) -> str:
    """The title and the first keys, one a line; nothing if there are none."""
    if not keys:
        return ""
    more = [f"  ... and {len(keys) - limit} more"] if len(keys) > limit else []
    return "\n".join([f"\n{title}:", *(f"  {key}" for key in keys[:limit]), *more])
