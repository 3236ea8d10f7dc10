"""``python -m unimatch.split``: write lists of labelled and unlabelled images in the published format."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from unimatch.command import command
from unimatch.data import DatasetInfo, FilePair, FileSource, SegmentationData, Source
from unimatch.data.generate import Candidate, choose, group_of, pair_below, read_classes_of, write_split
from unimatch.data.layouts import existing_root
from unimatch.errors import ConfigError, DataError


def split(config: DictConfig) -> None:
    """Choose labelled images as the configuration says, write the lists and print what is in them.

    Args:
        config: ``conf/split.yaml``, composed.
    """
    sizes = OmegaConf.to_container(config.labeled) if OmegaConf.is_list(config.labeled) else [config.labeled]
    if not isinstance(sizes, list) or not all(type(size) is int for size in sizes):
        raise ConfigError(f"labeled={config.labeled}: numbers of labelled images are needed, such as labeled=[50,100]")
    root, pairs, info = training_images(config)
    lines = {pair: line_of(pair, root) for pair in pairs}
    with_mask = [pair for pair in pairs if pair.mask is not None]
    groups = [group_of(relative(pair.image, root), config.group) for pair in with_mask]
    classes = read_classes_of(FileSource(with_mask, info), range(len(with_mask)), config.workers)
    candidates = [
        Candidate(lines[pair], seen, group) for pair, seen, group in zip(with_mask, classes, groups, strict=True)
    ]
    chosen = choose(candidates, sizes, config.seed, config.val)
    out = Path(config.out).expanduser() if config.out is not None else root / "splits"
    settings = {"dataset": HydraConfig.get().runtime.choices.get("dataset"), "seed": config.seed, "group": config.group}
    facts = write_split(
        out,
        candidates,
        [lines[pair] for pair in pairs if pair.mask is None],
        chosen,
        dict(enumerate(info.classes)),
        settings,
        overwrite=config.overwrite,
    )
    print(report(facts, out))


def training_images(config: DictConfig) -> tuple[Path, list[FilePair], DatasetInfo]:
    """The root, the training images sorted by path, and what is known of the data set."""
    if config.get("dataset") is None:
        if config.root is None:
            raise ConfigError("root=FOLDER or dataset=NAME is needed: which images are to be split?")
        root = existing_root(config.root)
        return root, pair_below(root / config.images, root / config.masks), DatasetInfo("folder", (), ())
    if config.root is not None:
        config.dataset.root = config.root
    data: SegmentationData = instantiate(config.dataset)
    if not isinstance(data.labeled, FileSource):
        raise ConfigError(f"dataset={data.info.name} is not made of files; dataset.labeled=N splits it")
    root = existing_root(config.dataset.root)
    held_out = {pair.image for part in (data.val, data.test) for pair in file_pairs(part)}
    pairs = {pair.image: pair for pair in [*file_pairs(data.unlabeled), *file_pairs(data.labeled)]}
    return root, [pairs[image] for image in sorted(pairs) if image not in held_out], data.info


def file_pairs(source: Source | None) -> Iterable[FilePair]:
    """The files of a part, none where there is no such part."""
    return source.pairs if isinstance(source, FileSource) else ()


def line_of(pair: FilePair, root: Path) -> str:
    """``image_path mask_path`` relative to the root, as lists have it; with a tab between them where a name has blanks.

    Raises:
        DataError: a path lies elsewhere, or has a tab or a line break.
    """
    parts = [relative(path, root) for path in (pair.image, pair.mask) if path is not None]
    if all(len(part.split()) == 1 for part in parts):
        return " ".join(parts)
    return "\t".join(parts) + ("\t" if len(parts) == 1 else "")


def relative(path: Path, root: Path) -> str:
    """A file's path relative to the root, with ``/``."""
    if not path.is_relative_to(root):
        raise DataError(f"{path}: not below {root}, which the lists' paths are relative to")
    part = path.relative_to(root).as_posix()
    if "\t" in part or len(part.splitlines()) != 1:
        raise DataError(f"{path}: a list cannot hold a name with a tab or a line break; rename the file")
    return part


def report(facts: dict[str, Any], out: Path) -> str:
    """A line per list, and the classes that are missing from it."""
    lines = [f"{facts['images']} images with a mask, {facts['images_without_mask']} without; lists below {out}:"]
    width = max(len(name) for name in facts["lists"])
    for name, about in facts["lists"].items():
        missing = ", ".join(about["missing"][:10]) + (" ..." if len(about["missing"]) > 10 else "")
        shown = f"; {len(about['missing'])} classes missing: {missing}" if missing else ""
        lines.append(f"  {name:<{width}}  {about['images']:6d} images{shown}")
    nowhere = [name for name, count in facts["classes"].items() if not count]
    if nowhere:
        lines.append(f"no mask at all shows: {', '.join(nowhere)}")
    return "\n".join(lines)


main = command("split")(split)

if __name__ == "__main__":
    main()
