"""Writes trained models for use elsewhere, and compares the written model with its original.

Every format takes (B, 3, H, W) normalised float32 and returns (B, C, H, W) logits of the same size, for any batch and
any H and W that are multiples of the model's ``size_multiple``, unless :class:`OnnxOptions` say otherwise. A JSON file
beside the exported one holds all other facts.
"""

import copy
import io
import json
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn
from typing_extensions import override

from unimatch.disk import replace_file, replace_text, temporary_folder
from unimatch.engines.model_facts import ModelFacts, facts_path
from unimatch.engines.onnx import GRAPH, METADATA
from unimatch.engines.torch import TorchEngine
from unimatch.errors import ConfigError
from unimatch.images.arrays import ImageArray
from unimatch.inference.onnx_graph import Graph, OnnxOptions
from unimatch.inference.program import smallest
from unimatch.models import position_embedding as positions
from unimatch.models.base import Model
from unimatch.models.descriptions import describe_model
from unimatch.tasks.scores import confusion_metric
from unimatch.tasks.segmentation import scores

ONNX_LIMIT = 2**31
"""Bytes that one ONNX file can hold."""

PRECISIONS = ("float32", "float16", "bfloat16")


def write_facts(path: Path, model: Model, facts: ModelFacts, precision: str, **more: Any) -> None:
    """Writes the facts about a model, and ``more``, as JSON beside ``path``; gives both files the same permissions."""
    content = {
        **json.loads(facts.to_json()),
        "model": {**describe_model(model), "lora": None},
        "precision": precision,
        "input": f"float32 (B, {', '.join(map(str, model.sample_shape))}, H, W), "
        + ("RGB in 0-1" if model.bands.photos else "values of bands: value_range as 0-1 in 255 steps")
        + ", minus mean, divided by std",
        "output": "float32 (B, C, H, W) logits",
        "size_rule": f"resize bilinearly (corners aligned) to the nearest multiples of {facts.size_multiple}; resize "
        "the logits back in the same way",
        **more,
    }
    replace_text(facts_path(path), json.dumps(content, indent=2) + "\n")
    shutil.copymode(facts_path(path), path)  # safetensors writes files that only their owner can read


def export_safetensors(path: Path, model: Model, facts: ModelFacts, precision: str) -> None:
    """Writes weights by name, in the given precision, and the facts as JSON beside them."""
    # Cloned, because safetensors refuses tensors that share memory.
    dtype = getattr(torch, precision)
    state = {
        name: (tensor.to(dtype) if tensor.is_floating_point() else tensor).contiguous().clone()
        for name, tensor in model.state_dict().items()
    }
    replace_file(path, lambda file: file.write(save(state)))
    write_facts(path, model, facts, precision, torch=torch.__version__)


def export_onnx(
    path: Path, model: Model, facts: ModelFacts, precision: str, options: OnnxOptions | None = None
) -> None:
    """Writes one ONNX file with the facts in its metadata, and as JSON beside it.

    Raises:
        ConfigError: onnx is missing, the precision cannot be run, or the weights exceed the size of one file.
    """
    options = options or OnnxOptions()
    try:
        import onnx
    except ImportError as error:
        raise ConfigError("format=onnx: needs onnx and onnxruntime: pip install 'unimatch[export]'") from error
    if precision == "bfloat16":
        raise ConfigError("precision=bfloat16: onnxruntime has too few operators for it; use float16 or float32")
    size = sum(tensor.numel() for tensor in model.parameters()) * (2 if precision == "float16" else 4)
    if size >= ONNX_LIMIT:
        raise ConfigError(f"format=onnx: {size / 1e9:.1f} GB of weights exceed the 2 GB of one file; use safetensors")
    images = options.example(example_batch(model), facts.size_multiple)
    with temporary_folder(path) as folder, traceable(), torch.no_grad():
        traced = folder / path.name
        # dynamo=False, the tracing exporter: the newer one needs minutes for convolutions that pad by the image's size.
        torch.onnx.export(
            Graph(Cast(model, precision), facts, options),
            (images,),
            str(traced),
            dynamo=False,
            input_names=["image"],
            output_names=[options.output],
            opset_version=options.opset,
            dynamic_axes=options.axes(images.ndim),
        )
        graph = onnx.load(str(traced))
    # The tracer invents names for some of the output's sides.
    sides = graph.graph.output[0].type.tensor_type.shape.dim
    for side, name_or_number in zip(sides, options.output_shape(len(facts.classes)), strict=True):
        setattr(side, "dim_param" if isinstance(name_or_number, str) else "dim_value", name_or_number)
    onnx.helper.set_model_props(graph, {METADATA: facts.to_json(), GRAPH: json.dumps(options.facts())})
    onnx.checker.check_model(graph)
    replace_file(path, lambda file: onnx.save(graph, file))
    more: dict[str, Any] = {"graph": options.facts(), "opset": options.opset}
    if options.normalize:
        more["input"] = "float32 (B, ..., 3, H, W), RGB in 0-255"
    if options.labels:
        more["output"] = "int64 (B, H, W) class ids"
    write_facts(path, model, facts, precision, **more, torch=torch.__version__, onnx=onnx.__version__)


