"""``python -m unimatch.prepare``: turns a benchmark's published archives into the folders its layout reads."""

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from unimatch.cli.command import command
from unimatch.data.prepare import RECIPES, convert_archives
from unimatch.errors import ConfigError
from unimatch.texts import to_type


def prepare_dataset(config: DictConfig) -> None:
    """Prepares a data set as the configuration says and prints what was done.

    Args:
        config: ``conf/prepare.yaml``, composed.
    """
    dataset = HydraConfig.get().runtime.choices.get("dataset")
    if dataset is None:
        raise ConfigError(f"dataset=NAME is needed; there are: {', '.join(RECIPES)}")
    if config.source is None:
        raise ConfigError("source=FOLDER is needed: where the archives are, or are to be downloaded to")
    root = config.dataset.get("root", None) if config.root is None and "root" in config.dataset else config.root
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
    print(f"{root}: {outcome.written} files written, {outcome.kept} were there")
    check = to_type("python", "-m", "unimatch.check", f"dataset={dataset}", f"dataset.root={root}")
    print(f"next: {check}")


main = command("prepare")(prepare_dataset)

if __name__ == "__main__":
    main()
