"""Trained models out of our own checkpoints, without unpickling code and without the run's configuration."""

import logging
import zipfile
from pathlib import Path
from typing import Any, Literal

import torch

from unimatch.checkpoints.content import is_ours, model_of
from unimatch.errors import UnimatchError, WeightsError
from unimatch.models.networks import Model, build_described, describe_model
from unimatch.models.weights import read_plain

log = logging.getLogger("unimatch")

LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"

PREFIXES = {"student": "student.", "teacher": "teacher.model."}


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Reads one of our checkpoints: tensors and plain values, nothing else.

    Raises:
        WeightsError: no such file, cut short or altered, holding more than that, or not one of ours.
    """
    path = Path(path).expanduser()
    if path.is_file() and (damage := damage_of(path)):
        raise WeightsError(f"{path}: cannot be read as a checkpoint, it is cut short or altered ({damage})")
    checkpoint = read_plain(path, "checkpoint")
    if not is_ours(checkpoint):
        raise WeightsError(f"{path}: not a checkpoint of unimatch")
    return checkpoint


def damage_of(path: Path) -> str | None:
    """Returns what is wrong with a checkpoint file by its checksums, a CRC-32 of each part; None for a whole one."""
    try:
        with zipfile.ZipFile(path) as archive:
            if any(part.compress_type != zipfile.ZIP_STORED for part in archive.infolist()):
                return "its parts are compressed, which torch never does"
            part = archive.testzip()
            return None if part is None else f"the checksum of {part} is wrong"
    except Exception as error:  # zipfile raises many kinds for what is no archive
        return first_line(error)


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's message, or its kind where it has none."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def load_model(path: str | Path, which: Literal["teacher", "student"] = "teacher") -> Model:
    """Returns the trained model of a checkpoint, in eval mode on the CPU, with LoRA matrices merged into its weights.

    Args:
        path: such as ``RUN/checkpoints/best.ckpt``.
        which: the teacher, which the paper reports, or the student.

    Raises:
        WeightsError: see :func:`read_checkpoint`.
    """
    return build_model(read_checkpoint(path), which)


@torch.no_grad()
def start_from(model: Model, path: str | Path, which: Literal["teacher", "student"] = "teacher") -> str:
    """Gives a model the trained weights of a checkpoint, encoder and decoder, to train it further on other data.

    Where the classes are others in number, the last layer of the classifier stays as it is.

    Args:
        model: changed in place.
        path: one of our checkpoints, a converted published one for example.
        which: of its models.

    Returns:
        What was taken.

    Raises:
        WeightsError: the checkpoint cannot be read, or holds another model.
    """
    trained = load_model(path, which)
    theirs, ours = describe_model(trained), describe_model(model)
    for key in [key for key in {**ours, **theirs} if key not in ("num_classes", "lora", "bands")]:
        if theirs.get(key) != ours.get(key):
            raise WeightsError(f"{path}: its model has {key} {theirs.get(key)}, and the one to train {ours.get(key)}")
    if trained.bands.count != model.bands.count:
        raise WeightsError(
            f"{path}: its model sees {trained.bands.count} bands, and the one to train {model.bands.count}"
        )
    given, left = trained.state_dict(), []
    for key, value in model.state_dict().items():
        source = given.get(key.replace(".base_layer.", "."))  # where LoRA stands beside the layer
        if source is not None and source.shape == value.shape:
            value.copy_(source)
        elif ".lora_" not in key:
            left.append(key)
    return f"starting from the {which} of {path}" + (f"; {', '.join(left)} anew" if left else "")


def build_model(checkpoint: dict[str, Any], which: str) -> Model:
    """Builds the student or the teacher of what :func:`read_checkpoint` has read, in eval mode, or says why not."""
    prefix = PREFIXES[which]
    try:
        description = model_of(checkpoint)
        state = {
            key.removeprefix(prefix): value for key, value in checkpoint["state_dict"].items() if key.startswith(prefix)
        }
        with torch.device("meta"):  # without memory
            needed = bytes_of(build_described(description).state_dict())
        if needed > bytes_of(state):
            raise WeightsError(
                f"the checkpoint describes a model of {needed:,} bytes and holds weights of {bytes_of(state):,}"
            )
        model = build_described(description)
        model.load_state_dict(state)
    except UnimatchError:
        raise
    except Exception as error:  # a stranger's file may say anything
        raise WeightsError(f"the checkpoint does not hold the model it describes ({first_line(error)})") from error
    return model.merge_lora().eval()


def bytes_of(state: dict[str, torch.Tensor]) -> int:
    """Counts the bytes of tensors; memory that several share, such as one number expanded to a tensor, counts once."""
    if any(tensor.is_meta for tensor in state.values()):
        return sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    storages = {storage.data_ptr(): storage.nbytes() for storage in (t.untyped_storage() for t in state.values())}
    return sum(storages.values())


def newest_checkpoint(folder: Path) -> Path | None:
    """Returns the checkpoint to continue from: ``last.ckpt``, or ``previous.ckpt`` if it is damaged; None without any.

    Raises:
        WeightsError: there are checkpoints, and all are damaged.
    """
    damages: list[str] = []
    for name in (LAST, PREVIOUS):
        if (path := folder / name).exists():
            if (damage := damage_of(path)) is None:
                for found in damages:
                    log.warning("%s; continuing from %s", found, path.name)
                return path
            damages.append(f"{path}: is damaged ({damage})")
    if damages:
        raise WeightsError("\n".join(damages) + f"\nno checkpoint in {folder} can be continued from; start anew")
    return None
