"""Opens the files that the page sends: bounded, and without a path in what is said of them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import parse_qsl

from unimatch.errors import DataError, UnimatchError
from unimatch.images.rasters import pixel_count

LARGEST_IMAGE = 25_000_000
"""How many pixels a file may have."""

NAMES = {"image": "the file", "second": "the second date", "truth": "the mask"}
"""What the page can send, and what messages call it."""


def parts_of(query: str, content: bytes, allowed: tuple[str, ...]) -> dict[str, bytes]:
    """Cuts a request's body into the files that its query lists: ``image=1200&truth=300``, with their bytes.

    Raises:
        DataError: the query does not say what is in the body, or lists what this model has no use for.
    """
    if not query:
        return {"image": content}
    pairs = parse_qsl(query, keep_blank_values=True)
    sizes = {name: int(size) for name, size in pairs if name in allowed and size.isdecimal() and len(size) < 12}
    if len(sizes) < len(pairs) or "image" not in sizes or sum(sizes.values()) != len(content):
        raise DataError(f"{query[:80]}: must list the bytes of {', '.join(allowed)}, in the body's order")
    parts, start = {}, 0
    for name, size in sizes.items():
        parts[name] = content[start : start + size]
        start += size
    return parts


@contextmanager
def stored(files: Mapping[str, bytes]) -> Iterator[dict[str, Path]]:
    """Puts files into a passing folder. Messages call them what :data:`NAMES` does.

    Raises:
        DataError: one has more than :data:`LARGEST_IMAGE` pixels, which is seen before it is decoded.
    """
    with TemporaryDirectory() as folder:
        paths = {name: Path(folder) / name for name in files}
        for name, path in paths.items():
            path.write_bytes(files[name])
        try:
            for path in paths.values():
                if (pixels := pixel_count(path)) > LARGEST_IMAGE:
                    raise DataError(
                        f"{path}: has {pixels / 1e6:.1f} million pixels, and this page takes up to "
                        f"{LARGEST_IMAGE / 1e6:g}; python -m unimatch.predict takes more"
                    )
            yield paths
        except UnimatchError as error:
            raise type(error)(named(str(error), paths)) from error


def named(text: str, paths: Mapping[str, Path]) -> str:
    """Returns a message that calls the files what they are, and not where they lie."""
    for name, path in paths.items():
        text = text.replace(str(path), NAMES[name])
    return text


def read(files: Mapping[str, bytes], reader: Callable[[dict[str, Path]], Any]) -> Any:
    """Returns what ``reader`` makes of the files' paths."""
    with stored(files) as paths:
        return reader(paths)
