"""Reads weights files without running any code in them, and says what does not match a model."""

import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from timm.models import adapt_input_conv
from torch import Tensor, nn
from torch.serialization import safe_globals

from unimatch.errors import WeightsError
from unimatch.untrusted import count


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Reads tensors by name from a ``.safetensors`` file or, with ``weights_only=True``, a PyTorch file.

    Raises:
        WeightsError: the file is missing or unreadable, or not a plain dictionary of tensors.
    """
    content = read_plain(path, "weights file")
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise WeightsError(f"{path}: expected a state dict, tensors by name")
    return content


def read_plain(path: Path, kind: str, allowed: Sequence[Any] = ()) -> Any:
    """Reads tensors and plain values from a file; no code in it is run.

    Args:
        path: of the file.
        kind: of the file, for messages, such as "checkpoint".
        allowed: classes whose objects the file may hold too.

    Raises:
        WeightsError: the file is missing or unreadable, or holds anything else.
    """
    check_exists(path, kind)
    file = path.expanduser()
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                check_parts(archive)
        with safe_globals(list(allowed)):
            content = torch.load(file, map_location="cpu", weights_only=True)
        check_content(content, file.stat().st_size)
        return content
    except Exception as error:  # torch's readers raise many kinds
        raise WeightsError(f"{path}: {why_unreadable(error)}") from error


def check_exists(path: Path, kind: str) -> None:
    """Refuses a path that is no file; of a run directory, the message names the best checkpoint.

    Raises:
        WeightsError: there is no such file of this ``kind``.
    """
    file = path.expanduser()
    if not file.is_file():
        best = path / "checkpoints" / "best.ckpt"
        hint = f"; give {best}" if best.expanduser().is_file() else ", but a folder" if file.is_dir() else ""
        raise WeightsError(f"{path}: no such {kind}{hint}")


SPARE = 8 * 10**8
"""Bytes that a file's tensors may claim beyond four times the file's own: a machine has that much memory."""


def check_parts(archive: zipfile.ZipFile) -> None:
    """Refuses an archive whose parts take more bytes than it has: torch neither compresses parts nor overlaps them.

    Raises:
        ValueError: with the reason.
    """
    parts = archive.infolist()
    if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
        raise ValueError("its parts are compressed, which torch never does")
    if archive.fp and sum(part.file_size for part in parts) > archive.fp.seek(0, 2):
        raise ValueError("its parts are larger than the file")


def check_content(content: Any, size: int) -> None:
    """Refuses far too many values, and tensors that claim much more memory than the file's ``size`` in bytes.

    Raises:
        ValueError: with the reason.
    """
    count(content)
    claimed = sum(tensor.numel() * tensor.element_size() for tensor in tensors_in(content))
    if claimed > 4 * size + SPARE:  # more than the file's size may be right: tensors can share storage
        raise ValueError(f"its tensors would take {claimed:,} bytes, and the file has {size:,}")


def tensors_in(content: Any) -> Iterator[Tensor]:
    """Yields the tensors in nested lists and dictionaries.

    Raises:
        ValueError: a tensor is sparse, or its values are not in the file.
    """
    if isinstance(content, Tensor):
        if content.is_meta or content.layout != torch.strided:
            raise ValueError("a tensor of another kind than those of weights")
        yield content
    elif isinstance(content, (dict, list, tuple)):
        for inner in content.values() if isinstance(content, dict) else content:
            yield from tensors_in(inner)


def why_unreadable(error: Exception) -> str:
    """Says why a file of tensors could not be read, without torch's advice to read it unsafely.

    >>> why_unreadable(ValueError("Trying to load unsupported GLOBAL posix.system whose"))
    'refused, it holds more than tensors and plain values: posix.system'
    """
    message = str(error)
    called = re.search(r"GLOBAL ([\w.]+)", message)
    if called:
        return f"refused, it holds more than tensors and plain values: {called[1]}"
    reason = re.search(r"Unsupported \w+ \d+", message)
    first = next(iter(message.splitlines()), "") or type(error).__name__
    return f"cannot be read, cut short or another kind of file ({reason[0] if reason else first})"


def load_weights_file(module: nn.Module, path: Path) -> None:
    """Loads a weights file into a module; every tensor of the module must be in the file, with the same shape.

    The file may hold more, such as a classifier that the module does not have. Step counters of BatchNorm may be
    missing. DINOv2 files may have the authors' names (:func:`timm_names`). If the module sees other than three
    channels, the first layer's weights for red, green and blue are converted by timm's rule.

    Raises:
        WeightsError: the file cannot be read, or keys do not fit, which are named.
    """
    wanted = module.state_dict()
    given = for_channels(timm_names(read_state_dict(path)), wanted)
    check_fit(given, wanted, f"{path}: does not fit this encoder")
    module.load_state_dict({key: given[key] for key in wanted if key in given}, strict=False)


def check_fit(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor], title: str) -> None:
    """Refuses weights of which some that a module needs are missing or have another shape.

    Args:
        given: the weights by name; those that the module does not have are ignored.
        wanted: the module's own, perhaps on the meta device; step counters of BatchNorm may be missing.
        title: the beginning of the message.

    Raises:
        WeightsError: with the keys that do not fit.
    """
    missing = [key for key in wanted if key not in given and not key.endswith("num_batches_tracked")]
    shapes = [
        f"{key}: {tuple(given[key].shape)} in the file, {tuple(value.shape)} in the model"
        for key, value in wanted.items()
        if key in given and given[key].shape != value.shape
    ]
    if missing or shapes:
        extra = [key for key in given if key not in wanted]
        raise WeightsError(
            title
            + listed(f"{len(missing)} of its {len(wanted)} keys are not in the file", missing)
            + listed(f"{len(shapes)} have another shape", shapes)
            + listed(f"{len(extra)} keys of the file are not the model's", extra)
        )


def for_channels(given: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns weights in which a first layer for three channels is converted to the number of channels wanted."""
    converted = dict(given)
    for key, value in given.items():
        if key in wanted and value.dim() == 4 and value.shape[1] == 3 and wanted[key].shape[1:2] != (3,):
            converted[key] = adapt_input_conv(wanted[key].shape[1], value)
    return converted


def timm_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns DINOv2's weights under timm's names, if they have the authors'; other weights unchanged.

    ViT-g's feed-forward layers are called ``w12`` and ``w3`` by the authors, ``fc1`` and ``fc2`` by timm. With
    registers, the authors add the class token's position at run time, and timm has added it in the file.

    >>> sorted(timm_names({"blocks.0.mlp.w12.bias": torch.zeros(2), "blocks.0.mlp.w3.bias": torch.zeros(1)}))
    ['blocks.0.mlp.fc1.bias', 'blocks.0.mlp.fc2.bias']
    """
    state = dict(state)
    if "register_tokens" in state:
        positions = state["pos_embed"]  # (1, 1 + patches, D)
        state["reg_token"] = state.pop("register_tokens")
        state["cls_token"] = state["cls_token"] + positions[:, :1]
        state["pos_embed"] = positions[:, 1:]
    if any(".mlp.w12." in key for key in state):
        state = {key.replace(".mlp.w12.", ".mlp.fc1.").replace(".mlp.w3.", ".mlp.fc2."): state[key] for key in state}
    return state


def listed(title: str, keys: list[str], limit: int = 8) -> str:
    """Returns the title and the first ``limit`` keys, one a line; an empty text if there are none."""
    if not keys:
        return ""
    lines = [f"\n{title}:", *(f"  {key}" for key in keys[:limit])]
    if len(keys) > limit:
        lines.append(f"  ... and {len(keys) - limit} more")
    return "\n".join(lines)
