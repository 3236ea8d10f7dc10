"""``python -m unimatch.prepare``: converts a benchmark's published archives to the folders that its data set reads."""

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from unimatch.cli.command import command
from unimatch.data.prepare import RECIPES, convert_archives
from unimatch.errors import ConfigError
from unimatch.safe_text import to_type
from unimatch.wording import counted


def prepare_dataset(config: DictConfig) -> None:
    """Prepares a data set, and prints how many files were written.

    Args:
        config: ``conf/prepare.yaml``, composed.
    """
    dataset = HydraConfig.get().runtime.choices.get("dataset")
    if dataset is None:
        raise ConfigError(f"dataset=NAME is needed; there are: {', '.join(RECIPES)}")
    if config.source is None:
        raise ConfigError("source=FOLDER is needed: where the archives are, or are to be downloaded to")
    root = config.root if config.root is not None else config.dataset.get("root", None)
    if root is None:
        raise ConfigError("root=FOLDER is needed: where the prepared data set is to lie")
    outcome = convert_archives(
        dataset,
        Path(config.source).expanduser(),
        Path(root).expanduser(),
        download=config.download,
        extra=config.extra,
        overwrite=config.overwrite,
        workers=config.workers,
    )
    print(f"{root}: {counted(outcome.written, 'file')} written, {outcome.kept} were there")
    check = to_type("python", "-m", "unimatch.check", f"dataset={dataset}", f"dataset.root={root}")
    print(f"next: {check}")


main = command("prepare")(prepare_dataset)

if __name__ == "__main__":
    main()
