"""Stores the files that the page sends, for functions that read paths; error messages show no path."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import parse_qsl

from unimatch.errors import DataError, UnimatchError
from unimatch.images.rasters import pixel_count

LARGEST_IMAGE = 25_000_000
"""The most pixels that a file may have."""

NAMES = {"image": "the file", "second": "the second date", "truth": "the mask"}
"""The kinds of files that the page can send, with what messages call them."""


def parts_of(query: str, content: bytes, allowed: tuple[str, ...]) -> dict[str, bytes]:
    """Cuts a request's body into its files.

    Args:
        query: the request's query, with the kinds and sizes of the files in bytes: ``image=1200&truth=300``. If it is
            empty, the body is one image.
        content: the body.
        allowed: the kinds of files that the model takes.

    Returns:
        The files' content by kind.

    Raises:
        DataError: the query lists no image, a kind that is not allowed, or other sizes than the body's.
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
    """Writes files into a temporary folder and yields their paths by kind.

    Errors raised inside call the files what :data:`NAMES` does, in place of their paths.

    Raises:
        DataError: a file has more than :data:`LARGEST_IMAGE` pixels, which is checked before it is decoded.
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
            message = str(error)
            for name, path in paths.items():
                message = message.replace(str(path), NAMES[name])
            raise type(error)(message) from error
