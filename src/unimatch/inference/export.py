"""Writes trained models for use elsewhere, and compares the written model with its original.

Every format takes (B, 3, H, W) normalised float32 and returns (B, C, H, W) logits of the same size, for any batch and
any H and W that are multiples of the model's ``size_multiple``, unless :class:`OnnxOptions` say otherwise; the JSON
file beside it says the rest.
"""

import copy
import io
import json
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn
from typing_extensions import override

from unimatch.disk import replace_file, replace_text, temporary_folder
from unimatch.engines.model_facts import ModelFacts, beside
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
    """Writes the facts about a model as JSON, beside ``path``, which gets the same permissions."""
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
    replace_text(beside(path), json.dumps(content, indent=2) + "\n")
    shutil.copymode(beside(path), path)  # safetensors lets its owner alone read a file


def export_safetensors(path: Path, model: Model, facts: ModelFacts, precision: str) -> None:
    """Writes weights by name, in the given precision, and the facts as JSON beside them."""
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
    """Writes one ONNX file with the facts in its metadata."""
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
    images = options.example(example(model), facts.size_multiple)
    with temporary_folder(path) as folder, traceable(), torch.no_grad():
        # The exporter that traces: the newer one takes minutes over convolutions that pad by the image's size.
        torch.onnx.export(
            Graph(Cast(model, precision), facts, options),
            (images,),
            str(traced := folder / path.name),
            dynamo=False,
            input_names=["image"],
            output_names=[options.output],
            opset_version=options.opset,
            dynamic_axes=options.axes(images.ndim),
        )
        graph = onnx.load(str(traced))
    axes = graph.graph.output[0].type.tensor_type.shape.dim  # the tracer invents names for some
    for axis, side in zip(axes, options.output_shape(len(facts.classes)), strict=True):
        setattr(axis, "dim_param" if isinstance(side, str) else "dim_value", side)
    for key, value in ((METADATA, facts.to_json()), (GRAPH, json.dumps(options.facts()))):
        entry = graph.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.checker.check_model(graph)
    replace_file(path, lambda file: onnx.save(graph, file))
    more: dict[str, Any] = {"graph": options.facts(), "opset": options.opset}
    if options.normalize:
        more["input"] = "float32 (B, ..., 3, H, W), RGB in 0-255"
    if options.labels:
        more["output"] = "int64 (B, H, W) class ids"
    write_facts(path, model, facts, precision, **more, torch=torch.__version__, onnx=onnx.__version__)


def export_torch(path: Path, model: Model, facts: ModelFacts, precision: str) -> None:
    """Writes a ``torch.export`` program (``.pt2``)."""
    multiple = facts.size_multiple
    least = smallest(multiple) // multiple
    sides = [torch.export.Dim(name, min=least, max=2**14 // multiple) for name in ("height", "width")]
    last = example(model).ndim - 1
    shapes = {0: torch.export.Dim("batch"), last - 1: multiple * sides[0], last: multiple * sides[1]}
    with traceable(), torch.no_grad():
        program = torch.export.export(
            Cast(model, precision),
            (example(model),),
            dynamic_shapes=(shapes,),
            strict=False,
            prefer_deferred_runtime_asserts_over_guards=True,
        )
    content = io.BytesIO()  # on a full disk torch's writer would end the process
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


def example(model: Model) -> Tensor:
    """Returns a batch to trace with, whose height and width differ."""
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
    """Does what :func:`unimatch.models.position_embedding.resize_positions` does, as two matrix products.

    The operator that the original uses takes its scale factor as a constant; a trace would fix that of its own grid.
    While ``torch.jit`` traces, the grid's sides are tensors already; of a number ``torch.export`` would fix the value.

    >>> table = torch.rand(1, 37, 37, 8)
    >>> bool((resize_by_matrices(table, (19, 25)) - positions.resize_positions(table, (19, 25))).abs().max() < 1e-4)
    True
    """
    height, width = table.shape[1:3]
    rows, columns = (side if isinstance(side, Tensor) else torch.scalar_tensor(side) for side in grid)
    own = (rows == height) & (columns == width)
    down = bicubic(grid[0], height, torch.where(own, 1.0, (rows + positions.OFFSET) / height))
    across = bicubic(grid[1], width, torch.where(own, 1.0, (columns + positions.OFFSET) / width))
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
    """Holds how far an exported model agrees with its original on some images."""

    images: int
    largest_difference: float
    """Of a logit."""
    deviation: float
    """The logits' standard deviation, to compare with."""
    pixels: float
    """Percent of pixels with the same class."""
    miou: float
    """Percent, of the exported model's masks against the original's."""


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
        "{images} images: largest difference of a logit {largest_difference:.2g} (their standard deviation is "
        "{deviation:.2g}), {pixels:.4f}% of the pixels and {miou:.4f}% mIoU agree".format(**asdict(agreement))
    )