def export_torch(path: Path, model: Model, facts: ModelFacts, precision: str) -> None:
    """Writes a ``torch.export`` program (``.pt2``), and the facts as JSON beside it."""
    multiple, images = facts.size_multiple, example_batch(model)
    least = smallest(multiple) // multiple
    height, width = (torch.export.Dim(name, min=least, max=2**14 // multiple) for name in ("height", "width"))
    shapes = {0: torch.export.Dim("batch"), images.ndim - 2: multiple * height, images.ndim - 1: multiple * width}
    with traceable(), torch.no_grad():
        program = torch.export.export(
            Cast(model, precision),
            (images,),
            dynamic_shapes=(shapes,),
            strict=False,
            prefer_deferred_runtime_asserts_over_guards=True,
        )
    content = io.BytesIO()  # in memory first: on a full disk, torch's writer ends the process
    torch.export.save(program, content)
    replace_file(path, lambda file: file.write(content.getbuffer()))
    write_facts(path, model, facts, precision, torch=torch.__version__)


class Cast(nn.Module):
    """Runs the model in another precision; its input and output are float32."""

    def __init__(self, model: Model, precision: str) -> None:
        super().__init__()
        self.dtype: torch.dtype = getattr(torch, precision)
        self.model = copy.deepcopy(model).to(self.dtype).eval()

    @override
    def forward(self, images: Tensor) -> Tensor:
        return self.model(images.to(self.dtype)).float()


def example_batch(model: Model) -> Tensor:
    """Returns a batch of zeros to trace with, whose height and width differ."""
    multiple = model.size_multiple
    sides = (max(1, round(64 / multiple)) * multiple, max(2, round(96 / multiple)) * multiple)
    return torch.zeros(2, *model.sample_shape, *sides)


@contextmanager
def traceable() -> Iterator[None]:
    """Makes position embeddings be resized by arithmetic that holds for every grid, while a model is traced."""
    original = positions.resize_positions
    positions.resize_positions = resize_by_matrices
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of constants in the trace: the result is compared at other sizes
            yield
    finally:
        positions.resize_positions = original


def resize_by_matrices(table: Tensor, grid: tuple[int, int]) -> Tensor:
    """Computes :func:`unimatch.models.position_embedding.resize_positions` by two matrix products.

    The original's operator takes the scale factor as a constant, so that a traced model would always use the factor of
    the example's grid. While ``torch.jit`` traces, the grid's sides are tensors already; ``torch.export`` would treat
    a number as a constant, so numbers are converted to tensors.

    >>> table = torch.rand(1, 37, 37, 8)
    >>> bool((resize_by_matrices(table, (19, 25)) - positions.resize_positions(table, (19, 25))).abs().max() < 1e-4)
    True
    """
    height, width = table.shape[1:3]
    rows, columns = (side if isinstance(side, Tensor) else torch.scalar_tensor(side) for side in grid)
    same_grid = (rows == height) & (columns == width)
    down = bicubic(grid[0], height, torch.where(same_grid, 1.0, (rows + positions.OFFSET) / height))
    across = bicubic(grid[1], width, torch.where(same_grid, 1.0, (columns + positions.OFFSET) / width))
    resized = down @ table.float().permute(0, 3, 1, 2) @ across.T  # (1, D, rows, columns)
    return resized.permute(0, 2, 3, 1).to(table.dtype)


def bicubic(new: int, old: int, scale: Tensor) -> Tensor:
    """Returns (new, old) weights of PyTorch's bicubic interpolation (a = -0.75) with repeated borders."""
    center = (torch.arange(new) + 0.5) / scale - 0.5
    first = center.floor()
    weights = torch.zeros(1)
    for offset in range(-1, 3):
        at = first + offset
        x, a = (center - at).abs(), -0.75
        near = ((a + 2) * x - (a + 3)) * x * x + 1
        far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
        weight = torch.where(x <= 1, near, far)
        weights = weights + weight[:, None] * (at.clamp(0, old - 1)[:, None] == torch.arange(old))
    return weights


EXPORTERS = {"onnx": export_onnx, "torch": export_torch, "safetensors": export_safetensors}
SUFFIXES = {"onnx": ".onnx", "torch": ".pt2", "safetensors": ".safetensors"}


@dataclass(frozen=True)
class Agreement:
    """Holds how well an exported model agrees with its original on some images."""

    images: int
    """Number of images."""
    largest_difference: float
    """The largest difference between two logits."""
    deviation: float
    """The standard deviation of the original's logits, for comparison."""
    pixels: float
    """Percentage of pixels with the same class."""
    miou: float
    """mIoU of the exported model's masks against the original's, in percent."""


def compare(original: TorchEngine, exported: Any, images: Sequence[ImageArray]) -> Agreement:
    """Predicts images of any sizes with an exported model and its original, and compares the logits."""
    metric = confusion_metric(original.num_classes)
    largest, total, squares, count = 0.0, 0.0, 0.0, 0
    for image in images:
        batch = np.moveaxis(image[None], -1, -3)
        expected, found = original.numpy(original.logits(batch)), np.asarray(exported.numpy(exported.logits(batch)))
        largest = max(largest, float(np.abs(expected - found).max()))
        total, squares, count = total + expected.sum(), squares + (expected**2).sum(), count + expected.size
        metric.update(torch.from_numpy(found.argmax(1)), torch.from_numpy(expected.argmax(1)))
    result = scores(metric.compute())
    deviation = float(max(squares / count - (total / count) ** 2, 0) ** 0.5)
    return Agreement(len(images), largest, deviation, result.pixel_accuracy, result.miou)


def describe(agreement: Agreement) -> str:
    """Describes an agreement in one line."""
    return (
        f"{agreement.images} images: largest difference of a logit {agreement.largest_difference:.2g} (their standard "
        f"deviation is {agreement.deviation:.2g}), {agreement.pixels:.4f}% of the pixels and {agreement.miou:.4f}% "
        "mIoU agree"
    )
