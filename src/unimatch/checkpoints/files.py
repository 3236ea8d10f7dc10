"""Trained models out of our own checkpoints, without unpickling code and without the run's configuration."""

import logging
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch.nn.modules.module import register_module_parameter_registration_hook

from unimatch.checkpoints.content import checked, is_ours, model_of, run_of
from unimatch.checkpoints.run_folder import LAST, PREVIOUS
from unimatch.errors import UnimatchError, WeightsError, first_line
from unimatch.models.base import Model
from unimatch.models.descriptions import build_described, describe_model
from unimatch.models.weights import check_fit, check_parts, read_plain

log = logging.getLogger("unimatch")

PREFIXES = {"student": "student.", "teacher": "teacher.model."}


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Reads one of our checkpoints: tensors and plain values, nothing else.

    Raises:
        WeightsError: no such file, cut short or altered, holding more than that, or not one of ours.
    """
    path = Path(path).expanduser()
    if path.suffix == ".pt2":
        raise WeightsError(
            f"{path}: no checkpoint; a .pt2 file, which may run code, is read by unimatch.Predictor alone, with "
            "trusted=True. Give a checkpoint, or export as .onnx or .safetensors, which run none"
        )
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
            check_parts(archive)
            part = archive.testzip()
            return None if part is None else f"the checksum of {part} is wrong"
    except Exception as error:  # zipfile raises many kinds for what is no archive
        return first_line(error)


def load_model(
    path: str | Path, which: Literal["teacher", "student"] = "teacher", *, model: Model | None = None
) -> Model:
    """Returns the trained model of a checkpoint, in eval mode on the CPU, with LoRA matrices merged into its weights.

    Args:
        path: such as ``RUN/checkpoints/best.ckpt``.
        which: the teacher, which the paper reports, or the student.
        model: of the same layers, which gets the weights; None to build what the checkpoint describes. Needed for a
            model of your own that is not registered (:func:`unimatch.register_model`).

    Raises:
        WeightsError: see :func:`read_checkpoint`; or the model cannot be built, or its layers are others.
    """
    return build_model(read_checkpoint(path), which, model)


@torch.no_grad()
def start_from(
    model: Model,
    path: str | Path,
    which: Literal["teacher", "student"] = "teacher",
    *,
    classes: Sequence[str] = (),
) -> str:
    """Gives a model the trained weights of a checkpoint, encoder and decoder, to train it further on other data.

    Of the classifier's last layer, it gives the classes of the same name theirs; the others' stay as they are. Where
    names are not known on both sides, the layer is taken over if it has as many classes.

    Args:
        model: changed in place.
        path: one of our checkpoints, a converted published one for example.
        which: of its models.
        classes: names of the model's classes, in the order of their ids.

    Returns:
        What was taken, and which classes were not.

    Raises:
        WeightsError: the checkpoint cannot be read, or holds another model.
    """
    checkpoint = read_checkpoint(path)
    trained = build_model(checkpoint, which)
    theirs, ours = describe_model(trained), describe_model(model)
    for key in [key for key in {**ours, **theirs} if key not in ("num_classes", "lora", "bands")]:
        if theirs.get(key) != ours.get(key):
            raise WeightsError(f"{path}: its model has {key} {theirs.get(key)}, and the one to train {ours.get(key)}")
    if trained.bands.count != model.bands.count:
        raise WeightsError(
            f"{path}: its model sees {trained.bands.count} bands, and the one to train {model.bands.count}"
        )
    given, left, known = trained.state_dict(), [], run_of(checkpoint).classes
    named = len(known) == trained.num_classes and len(classes) == model.num_classes
    their_ids = {name.strip().casefold(): i for i, name in reversed([*enumerate(known)])}  # the first of one name
    ids = {i: their_ids.get(name.strip().casefold()) for i, name in enumerate(classes)}
    taken = {ours: theirs for ours, theirs in ids.items() if theirs is not None}
    for key, value in model.state_dict().items():
        source = given.get(key.replace(".base_layer.", "."))  # where LoRA stands beside the layer
        if source is not None and named and key.rpartition(".")[0] == model.classifier_name:
            value[list(taken)] = source[list(taken.values())]
        elif source is not None and source.shape == value.shape:
            value.copy_(source)
        elif ".lora_" not in key:
            left.append(key)
    fresh = [name for i, name in enumerate(classes) if i not in taken] if named else []
    old = ", ".join(classes[i] for i in taken) if fresh else "all classes"
    return (
        f"starting from the {which} of {path}"
        + (f"; the classifier knows {old or 'no class'}" if named else "")
        + (f" and begins anew with {', '.join(fresh)}" if fresh else "")
        + (f"; {', '.join(left)} anew" if left else "")
    )


def build_model(checkpoint: dict[str, Any], which: str, model: Model | None = None) -> Model:
    """Builds the student or the teacher of what :func:`read_checkpoint` has read, in eval mode, or says why not.

    Its weights may go into a ``model`` that is there already.
    """
    title, state = MISFIT, state_of(checkpoint, which)
    if model is None:
        return build_with(state, model_of(checkpoint), title)
    try:
        model.load_state_dict(state)
    except Exception as error:
        raise WeightsError(f"{title} ({first_line(error)})") from error
    return model.merge_lora().eval()


def state_of(checkpoint: dict[str, Any], which: str) -> dict[str, torch.Tensor]:
    """Returns the weights of the student or the teacher under the names that they have in the model."""
    prefix = PREFIXES[which]
    return {
        key.removeprefix(prefix): value for key, value in checkpoint["state_dict"].items() if key.startswith(prefix)
    }


MISFIT = "the checkpoint does not hold the model it describes"
SPARE_PARAMETERS = 1000
"""How many a model may have that are cut off while it is built, beside twice those that are kept."""
SPARE_BYTES = 2**28
"""How much a model may hold that is in no file, such as tables of positions."""


def build_with(state: Mapping[str, torch.Tensor], description: Any, title: str) -> Model:
    """Builds the model that a file describes with the file's weights, LoRA's merged, in eval mode.

    Raises:
        WeightsError: as :func:`build_fitting` says.
    """
    model = build_fitting(state, description, title)
    try:
        wanted = model.state_dict()
        model.load_state_dict(
            {name: value for name, value in state.items() if name in wanted}, strict=bool(description.get("own"))
        )
    except Exception as error:  # a stranger's file may say anything
        raise WeightsError(f"{title} ({first_line(error)})") from error
    return model.merge_lora().eval()


def build_fitting(state: Mapping[str, torch.Tensor], description: Any, title: str) -> Model:
    """Builds the model that a file describes, with random weights, if it is one for the file's weights.

    No memory is asked for before its shapes are known to be those of the weights, which are there already. What code of
    the user's own builds is the user's: it is built as it is.

    Args:
        state: the weights, by name.
        description: of the model, see :func:`unimatch.checkpoints.content.checked`.
        title: what to say first where they do not fit one another.

    Raises:
        WeightsError: they do not, or the model is none that a file may describe.
    """
    description = checked(description)
    left = 2 * len(state) + SPARE_PARAMETERS

    def count_down(*_: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise WeightsError(f"{title}: it has many more tensors than the file, which has {len(state)}")

    try:
        if description.get("own"):
            return build_described(description)
        counting = register_module_parameter_registration_hook(count_down)
        try:
            with torch.device("meta"):  # without memory
                model = build_described(description)
        finally:
            counting.remove()
        check_fit(state, wanted := model.state_dict(), title)
        if (needed := bytes_of(wanted)) > 2 * (held := bytes_of(state)):  # half precision becomes float32
            raise WeightsError(f"{title}: that has {needed:,} bytes, and the file holds weights of {held:,}")
        beside = {name: tensor for name, tensor in model.named_buffers() if name not in wanted}
        if (more := sum(tensor.numel() * tensor.element_size() for tensor in beside.values())) > SPARE_BYTES:
            raise WeightsError(f"{title}: it would take {more:,} bytes beside those of the file")
        return build_described(description)
    except UnimatchError:
        raise
    except Exception as error:  # a stranger's file may say anything
        raise WeightsError(f"{title} ({first_line(error)})") from error


def bytes_of(state: Mapping[str, torch.Tensor]) -> int:
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
