"""Reads pickles of plain arrays, such as CIFAR's batches, and refuses all others.

Unpickling can run any code. Here it can construct nothing but NumPy's arrays and dtypes, whatever the file says.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from unimatch.errors import DataError

RECONSTRUCT = np.zeros(0).__reduce__()[0]


def latin1(text: Any, encoding: Any) -> bytes:
    """Returns the bytes that pickles of protocols 0 to 2 store as text."""
    if type(text) is not str or encoding != "latin1":
        raise pickle.UnpicklingError(f"refused, it encodes text as {encoding}")
    return text.encode("latin1")


def from_buffer(buffer: Any, dtype: Any, shape: Any, order: Any, axes: Any = None) -> NDArray[Any]:
    """Returns an array that a pickle of protocol 5 stores; NumPy refuses one of objects."""
    array = np.frombuffer(buffer, dtype)
    return array.reshape(shape, order=order) if axes is None else array.reshape(shape).transpose(axes)


ALLOWED = {
    ("_codecs", "encode"): latin1,
    ("numpy.core.numeric", "_frombuffer"): from_buffer,
    ("numpy._core.numeric", "_frombuffer"): from_buffer,
    ("numpy.core.multiarray", "_reconstruct"): RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}
"""The names in NumPy's pickles of arrays in every protocol, and what they stand for."""


class ArrayUnpickler(pickle.Unpickler):
    """Unpickles only what :data:`ALLOWED` lists."""

    @override
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"refused, it holds more than arrays and plain values: {module}.{name}")
        return ALLOWED[module, name]


def read_array_pickle(path: Path) -> Any:
    """Reads a pickle of arrays, lists, dicts, numbers and strings; strings of Python 2 become ``str``.

    Raises:
        DataError: the file cannot be read, or holds anything else.
    """
    try:
        with path.open("rb") as file:
            return ArrayUnpickler(file, encoding="latin1").load()
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except Exception as error:  # pickle raises many kinds of errors for other files
        raise DataError(f"{path}: cannot be read as a pickle of arrays ({error})") from error
