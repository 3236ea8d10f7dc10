"""DINOv2's own weights on real photos, where both are on this machine (``helpers.places.SHARED``)."""

import copy
import functools
import math
from pathlib import Path

import lightning
import numpy as np
import pytest
import timm
import torch
from safetensors.numpy import load_file
from scipy.special import erf

from helpers.places import SHARED
from unimatch import Predictor, SegmentationModel, SemiSupervisedDataModule, UniMatchV2
from unimatch.data import camvid
from unimatch.engines.torch import TorchEngine
from unimatch.images.arrays import read_image
from unimatch.images.tensors import normalize
from unimatch.inference.export import export_onnx
from unimatch.inference.load import trained_model
from unimatch.inference.onnx_graph import OnnxOptions
from unimatch.models import build_encoder

WEIGHTS = SHARED / "weights" / "dinov2_vits14_fp16.safetensors"
CAMVID = SHARED / "data" / "camvid"
LEVELS, HEADS, PATCH = (2, 5, 8, 11), 6, 14

pytestmark = pytest.mark.skipif(not WEIGHTS.is_file(), reason="needs DINOv2's weights")
nightly = pytest.mark.nightly


@pytest.fixture(scope="module")
def encoder():
    return build_encoder("vits", WEIGHTS).eval()


def photo(number=0, size=None):
    """A photo of CamVid, normalised: (1, 3, H, W); noise where there is none."""
    files = sorted((CAMVID / "val").glob("*"))
    pixels = read_image(files[number]) if files else np.random.default_rng(0).integers(0, 256, (360, 480, 3), np.uint8)
    tensor = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None]
    if size is not None:
        tensor = torch.nn.functional.interpolate(tensor.float(), size, mode="bilinear").round().byte()
    return normalize(tensor)


def cubic(new, old):
    """The matrix (new, old) of a cubic resize by DINOv2's factor, ``(new + 0.1) / old``; edges are repeated."""
    matrix = np.zeros((new, old))
    for row in range(new):
        position = (row + 0.5) * old / (new + 0.1) - 0.5
        for near in range(math.floor(position) - 1, math.floor(position) + 3):
            x = abs(position - near)
            weight = 1.25 * x**3 - 2.25 * x**2 + 1 if x < 1 else -0.75 * (x**3 - 5 * x**2 + 8 * x - 4)
            matrix[row, min(max(near, 0), old - 1)] += weight
    return matrix.astype(np.float32)


def slow_vit(images):
    """The normed patch tokens after blocks 3, 6, 9 and 12 as maps (D, h, w), in numpy and float32, of (3, H, W)."""
    w = {key: value.astype(np.float32) for key, value in load_file(WEIGHTS).items()}

    def norm(x, name):
        centred = x - x.mean(-1, keepdims=True)
        spread = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
        return centred / spread * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(x, name):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def softmax(x):
        e = np.exp(x - x.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    rows, columns = images.shape[1] // PATCH, images.shape[2] // PATCH
    kernel = w["patch_embed.proj.weight"]
    width = len(kernel)
    patches = images.reshape(3, rows, PATCH, columns, PATCH).transpose(1, 3, 0, 2, 4).reshape(rows * columns, -1)
    x = patches @ kernel.reshape(width, -1).T + w["patch_embed.proj.bias"]
    table = w["pos_embed"][0, 1:].reshape(37, 37, width)
    if (rows, columns) != (37, 37):
        table = np.einsum("ri,cj,ijd->rcd", cubic(rows, 37), cubic(columns, 37), table, optimize=True)
    x = np.concatenate([w["cls_token"][0] + w["pos_embed"][0, :1], x + table.reshape(-1, width)])
    levels = []
    for number in range(12):
        block = f"blocks.{number}"
        q, k, v = (
            linear(norm(x, f"{block}.norm1"), f"{block}.attn.qkv").reshape(len(x), 3, HEADS, -1).transpose(1, 2, 0, 3)
        )
        seen = softmax(q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[-1])) @ v  # (heads, tokens, 64)
        attended = linear(seen.transpose(1, 0, 2).reshape(len(x), -1), f"{block}.attn.proj")
        x = x + w[f"{block}.ls1.gamma"] * attended
        hidden = linear(norm(x, f"{block}.norm2"), f"{block}.mlp.fc1")
        hidden = hidden * (1 + erf(hidden / math.sqrt(2))).astype(np.float32) / 2
        x = x + w[f"{block}.ls2.gamma"] * linear(hidden, f"{block}.mlp.fc2")
        if number in LEVELS:
            levels.append(norm(x, "norm")[1:].T.reshape(width, rows, columns))
    return levels


