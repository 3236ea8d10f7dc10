"""``python -m unimatch.split``: writes lists of labelled and unlabelled images in the published format."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from unimatch.cli.building import build
from unimatch.cli.command import command
from unimatch.data import DatasetInfo, FilePair, FileSource, SegmentationData, Source
from unimatch.data.sets.image_folder import training_folder
from unimatch.data.sets.own_folders import training_place
from unimatch.data.sources.dates import PairSource
from unimatch.data.sources.files import Tree, existing_root
from unimatch.data.sources.one_class import ClassFiles
from unimatch.data.splits.candidates import Candidates, with_classes, with_dates, with_masks
from unimatch.data.splits.generate import choose, choose_of_each_class, write_split
from unimatch.errors import ConfigError
from unimatch.images.folders import part_folder
from unimatch.safe_text import one_line
from unimatch.terminal import text_table
from unimatch.wording import counted


def split(config: DictConfig) -> None:
    """Chooses labelled images, writes the lists, and prints what they hold.

    Args:
        config: ``conf/split.yaml``, composed.
    """
    if config.labeled is None:
        raise ConfigError("labeled=N or labeled=[N,M] is needed: how many images are labelled")
    sizes = OmegaConf.to_container(config.labeled) if OmegaConf.is_list(config.labeled) else [config.labeled]
    if not isinstance(sizes, list) or not all(type(size) is int for size in sizes):
        raise ConfigError(f"labeled={config.labeled}: numbers of labelled images are needed, such as labeled=[50,100]")
    root, found, info, one_class = training_images(config)
    if one_class:
        chosen = choose_of_each_class(found.images, sizes, config.seed, config.val, info.classes)
    else:
        chosen = choose(found.images, sizes, config.seed, config.val)
    out = Path(config.out).expanduser() if config.out is not None else root / "splits"
    folder = root / config.dataset.get("train", "train") if one_class else root
    settings = {
        "relative_to": str(folder),
        "dataset": HydraConfig.get().runtime.choices.get("dataset"),
        "seed": config.seed,
        "group": config.group,
    }
    facts = write_split(
        out,
        found.images,
        found.others,
        chosen,
        dict(enumerate(info.classes)),
        settings,
        overwrite=config.overwrite,
        unlabeled_lists=not one_class,
    )
    print(report(facts, out, "class" if one_class else "mask"))
    if found.left_out:
        pool = root / "unlabeled"
        setting = f"'dataset.unlabeled=[rest,{{root: {pool}}}]'"
        print(f"{counted(found.left_out, 'pair')} of {pool} in no list; to add: {setting}")


def training_images(config: DictConfig) -> tuple[Path, Candidates, DatasetInfo, bool]:
    """Returns the root, the training images, the facts of the data set, and whether each image has one class."""
    if config.get("dataset") is None:
        if config.root is None:
            raise ConfigError("root=FOLDER or dataset=NAME is needed: which images are to be split?")
        root = existing_root(config.root)
        images, masks = config.images, config.masks
        if images is None or masks is None:
            place = training_place(root)
            images, masks = images or place.images, masks or place.masks
        pairs = list(Tree(images, masks).images_and_masks(root))
        info = DatasetInfo("folder", (), ())
        return root, with_masks(pairs, root, info, config.group, config.workers), info, False
    if config.root is not None:
        config.dataset.root = config.root
    data: SegmentationData = build(config.dataset)
    if not isinstance(data.labeled, FileSource):
        key = "labeled_per_class" if "labeled_per_class" in config.dataset else "labeled"
        raise ConfigError(f"dataset={data.info.name} is not made of files; dataset.{key}=N splits it")
    root = existing_root(config.dataset.root)
    if isinstance(data.labeled, ClassFiles):
        pool = part_folder(root, config.dataset.get("unlabeled_folder", "unlabeled"))
        folder = root / training_folder(root, config.dataset.get("train", "train"), pool)
        return root, with_classes(data, folder, config.group), data.info, True
    held_out = {pair.image for part in (data.val, data.test) for pair in file_pairs(part)}
    by_image = {pair.image: pair for pair in [*file_pairs(data.unlabeled), *file_pairs(data.labeled)]}
    pairs = [by_image[image] for image in sorted(by_image) if image not in held_out]
    read = with_dates if isinstance(data.labeled, PairSource) else with_masks
    return root, read(pairs, root, data.info, config.group, config.workers), data.info, False


def file_pairs(source: Source | None) -> Iterable[FilePair]:
    """Returns the files of a part; none if there is no such part, or it is not made of files."""
    return source.pairs if isinstance(source, FileSource) else ()


def report(facts: dict[str, Any], out: Path, label: str) -> str:
    """Returns a line for each list, with the classes that are missing from it."""
    images = counted(facts["images"], "image")
    lines = [f"{images} with a {label}, {facts['images_without_mask']} without; lists below {out}:"]
    rows = []
    for name, about in facts["lists"].items():
        missing = ", ".join(about["missing"][:10]) + (" ..." if len(about["missing"]) > 10 else "")
        shown = f"; {counted(len(about['missing']), 'class')} missing: {missing}" if missing else ""
        rows.append([f"  {name}", str(about["images"]), f"images{shown}"])
    lines += text_table(rows, left=(0, 2))
    nowhere = [name for name, count in facts["classes"].items() if not count]
    if nowhere:
        lines.append(one_line(f"no {label} at all shows: {', '.join(nowhere)}"))
    return "\n".join(lines)


main = command("split")(split)

if __name__ == "__main__":
    main()
