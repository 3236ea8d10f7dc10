"""Loads trained models from our checkpoints, without unpickling code and without the run's configuration."""

import logging
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch.nn.modules.module import register_module_parameter_registration_hook

from unimatch.checkpoints.content import checked_description, is_ours, model_of, run_of
from unimatch.checkpoints.run_folder import LAST, PREVIOUS
from unimatch.errors import UnimatchError, WeightsError, first_line
from unimatch.kinds import checked
from unimatch.models.base import Model
from unimatch.models.descriptions import build_described, describe_model
from unimatch.models.weights import check_exists, check_fit, check_parts, read_plain

log = logging.getLogger("unimatch")

READING = ("bands", "value_range", "no_data")
"""What of :class:`unimatch.images.bands.Bands` says how files are read; the rest is measured on each data set."""

PREFIXES = {"student": "student.", "teacher": "teacher.model."}


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Reads one of our checkpoints, which hold only tensors and plain values.

    Raises:
        WeightsError: the file is missing, cut short, altered or not one of ours, or holds anything else.
    """
    path = Path(path).expanduser()
    if path.suffix == ".pt2":
        raise WeightsError(
            f"{path}: no checkpoint; a .pt2 file, which may run code, is read by unimatch.Predictor alone, with "
            "trusted=True. Give a checkpoint, or export as .onnx or .safetensors, which run none"
        )
    check_undamaged(path)
    checkpoint = read_plain(path, "checkpoint")
    if not is_ours(checkpoint):
        raise WeightsError(f"{path}: not a checkpoint of unimatch")
    return checkpoint


def check_undamaged(path: Path) -> None:
    """Refuses a checkpoint file that is missing, or whose parts are not as they were written; reads no value of it.

    Raises:
        WeightsError: with the reason.
    """
    check_exists(path, "checkpoint")
    if damage := damage_of(path):
        raise WeightsError(f"{path}: cannot be read as a checkpoint, it is cut short or altered ({damage})")


def damage_of(path: Path) -> str | None:
    """Returns what is wrong with a checkpoint file, whose parts have CRC-32 checksums; None if nothing is."""
    try:
        with zipfile.ZipFile(path) as archive:
            check_parts(archive)
            part = archive.testzip()
            return None if part is None else f"the checksum of {part} is wrong"
    except Exception as error:  # zipfile raises many kinds for a file that is not an archive
        return first_line(error)


def misfit_of(error: Exception) -> str:
    """Returns in a line why a state could not be loaded, such as the first weights that do not fit."""
    detail = "; ".join(line.strip() for line in str(error).splitlines()[1:3])
    return f"{detail or f'{type(error).__name__}: {first_line(error)}':.300}"


@checked
def load_model(
    path: str | Path, which: Literal["teacher", "student"] = "teacher", *, model: Model | None = None
) -> Model:
    """Returns the trained model of a checkpoint, in eval mode on the CPU, with LoRA matrices merged into its weights.

    Args:
        path: such as ``RUN/checkpoints/best.ckpt``.
        which: the teacher, which the paper reports, or the student.
        model: a model with the same layers, into which the weights are loaded; None to build the one that the
            checkpoint describes. Needed for a model of your own that is not registered
            (:func:`unimatch.register_model`).

    Raises:
        WeightsError: as for :func:`read_checkpoint`; or the model cannot be built, or has other layers.
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
    """Loads the trained weights of a checkpoint, encoder and decoder, into a model, to train it further on other data.

    In the last layer of the classifier, only the weights of classes with the same name are loaded. If the names on
    either side are not known, the layer is loaded if it has as many classes. A warning says if the two models take
    other bands of a file, or other values of them for black and white.

    Args:
        model: changed in place.
        path: one of our checkpoints, such as a converted published one.
        which: of the checkpoint's models.
        classes: names of the model's classes, in the order of their ids.

    Returns:
        A line for the log: which weights were loaded, and which classes begin anew.

    Raises:
        WeightsError: the checkpoint cannot be read, or holds another model.
    """
    checkpoint = read_checkpoint(path)
    trained = build_model(checkpoint, which)
    check_alike(path, trained, model)
    warn_of_other_bands(path, trained, model)
    known = run_of(checkpoint).classes
    by_name = len(known) == trained.num_classes and len(classes) == model.num_classes
    taken = ids_of_same_names(classes, known) if by_name else {}
    given, untouched = trained.state_dict(), []
    for key, value in model.state_dict().items():
        source = given.get(key.replace(".base_layer.", "."))  # the part that LoRA adds to a layer's name
        if source is not None and by_name and key.rpartition(".")[0] == model.classifier_name:
            value[list(taken)] = source[list(taken.values())]
        elif source is not None and source.shape == value.shape:
            value.copy_(source)
        elif ".lora_" not in key:
            untouched.append(key)
    report = f"starting from the {which} of {path}"
    fresh = [name for i, name in enumerate(classes) if i not in taken]
    if by_name and not fresh:
        report += "; the classifier knows all classes"
    elif by_name:
        old = ", ".join(classes[i] for i in taken) or "no class"
        report += f"; the classifier knows {old} and begins anew with {', '.join(fresh)}"
    if untouched:
        report += f"; {', '.join(untouched)} anew"
    return report