@pytest.mark.parametrize(
    "size", [(70, 98), pytest.param((518, 518), marks=nightly), pytest.param((252, 336), marks=nightly)]
)
@torch.inference_mode()
def test_features_are_those_of_a_vision_transformer_in_numpy(encoder, size):
    """To a thousandth of a level's standard deviation at most, and to 2e-5 of it in the mean."""
    images = photo(size=size)
    for found, expected in zip(encoder(images), slow_vit(images[0].numpy()), strict=True):
        difference = np.abs(found[0].numpy() - expected)
        assert difference.max() < 1e-3 * expected.std()
        assert difference.mean() < 2e-5 * expected.std()


@nightly
@torch.inference_mode()
def test_features_at_518_pixels_are_timms(encoder):
    """On its own grid timm resizes nothing, so that the rules agree; elsewhere they do not."""
    body = timm.create_model("vit_small_patch14_dinov2", num_classes=0, dynamic_img_size=True).eval()
    weights = {key: torch.from_numpy(value.astype(np.float32)) for key, value in load_file(WEIGHTS).items()}
    body.load_state_dict(weights)
    for size, agrees in (((518, 518), True), ((252, 336), False)):
        images = photo(size=size)
        theirs = body.forward_intermediates(images, indices=list(LEVELS), norm=True, intermediates_only=True)
        differences = [(a - b).abs().max() / b.std() for a, b in zip(encoder(images), theirs, strict=True)]
        assert (max(differences) < 1e-3) == agrees


