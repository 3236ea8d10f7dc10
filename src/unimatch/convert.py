"""``python -m unimatch.convert official.pth out.ckpt``: converts a published UniMatch V2 checkpoint into one of ours.

PyTorch is imported only after the arguments are parsed, because importing it takes most of the command's time.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unimatch import startup
from unimatch.data.catalog import ADE20K, CITYSCAPES, COCO, PASCAL, DatasetInfo
from unimatch.disk import exit_with, replace_file
from unimatch.errors import UnimatchError, WeightsError, WriteError
from unimatch.safe_text import one_line

if TYPE_CHECKING:
    from unimatch.checkpoints.official import OfficialWeights

DATASETS = {info.name: info for info in (PASCAL, CITYSCAPES, ADE20K, COCO)}
"""The data sets that published checkpoints were trained on."""


def convert(official: Path, output: Path, info: DatasetInfo | None = None) -> "list[OfficialWeights]":
    """Writes student and teacher of a published checkpoint as a checkpoint that :func:`unimatch.load_model` reads.

    Args:
        official: the authors' file.
        output: the new checkpoint; its folder must exist, the file must not.
        info: the data set, for the names and colours of the classes, which published files lack; None to leave them
            without names.

    Returns:
        The student's and the teacher's weights, as they were read.

    Raises:
        WeightsError: a file cannot be read, the output cannot be created, or the weights do not fit ``info``.
        OSError: the new checkpoint cannot be written.
    """
    import torch

    from unimatch.checkpoints.content import Run, write
    from unimatch.checkpoints.files import PREFIXES
    from unimatch.checkpoints.official import read_official

    startup.done()
    if output.exists():
        raise WeightsError(f"{output}: exists already; remove it or name another")
    if not output.parent.is_dir():
        raise WeightsError(f"{output}: there is no folder {output.parent}")
    student, teacher = read_official(official, "student"), read_official(official, "teacher")
    description = student.description
    if description != teacher.description:
        raise WeightsError(f"{official}: student and teacher differ in size")
    state = {PREFIXES["student"] + name: tensor for name, tensor in student.state.items()}
    state |= {PREFIXES["teacher"] + name: tensor for name, tensor in teacher.state.items()}
    content: dict[str, Any] = {"state_dict": state}
    write(content, description)
    if info is not None:
        if info.num_classes != description["num_classes"]:
            raise WeightsError(
                f"{official}: has {description['num_classes']} classes, and {info.name} has {info.num_classes}"
            )
        write(content, Run(classes=list(info.classes), palette=[list(color) for color in info.palette]))
    replace_file(output, lambda file: torch.save(content, file))
    return [student, teacher]


def main(arguments: Sequence[str] | None = None) -> int:
    """Converts a checkpoint, prints which weights matched and returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m unimatch.convert",
        description="Make a published UniMatch V2 checkpoint one of ours, which load_model and the commands read.",
    )
    parser.add_argument("official", type=Path, help="the authors' checkpoint, such as best.pth")
    parser.add_argument("output", type=Path, help="the checkpoint to write, such as ade20k_vitb.ckpt")
    parser.add_argument("--dataset", choices=DATASETS, help="what it was trained on, for the names of its classes")
    options = parser.parse_args(arguments)
    if {"checkpoint", "output"} & {str(path).partition("=")[0] for path in (options.official, options.output)}:
        parser.error("the two files are given alone: python -m unimatch.convert official.pth out.ckpt")
    try:
        both = convert(options.official, options.output, DATASETS.get(options.dataset))
    except UnimatchError as error:
        print(f"unimatch: {error}", file=sys.stderr)
        return error.status
    except OSError as error:
        failed = WriteError(
            f"{options.output} cannot be written: {error.strerror or error}; make room, or name another"
        )
        print(f"unimatch: {failed}", file=sys.stderr)
        return failed.status
    for weights in both:
        print(one_line(weights.report))
    print(f"written: {options.output}")
    return 0


if __name__ == "__main__":
    exit_with(main)
