"""Hydra's compositions, each made once for the whole suite."""

import pickle
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import pytest
from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.utils import JobRuntime
from omegaconf import DictConfig


def compose_once(patch: pytest.MonkeyPatch) -> None:
    """Keeps what Hydra composes of files of packages, and hands out copies of it.

    A command composes four times, and two of these are the same for many tests; half of the commands' time in the suite
    went there. What is composed of a test's own folders is not kept, since these may change.
    """
    made: dict[Hashable, bytes] = {}
    compose = ConfigLoaderImpl._load_configuration_impl

    def load(self: ConfigLoaderImpl, config_name: str | None, overrides: list[str], **options: Any) -> DictConfig:
        places = [(entry.provider, entry.path) for entry in self.get_search_path().get_path()]
        own = [path for _, path in places if not str(path).startswith(("pkg://", "structured://"))]
        if own or any("hydra.searchpath" in text for text in overrides):
            return compose(self, config_name, overrides, **options)
        key = (config_name, *overrides, *places, *options.items(), JobRuntime.instance().get("name"), version.getbase())
        if key not in made:
            made[key] = pickle.dumps(compose(self, config_name, overrides, **options))
        config: DictConfig = pickle.loads(made[key])
        config.hydra.runtime.cwd = str(Path.cwd())
        return config

    patch.setattr(ConfigLoaderImpl, "_load_configuration_impl", load)
