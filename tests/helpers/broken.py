"""Own code that fails, as users give it by ``_target_``."""

from typing import Any, NoReturn


def fails(*arguments: Any, **options: Any) -> NoReturn:
    raise KeyError("of my own")
