"""Hydra's compositions, each made once for the whole suite: half of the time of commands in tests went there."""

import pickle
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.hydra import Hydra
from hydra.core.utils import JobRuntime
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig


def compose_once(patch: pytest.MonkeyPatch) -> None:
    """Keeps what Hydra reads and composes of files of packages, and hands out copies of it.

    A command composes four times, and two of these are the same for many tests. What comes from a test's own folders is
    not kept, since these may change.
    """
    read, made, modes = dict[Hashable, bytes](), dict[Hashable, bytes](), dict[Hashable, Any]()
    load, compose = ConfigRepository.load_config, ConfigLoaderImpl._load_configuration_impl
    get_mode = Hydra.get_mode

    def read_once(self: ConfigRepository, config_path: str) -> ConfigResult | None:
        places = [(source.provider, f"{source.scheme()}://{source.path}") for source in self.sources]
        key = (*places, config_path)
        if not of_packages(places):
            return load(self, config_path)
        if key not in read:
            read[key] = pickle.dumps(load(self, config_path))
        result: ConfigResult | None = pickle.loads(read[key])
        return result

    def made_once(self: ConfigLoaderImpl, config_name: str, overrides: list[str], **options: Any) -> DictConfig:
        places = [(entry.provider, entry.path) for entry in self.get_search_path().get_path()]
        if not of_packages(places) or any("hydra.searchpath" in text for text in overrides):
            return compose(self, config_name, overrides, **options)
        key = (config_name, *overrides, *places, *options.items(), JobRuntime.instance().get("name"), version.getbase())
        if key not in made:
            made[key] = pickle.dumps(compose(self, config_name, overrides, **options))
        config: DictConfig = pickle.loads(made[key])
        config.hydra.runtime.cwd = str(Path.cwd())
        return config

    def mode_once(self: Hydra, config_name: str, overrides: list[str]) -> Any:
        words = tuple(text for text in overrides if "hydra" in text and not text.startswith("hydra.run.dir="))
        places = [(entry.provider, entry.path) for entry in self.config_loader.get_search_path().get_path()]
        if not of_packages(places) or any("searchpath" in text for text in words):
            return get_mode(self, config_name, overrides)
        key = (config_name, *words, *places)
        if key not in modes:
            modes[key] = get_mode(self, config_name, overrides)
        return modes[key]

    patch.setattr(Hydra, "get_mode", mode_once)
    patch.setattr(ConfigRepository, "load_config", read_once)
    patch.setattr(ConfigLoaderImpl, "_load_configuration_impl", made_once)


def of_packages(places: Iterable[tuple[str | None, str | None]]) -> bool:
    """Whether a search path holds packages alone."""
    return all(str(path).startswith(("pkg://", "structured://")) for _, path in places)