def check_alike(path: str | Path, trained: Model, model: Model) -> None:
    """Refuses to continue with a ``model`` that has other layers than the ``trained`` one of a checkpoint.

    Raises:
        WeightsError: naming the first difference.
    """
    theirs, ours = describe_model(trained), describe_model(model)
    for key in {**ours, **theirs}:
        if key not in ("num_classes", "lora", "bands") and theirs.get(key) != ours.get(key):
            raise WeightsError(f"{path}: its model has {key} {theirs.get(key)}, and the one to train {ours.get(key)}")
    if trained.bands.count != model.bands.count:
        raise WeightsError(
            f"{path}: its model sees {trained.bands.count} bands, and the one to train {model.bands.count}"
        )


def warn_of_other_bands(path: str | Path, trained: Model, model: Model) -> None:
    """Warns if the images on which a ``model`` is trained further are read in another way than the earlier ones."""
    theirs, ours = trained.bands.plain(), model.bands.plain()
    other = [f"{key} {theirs[key]}, now {ours[key]}" for key in READING if theirs[key] != ours[key]]
    if other:
        log.warning(
            "the images of %s were read in another way than these: %s; its weights expect what they were trained on",
            path,
            "; ".join(other),
        )


def ids_of_same_names(ours: Sequence[str], theirs: Sequence[str]) -> dict[int, int]:
    """Returns the ids of our classes whose name is also among theirs, with the id that it has there.

    >>> ids_of_same_names(["sea", "Sky ", "car"], ["sky", "road", "sea"])
    {0: 2, 1: 0}
    """
    their_ids: dict[str, int] = {}
    for i, name in enumerate(theirs):
        their_ids.setdefault(name.strip().casefold(), i)
    names = {i: name.strip().casefold() for i, name in enumerate(ours)}
    return {i: their_ids[name] for i, name in names.items() if name in their_ids}


def build_model(checkpoint: dict[str, Any], which: str, model: Model | None = None) -> Model:
    """Builds the student or the teacher of a checkpoint that has been read, in eval mode, with LoRA merged.

    Args:
        checkpoint: from :func:`read_checkpoint`.
        which: ``student`` or ``teacher``.
        model: into which to load the weights, instead of building a model.

    Raises:
        WeightsError: the model cannot be built, or the weights do not fit.
    """
    state = state_of(checkpoint, which)
    if model is None:
        return build_with(state, model_of(checkpoint), MISFIT)
    try:
        model.load_state_dict(state)
    except Exception as error:
        raise WeightsError(f"{MISFIT} ({first_line(error)})") from error
    return model.merge_lora().eval()


def state_of(checkpoint: dict[str, Any], which: str) -> dict[str, torch.Tensor]:
    """Returns the weights of the student or the teacher, under their names in the model."""
    prefix = PREFIXES[which]
    return {
        key.removeprefix(prefix): value for key, value in checkpoint["state_dict"].items() if key.startswith(prefix)
    }


MISFIT = "the checkpoint does not hold the model it describes"
SPARE_PARAMETERS = 1000
"""How many parameters building a model may create beyond twice those in the file: some are removed again."""
SPARE_BYTES = 2**28
"""How many bytes a model may hold that are not in the file, such as tables of positions."""


def build_with(state: Mapping[str, torch.Tensor], description: Any, title: str) -> Model:
    """Builds the model that a file describes, with the file's weights, in eval mode, with LoRA merged.

    Arguments and errors are those of :func:`build_fitting`.
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
    """Builds the model that a file describes, with random weights, if the file's weights fit it.

    Memory is allocated only after the model's shapes are known to be those of the weights, which are in memory already.
    A model that the user's own code builds is not checked.

    Args:
        state: the weights, by name.
        description: of the model, see :func:`unimatch.checkpoints.content.checked_description`.
        title: the beginning of the message if they do not fit each other.

    Raises:
        WeightsError: they do not fit each other, or a file may not describe such a model.
    """
    description = checked_description(description)
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
            with torch.device("meta"):  # takes no memory
                model = build_described(description)
        finally:
            counting.remove()
        wanted = model.state_dict()
        check_fit(state, wanted, title)
        needed, held = bytes_of(wanted), bytes_of(state)
        if needed > 2 * held:  # twice: half precision becomes float32
            raise WeightsError(f"{title}: that has {needed:,} bytes, and the file holds weights of {held:,}")
        unsaved = [tensor for name, tensor in model.named_buffers() if name not in wanted]
        more = sum(tensor.numel() * tensor.element_size() for tensor in unsaved)
        if more > SPARE_BYTES:
            raise WeightsError(f"{title}: it would take {more:,} bytes beside those of the file")
        return build_described(description)
    except UnimatchError:
        raise
    except Exception as error:  # a stranger's file may say anything
        raise WeightsError(f"{title} ({first_line(error)})") from error


def bytes_of(state: Mapping[str, torch.Tensor]) -> int:
    """Counts the bytes of tensors, or the memory that they would take; memory that several tensors share counts once.

    On the meta device, where nothing is shared, each counts in full.
    """
    if any(tensor.is_meta for tensor in state.values()):
        return sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    storages = [tensor.untyped_storage() for tensor in state.values()]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def newest_checkpoint(folder: Path) -> Path | None:
    """Returns the checkpoint to continue from: ``last.ckpt``, or ``previous.ckpt`` if it is damaged; None without any.

    Raises:
        WeightsError: there are checkpoints, but all are damaged.
    """
    damages: list[str] = []
    for path in (folder / LAST, folder / PREVIOUS):
        if not path.exists():
            continue
        damage = damage_of(path)
        if damage is None:
            for found in damages:
                log.warning("%s; continuing from %s", found, path.name)
            return path
        damages.append(f"{path}: is damaged ({damage})")
    if damages:
        raise WeightsError("\n".join(damages) + f"\nno checkpoint in {folder} can be continued from; start anew")
    return None
