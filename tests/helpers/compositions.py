"""Hydra's compositions, each made once for the whole suite: a third of the time of commands in tests went there."""

import pickle
from collections.abc import Hashable, Iterable
from typing import Any

import pytest
from hydra._internal import config_loader_impl
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository, IConfigRepository
from hydra._internal.defaults_list import DefaultsList, Overrides
from hydra._internal.hydra import Hydra
from hydra.core.config_store import ConfigStore
from hydra.core.default_element import ResultDefault
from hydra.core.override_parser.types import Override
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig


def compose_once(patch: pytest.MonkeyPatch) -> None:
    """Keeps what Hydra reads and composes of files of packages, and hands out copies of it.

    A composition has three stages: the files to read follow from the chosen options, these are merged, and then single
    keys are set. Tests choose the same few options with ever other keys, so that the first two stages are kept. What
    comes from a test's own folders is not kept, since these may change. Before it composes for a command, Hydra does so
    to know whether ``hydra.mode`` asks for a sweep, which follows from the options and the keys of ``hydra``.
    """
    read, lists, merged = dict[Hashable, bytes](), dict[Hashable, bytes](), dict[Hashable, bytes]()
    modes = dict[Hashable, Any]()
    load, list_defaults = ConfigRepository.load_config, config_loader_impl.create_defaults_list
    merge, get_mode = ConfigLoaderImpl._compose_config_from_defaults_list, Hydra.get_mode

    def read_once(self: ConfigRepository, config_path: str) -> ConfigResult | None:
        places = places_of(self)
        if not of_packages(places):
            return load(self, config_path)
        key = (*places, config_path)
        if key not in read:
            read[key] = pickle.dumps(load(self, config_path))
        result: ConfigResult | None = pickle.loads(read[key])
        return result

    def list_once(
        repo: IConfigRepository, config_name: str | None, overrides_list: list[Override], **options: bool
    ) -> DefaultsList:
        places = places_of(repo)
        if not of_packages(places):
            return list_defaults(repo, config_name, overrides_list, **options)
        overrides = Overrides(repo, overrides_list)
        keys = {id(override) for override in overrides.config_overrides}
        chosen = [override.input_line for override in overrides_list if id(override) not in keys]
        key = (*places, config_name, *options.items(), *chosen)
        if key not in lists:
            made = list_defaults(repo, config_name, overrides_list, **options)
            lists[key] = pickle.dumps((made.defaults, made.overrides.known_choices))
        defaults, overrides.known_choices = pickle.loads(lists[key])
        return DefaultsList(
            defaults=defaults, defaults_tree=None, config_overrides=overrides.config_overrides, overrides=overrides
        )

    def merge_once(self: ConfigLoaderImpl, defaults: list[ResultDefault], repo: IConfigRepository) -> DictConfig:
        places = places_of(repo)
        if not of_packages(places):
            return merge(self, defaults, repo)
        key = (*places, repr(defaults))
        if key not in merged:
            merged[key] = pickle.dumps(merge(self, defaults, repo))
        config: DictConfig = pickle.loads(merged[key])
        return config

    def mode_once(self: Hydra, config_name: str, overrides: list[str]) -> Any:
        places = places_of(self.config_loader.repository)
        if not of_packages(places) or any("hydra" in word.partition("=")[0] for word in overrides):
            return get_mode(self, config_name, overrides)
        key = (*places, config_name, *(word for word in overrides if "." not in word.partition("=")[0]))
        if key not in modes:
            modes[key] = get_mode(self, config_name, overrides)
        return modes[key]

    patch.setattr(ConfigStore, "__deepcopy__", lambda self, memo: self, raising=False)  # nothing is written into it
    patch.setattr(Hydra, "get_mode", mode_once)
    patch.setattr(ConfigRepository, "load_config", read_once)
    patch.setattr(config_loader_impl, "create_defaults_list", list_once)
    patch.setattr(ConfigLoaderImpl, "_compose_config_from_defaults_list", merge_once)


def places_of(repo: Any) -> list[tuple[str, str]]:
    """The search path of a repository: who gives each place, and its address."""
    return [(source.provider, f"{source.scheme()}://{source.path}") for source in repo.get_sources()]


def of_packages(places: Iterable[tuple[str, str]]) -> bool:
    """Whether a search path holds packages alone."""
    return all(path.startswith(("pkg://", "structured://")) for _, path in places)
