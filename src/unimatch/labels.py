"""``python -m unimatch.labels``: converts a label tool's export to a folder to train on, and masks to its files."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig

from unimatch.cli.command import command
from unimatch.errors import ConfigError
from unimatch.labelling import TOOLS, Labels, read, write
from unimatch.labelling.merging import labelled_before, under_known_names
from unimatch.safe_text import one_line, to_type


def convert_labels(config: DictConfig) -> None:
    """Reads labels in one format, writes them in another, and prints a summary.

    Args:
        config: ``conf/labels.yaml``, composed.
    """
    if config["from"] is None:
        raise ConfigError("from=FILE_OR_FOLDER is needed: where the labels are")
    if config.to is None:
        raise ConfigError("to=FOLDER is needed: where they go")
    if config.out is not None and config.to not in TOOLS:
        raise ConfigError(f"out={config.out}: goes with to=TOOL alone; to={config.to} is itself the folder to write")
    target = Path(config.to if config.out is None else config.out).expanduser()
    tool = "folder" if config.first_dates is None else "pairs"
    if config.to in TOOLS:
        tool = config.to
    if config.to in TOOLS and config.first_dates is not None:
        raise ConfigError(
            f"first_dates={config.first_dates}: makes pairs to train on, and to={config.to} is a label tool"
        )
    classes = config.classes
    if classes is None and tool == "folder" and (target / "classes.txt").is_file():
        classes = target / "classes.txt"
    labels = read(
        config["from"],
        format=config.format,
        images=config.images,
        classes=classes,
        background=config.background,
        negatives=config.negatives,
    )
    if tool == "folder":
        labels = replace(labels, images=under_known_names(target, labels.images))
    replaced = labelled_before(target, labels.images) if tool == "folder" else []
    write(
        labels,
        target,
        format=tool,
        tolerance=config.tolerance,
        shapes=config.shapes,
        url=config.url,
        first_dates=config.first_dates,
        overwrite=config.overwrite,
        workers=config.workers,
    )
    print(report(labels, target, tool))
    if replaced:
        print(one_line(f"{len(replaced)} of them were labelled before, and have new masks: {', '.join(replaced[:5])}"))


def report(labels: Labels, target: Path, tool: str) -> str:
    """Returns a summary: the number of photos of each part, the classes, and what to do next."""
    count = Counter("unlabelled" if image.labels is None else image.part for image in labels.images)
    if tool in TOOLS:
        del count["unlabelled"]
    photos = ", ".join(f"{count[part]} {part}" for part in ("train", "val", "test", "unlabelled") if count[part])
    rest = (
        "what nobody labelled is not counted (255)" if labels.background is None else f"the rest: {labels.background}"
    )
    lines = [f"{target}: {photos} photos; {len(labels.classes)} classes: {', '.join(labels.classes)}; {rest}"]
    if tool not in TOOLS:
        dataset = "folder" if tool == "folder" else "change_folder"
        check = to_type("python", "-m", "unimatch.check", f"dataset={dataset}", f"dataset.root={target}")
        lines.append(f"next: {check}")
    return "\n".join(map(one_line, lines))


main = command("labels")(convert_labels)

if __name__ == "__main__":
    main()
