"""Runs an exported ONNX file as an engine, with only NumPy and onnxruntime."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unimatch.engines.model_facts import LARGEST_SEEN, ModelFacts
from unimatch.engines.onnx_file import check_file
from unimatch.errors import ConfigError, WeightsError
from unimatch.images.arrays import MaskArray, nearest_multiple
from unimatch.untrusted import bound, parse_json

METADATA = "unimatch"
"""The key in the file's metadata of the facts about the model."""
GRAPH = "unimatch_graph"
"""The key in the file's metadata of the graph's options (:class:`unimatch.inference.onnx_graph.OnnxOptions`)."""


class OnnxEngine:
    """Runs an ONNX file; the methods are those of :class:`unimatch.engines.base.Engine`.

    Args:
        path: written by ``python -m unimatch.export format=onnx``.
        device: ``cpu``, or ``cuda`` with onnxruntime-gpu.

    Raises:
        ConfigError: onnxruntime is missing, or cannot use the device.
        WeightsError: the file is not readable, or not one of ours.
    """

    def __init__(self, path: Path, device: str = "cpu") -> None:
        self.session = open_session(path, device)
        metadata = self.session.get_modelmeta().custom_metadata_map
        self.facts = ModelFacts.from_json(metadata.get(METADATA, ""), str(path))
        try:
            graph = checked_graph(parse_json(metadata.get(GRAPH, "{}")))
        except (AttributeError, TypeError, ValueError) as error:
            raise WeightsError(f"{path}: does not say how unimatch's graph is run ({error})") from error
        if graph.get("labels"):
            raise WeightsError(f"{path}: gives class ids and no logits; for a Predictor export it without labels=true")
        if len(inputs := self.session.get_inputs()) != 1:
            raise WeightsError(f"{path}: takes {len(inputs)} inputs, and must take one, the image")
        self.size, self.batch, self.normalizes = graph.get("size"), graph.get("batch"), bool(graph.get("normalize"))
        self.path, self.device = path.absolute(), device
        self.num_classes = len(self.facts.classes)
        mean, std = (np.array(value, np.float32)[:, None] for value in (self.facts.mean, self.facts.std))
        # Normalised values, by channel and pixel value.
        self.tables = (np.arange(256, dtype=np.float32) / np.float32(255) - mean) / std
        self.batch_size = self.batch or (1 if device == "cpu" else 8)
        self.threads = 1
        self.input = inputs[0].name

    def use_threads(self, count: int) -> None:
        """Does nothing: onnxruntime divides its threads itself."""

    def logits(self, images: NDArray[Any], scale: float = 1.0, *, flipped: bool = False) -> NDArray[np.float32]:
        """Returns logits at the images' size; the model sees the images at the nearest size that it takes."""
        if flipped:
            return self.logits(images[..., ::-1], scale)[..., ::-1]
        images = self.floats(images)
        height, width = images.shape[-2:]
        multiple = self.facts.size_multiple
        fitting = nearest_multiple(height * scale, multiple), nearest_multiple(width * scale, multiple)
        images = np.ascontiguousarray(resize(images, self.size or fitting))
        if self.batch is None:
            return resize(self.run(images), (height, width))
        # The graph takes batches of one size: the last one is filled up with copies of the last image.
        count = len(images)
        missing = -count % self.batch
        images = np.concatenate([images, *[images[-1:]] * missing])
        parts = (images[i : i + self.batch] for i in range(0, len(images), self.batch))
        logits = np.concatenate([self.run(part) for part in parts])[:count]
        return resize(logits, (height, width))

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns the graph's logits (B, C, H, W) of a batch (B, ..., H, W) at a size that it takes.

        Raises:
            WeightsError: the graph fails, for lack of memory for example, or returns something else.
        """
        try:
            logits = np.asarray(self.session.run(None, {self.input: images})[0])
        except Exception as error:  # onnxruntime has its own kinds of errors
            size = " x ".join(map(str, images.shape))
            raise WeightsError(f"{self.path}: the graph fails on images of {size} ({error})") from error
        expected = (len(images), self.num_classes, *images.shape[-2:])
        if logits.shape != expected:
            raise WeightsError(f"{self.path}: the graph returns {logits.shape} in place of logits {expected}")
        return logits

    def floats(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Converts normalised or uint8 images to what the graph takes: normalised, or in 0-255 if it normalises."""
        if images.dtype != np.uint8:
            mean, std = (np.array(value, np.float32)[:, None, None] for value in (self.facts.mean, self.facts.std))
            return (images * std + mean) * np.float32(255) if self.normalizes else images
        if self.normalizes:
            return images.astype(np.float32)
        result = np.empty(images.shape, np.float32)
        for channel, table in enumerate(self.tables):
            result[..., channel, :, :] = table[images[..., channel, :, :]]
        return result

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the path and the device: onnxruntime's session cannot be pickled."""
        return type(self), (self.path, self.device)

    def softmax(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns probabilities over the classes."""
        result = np.exp(logits - logits.max(1, keepdims=True))
        result /= result.sum(1, keepdims=True)
        return result

    def zeros(self, *shape: int) -> NDArray[np.float32]:
        """Returns float32 zeros."""
        return np.zeros(shape, np.float32)

    def array(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns the array itself."""
        return values

    def labels(self, scores: NDArray[np.float32]) -> MaskArray:
        """Returns the ids of the highest scores."""
        best = scores[:, 0].copy()
        labels = np.zeros(best.shape, np.uint8)
        for i in range(1, scores.shape[1]):  # class by class, in the order of memory, which is faster than argmax
            np.copyto(labels, np.uint8(i), where=scores[:, i] > best)
            np.maximum(best, scores[:, i], out=best)
        return labels

    def confidence(self, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns the highest probabilities."""
        return probabilities.max(1)

    def numpy(self, array: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns the array itself."""
        return array


def open_session(path: Path, device: str) -> Any:
    """Opens an ONNX file with onnxruntime, on a device; raises the errors of :class:`OnnxEngine`."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError(f"{path}: needs onnxruntime: pip install onnxruntime") from error
    providers = ["CPUExecutionProvider"]
    if device != "cpu":
        providers.insert(0, "CUDAExecutionProvider")
        if providers[0] not in onnxruntime.get_available_providers():
            raise ConfigError(f"device={device}: this onnxruntime has no CUDA; install onnxruntime-gpu")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # only what ends the process: errors are raised too
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", 0))  # as PyTorch does; 0 for all cores
    try:
        check_file(path)
        # A small file can describe huge constants, or hours of work on them: do not compute them when it is opened.
        return onnxruntime.InferenceSession(
            str(path), options, providers=providers, disabled_optimizers=["ConstantFolding"]
        )
    except Exception as error:  # onnxruntime has its own kinds of errors
        raise WeightsError(f"{path}: cannot be read as an ONNX model ({error})") from error


MOST_IMAGES = 1024
"""The largest fixed batch size that a file may state."""


def checked_graph(graph: dict[str, Any]) -> dict[str, Any]:
    """Returns a graph's options from a file, if their numbers are within bounds.

    Raises:
        TypeError: a number is of the wrong kind.
        ValueError: a number is out of bounds.
    """
    size, batch = graph.get("size"), graph.get("batch")
    if size is not None and [type(side) for side in size] != [int, int]:
        raise TypeError(f"size is {size!r:.80}, and must be a height and a width")
    if type(batch) not in (int, type(None)):
        raise TypeError(f"batch is {batch!r:.80}, and must be a whole number")
    bound(batch, "batch", MOST_IMAGES, 1)
    bound(size, "size", LARGEST_SEEN, 1)
    if size is not None and size[0] * size[1] * (batch or 1) > LARGEST_SEEN:
        raise ValueError(f"batches of {batch or 1} x {size[0]} x {size[1]} pixels, and at most {LARGEST_SEEN:,} may be")
    return graph


def resize(images: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Resizes bilinearly with aligned corners, (..., H, W) -> (..., *size).

    >>> resize(np.array([[0, 1]], np.float32), (1, 3)).tolist()
    [[0.0, 0.5, 1.0]]
    """
    for axis, new in ((-2, size[0]), (-1, size[1])):
        old = images.shape[axis]
        if old == new:
            continue
        position = np.arange(new) * ((old - 1) / max(new - 1, 1))
        low = np.minimum(position.astype(np.int64), old - 1)
        high = np.minimum(low + 1, old - 1)
        share = (position - low).astype(np.float32)
        if axis == -2:
            share = share[:, None]
        images = images.take(low, axis) * (1 - share) + images.take(high, axis) * share
    return images
