"""What the help and the completion of a command show."""

import functools
import re
from importlib.resources import files
from typing import Any

from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.plugins import Plugins
from omegaconf import OmegaConf

from unimatch.cli.overrides import CONFIG_MODULE


@functools.cache
def hide_bases() -> None:
    """Makes Hydra's help and completion leave out the bases in ``conf/``, whose names begin with ``_``.

    Hydra's own class is changed: a class of ours in its registry would not reach the jobs of launchers like submitit.
    """
    Plugins.instance()  # registers Hydra's own sources
    source = SourcesRegistry.instance().types["pkg"]
    listed = source.list

    def options_only(*arguments: Any, **options: Any) -> list[str]:
        return [name for name in listed(*arguments, **options) if not name.startswith("_")]

    source.list = options_only  # type: ignore[method-assign]


def keys_of(command: str) -> str:
    """Returns a command's keys, with the comments beside them in its file, for its help: ``${keys:check}``.

    >>> keys_of("check").splitlines()[0]
    '  workers  processes; null: one per core'
    """
    text = (files(CONFIG_MODULE) / f"{command}.yaml").read_text(encoding="utf-8")
    found = re.findall(r"^(\w+): .*? # (.*)$", text, re.MULTILINE)
    width = max(len(key) for key, _ in found)
    return "\n".join(f"  {key:<{width}}  {comment}" for key, comment in found)


OmegaConf.register_new_resolver("keys", keys_of, replace=True)
