"""Follows references between settings, such as ``method.tau: ${recipe.tau}``."""

import re
from collections.abc import Iterator
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import (
    InterpolationKeyError,
    InterpolationResolutionError,
    InterpolationToMissingValueError,
)

from unimatch.cli.overrides import flat_keys
from unimatch.errors import ConfigError, first_line
from unimatch.options import did_you_mean

ONE_KEY = re.compile(r"\$\{(?:oc\.select:)?(\w[\w.]*)(?:,[^{}]*)?\}")
"""A value that is nothing but the value of another key."""


def place_of_value(config: Any, key: str) -> str:
    """Returns the key at which a key's value stands, which is another one if the key refers to it.

    Args:
        config: the whole configuration.
        key: its full name.

    >>> config = OmegaConf.create({"recipe": {"tau": 0.95}, "method": {"tau": "${recipe.tau}", "loss_weight": 1.0}})
    >>> place_of_value(config, "method.tau"), place_of_value(config, "method.loss_weight")
    ('recipe.tau', 'method.loss_weight')
    """
    values = {name: node._get_node(own)._value() for name, node, own in references(config)}
    seen = [key]
    while (found := ONE_KEY.fullmatch(values.get(seen[-1], ""))) and found[1] not in seen:
        seen.append(found[1])
    existing = set(flat_keys(config))
    return next((name for name in reversed(seen) if name in existing), key)


def refuse_unknown_references(config: DictConfig) -> None:
    """Refuses a key that refers to what does not exist: ``method.tau=${recipe.tauu}``, ``${oc.env:NO_SUCH_VARIABLE}``.

    Raises:
        ConfigError: naming the key, and what it refers to.
    """
    for key, node, name in references(config):
        try:
            _ = node[name]
        except InterpolationKeyError as error:
            missing = str(error).partition("'")[2].partition("'")[0]
            meant = did_you_mean(missing, list(flat_keys(config)))
            raise ConfigError(f"{key}={node._get_node(name)._value()}: there is no key {missing}{meant}") from error
        except InterpolationToMissingValueError:  # the reader of the key tells of it
            continue
        except InterpolationResolutionError as error:
            value = node._get_node(name)._value()
            if "${hydra:" in value and not HydraConfig.initialized():  # known only once the job has begun
                continue
            reason = first_line(error).rpartition("resolving interpolation: ")[2]
            raise ConfigError(f"{key}={value}: {reason}; correct what it refers to") from error


def references(config: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yields each reference in a configuration: its full key, the node that holds it, and its key or place in there."""
    for name in range(len(config)) if OmegaConf.is_list(config) else config:
        if OmegaConf.is_interpolation(config, name):
            yield f"{prefix}{name}", config, name
        elif not OmegaConf.is_missing(config, name) and OmegaConf.is_config(config[name]):
            yield from references(config[name], f"{prefix}{name}.")