@nightly
@pytest.mark.skipif(not CAMVID.is_dir(), reason="needs CamVid")
@torch.inference_mode()
def test_nearest_patches_of_twelve_labelled_images_are_mostly_right(encoder):
    """20 neighbours by cosine among the patches of 12 labelled images; patches of which 75% are one class count."""
    data, grid = camvid(CAMVID, labeled=12, split_seed=0), (18, 24)

    def patches(source, index):
        size = (grid[0] * PATCH, grid[1] * PATCH)
        tensor = torch.from_numpy(source.image(index).copy()).permute(2, 0, 1)[None].float()
        images = normalize(torch.nn.functional.interpolate(tensor, size, mode="bilinear").round().byte())
        features = torch.nn.functional.normalize(encoder(images)[-1][0].flatten(1).T, dim=1)  # (P, D)
        mask = source.mask(index)
        rows, columns = (np.arange(n * PATCH) * old // (n * PATCH) for n, old in zip(grid, mask.shape, strict=True))
        ids = (
            mask[rows][:, columns]
            .reshape(grid[0], PATCH, grid[1], PATCH)
            .transpose(0, 2, 1, 3)
            .reshape(len(features), -1)
        )
        counts = np.stack([(ids == c).sum(1) for c in range(11)], axis=1)
        return features, torch.from_numpy(np.where(counts.max(1) >= 0.75 * PATCH**2, counts.argmax(1), 255))

    bank = [patches(data.labeled, i) for i in range(len(data.labeled))]
    features, labels = torch.cat([f for f, _ in bank]), torch.cat([y for _, y in bank])
    features, labels = features[labels != 255], labels[labels != 255]
    right = counted = 0
    for index in range(0, len(data.val), 5):
        queries, truth = patches(data.val, index)
        near = (queries @ features.T).topk(20, dim=1).indices
        votes = torch.nn.functional.one_hot(labels[near], 11).sum(1).argmax(1)
        right += int((votes == truth)[truth != 255].sum())
        counted += int((truth != 255).sum())
    assert 0.84 < right / counted < 0.89


@functools.cache
def scenes():
    if not CAMVID.is_dir():
        pytest.skip("needs CamVid")
    return camvid(CAMVID, labeled=12)


def train(steps=2, precision="32-true", **options):
    """A method after some steps on CamVid, its losses, and its weights before."""
    torch.manual_seed(0)
    model = SegmentationModel("vits", 11, weights=WEIGHTS, **options)
    method = UniMatchV2(model, tau=0.3, learning_rate=1e-4)
    before, losses = copy.deepcopy(method.state_dict()), []

    class Keep(lightning.Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
            losses.append(float(outputs["loss"]))

    trainer = lightning.Trainer(
        max_steps=steps, accelerator="cpu", precision=precision, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0, limit_val_batches=0,
        callbacks=[Keep()],
    )  # fmt: skip
    trainer.fit(method, SemiSupervisedDataModule(scenes(), crop=98, batch_size=2, workers=0))
    assert len(losses) == steps
    assert all(map(math.isfinite, losses))
    return method, losses, before


def changed(method, before):
    """Which weights of the student are others than before."""
    now = method.state_dict()
    return {key for key in before if key.startswith("student.") and not torch.equal(before[key], now[key])}


@nightly
def test_a_frozen_encoder_stays_as_it_is_and_is_one_set_of_weights_for_both():
    method, _, before = train(freeze=True)
    moved = changed(method, before)
    assert moved
    assert not any(".encoder." in key for key in moved)
    student, teacher = (dict(model.encoder.named_parameters()) for model in (method.student, method.teacher.model))
    assert all(student[name].data_ptr() == teacher[name].data_ptr() for name in student)


@nightly
def test_lora_trains_its_matrices_alone_beside_the_decoder():
    pytest.importorskip("peft")
    method, _, before = train(lora=4)
    in_encoder = {key for key in changed(method, before) if ".encoder." in key}
    assert in_encoder
    assert all("lora_" in key for key in in_encoder)


@nightly
def test_gradient_checkpointing_and_bfloat16_train_as_without():
    _, losses, _ = train()
    _, checkpointed, _ = train(gradient_checkpointing=True)
    _, half, _ = train(precision="bf16-mixed")
    assert checkpointed == pytest.approx(losses, rel=1e-4)
    assert half == pytest.approx(losses, rel=0.05)


@pytest.fixture(scope="module")
def untrained():
    torch.manual_seed(0)
    return SegmentationModel("vits", 11, weights=WEIGHTS).eval()


@nightly
def test_onnx_agrees_with_torch_at_several_sizes(untrained, tmp_path: Path):
    pytest.importorskip("onnxruntime")
    trained = trained_model(untrained, "teacher")
    export_onnx(tmp_path / "model.onnx", *trained, "float32", OnnxOptions())
    exported = Predictor(tmp_path / "model.onnx").engine
    engine = TorchEngine(trained.model)
    for size in ((252, 336), (98, 154)):
        images = photo(size=size)
        expected = engine.logits(images).numpy()
        assert np.abs(exported.logits(images.numpy()) - expected).max() < 1e-3 * expected.std()


@nightly
@pytest.mark.parametrize(("precision", "part"), [("float16", 0.02), ("bfloat16", 0.1)])
def test_half_precision_predicts_nearly_the_same(untrained, precision, part):
    images = photo(size=(252, 336))
    expected, found = (TorchEngine(untrained, kind).logits(images) for kind in ("float32", precision))
    assert (found - expected).abs().max() < 5 * part * expected.std()
    assert (found - expected).abs().mean() < part * expected.std()


@nightly
def test_the_command_trains_with_the_file(run_command):
    scenes()
    run = run_command(
        "dataset=camvid", f"dataset.root={CAMVID}", "dataset.labeled=12", "encoder=vits", f"encoder.weights={WEIGHTS}",
        "encoder.freeze=true", "datamodule.crop=98", "datamodule.workers=0", "trainer.max_steps=1",
        "trainer.limit_val_batches=2", "datamodule.batch_size=2",
    )  # fmt: skip
    assert (run / "summary.json").is_file()
