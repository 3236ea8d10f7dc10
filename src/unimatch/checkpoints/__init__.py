"""Checkpoints: what they hold, how they are read, and how a training continues from one."""

from typing import TYPE_CHECKING

from unimatch.lazy_imports import on_first_use

if TYPE_CHECKING:
    from unimatch.checkpoints.files import load_model as load_model
    from unimatch.checkpoints.official import load_official as load_official

HOMES = {"load_model": "files", "load_official": "official"}
"""Where each name is defined."""

__all__ = ["load_model", "load_official"]
__getattr__ = on_first_use(__name__, HOMES)


def __dir__() -> list[str]:
    """Lists the public names too, for completion."""
    return [*globals(), *HOMES]
