import json
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.support import at_night, rest_nightly, save_run
from unimatch import ConfigError, DataError, Inference, Predictor, SegmentationModel, WeightsError
from unimatch.engines.model_facts import facts_path
from unimatch.engines.torch import TorchEngine
from unimatch.export import open_exported
from unimatch.images.tensors import normalize
from unimatch.inference.export import compare, export_onnx, export_safetensors, export_torch
from unimatch.inference.load import load_with_facts
from unimatch.inference.onnx_graph import OnnxOptions


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return save_run(tmp_path_factory.mktemp("run") / "best.ckpt", Path("nowhere"))


@pytest.fixture(scope="module")
def onnx_file(checkpoint) -> Path:
    pytest.importorskip("onnx")
    path = checkpoint.with_name("model.onnx")
    export_onnx(path, *load_with_facts(checkpoint), "float32")
    return path


@pytest.fixture(scope="module")
def program_file(checkpoint) -> Path:
    path = checkpoint.with_name("model.pt2")
    export_torch(path, *load_with_facts(checkpoint), "float32")
    return path


def images(*sizes):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


SIZES = ((64, 96), (61, 49), (50, 130))


def test_onnx_agrees_at_every_size_and_in_batches(checkpoint, onnx_file):
    pytest.importorskip("onnxruntime")
    engine = TorchEngine(load_with_facts(checkpoint)[0])
    exported = Predictor(onnx_file)
    agreement = compare(engine, exported.engine, images(*SIZES))
    assert agreement.largest_difference < 1e-4 * agreement.deviation
    assert agreement.pixels > 99.9
    batch = np.stack(images((40, 50), (40, 50), (40, 50))).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(exported.engine.logits(batch), engine.logits(batch).numpy(), atol=1e-4)


@pytest.mark.parametrize(
    "rule",
    [
        Inference("sliding", window=24),
        at_night(Inference(scales=(0.5, 1.5), flip=True)),
        at_night(Inference(window=30, large=1000)),
    ],
)
def test_the_predictor_gives_the_same_through_onnx(checkpoint, onnx_file, rule):
    pytest.importorskip("onnxruntime")
    for image in images(*SIZES):
        expected = Predictor(checkpoint, device="cpu", inference=rule)(image, scores=True, confidence=True)
        found = Predictor(onnx_file, inference=rule)(image, scores=True, confidence=True)
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
        np.testing.assert_allclose(found.confidence, expected.confidence, atol=1e-5)
        assert (found.mask == expected.mask).mean() > 0.999
    assert found.facts == expected.facts


@pytest.mark.slow
@pytest.mark.parametrize("form", rest_nightly(["onnx", "pt2"], ["onnx"]))
def test_dinov2_exports_for_every_grid_of_patches(form, tmp_path, monkeypatch):
    """A small transformer stands in for DINOv2; 37 x 37 patches is its own grid."""
    pytest.importorskip("onnxruntime")
    import timm

    create = timm.create_model
    monkeypatch.setattr(
        timm, "create_model", lambda name, **options: create(name, embed_dim=48, num_heads=2, **options)
    )
    torch.manual_seed(0)
    model = SegmentationModel("vits", 5, weights=None, features=8, out_channels=(8, 8, 8, 8)).eval()
    torch.nn.init.normal_(model.encoder.body.pos_embed)
    facts = load_with_facts(save_run(tmp_path / "x.ckpt", tmp_path))[1]
    told = {"classes": list("abcde"), "palette": [[0, 0, 0]] * 5, "size_multiple": 14}
    facts = type(facts).from_json(json.dumps({**json.loads(facts.to_json()), **told}), "test")
    sizes = [(100, 60), (518, 518)]
    if form == "onnx":
        export_onnx(tmp_path / "vits.onnx", model, facts, "float32")
        engine = Predictor(tmp_path / "vits.onnx").engine
    else:
        export_torch(tmp_path / "vits.pt2", model, facts, "float32")
        engine, sizes = open_exported(tmp_path / "vits.pt2"), [*sizes, (48, 70)]
    agreement = compare(TorchEngine(model), engine, images(*sizes))
    assert agreement.largest_difference < 1e-3 * agreement.deviation
    assert agreement.pixels > 99.9


@pytest.mark.nightly
@pytest.mark.slow
def test_a_torch_export_program_agrees_at_every_size(checkpoint, program_file):
    model = load_with_facts(checkpoint).model
    agreement = compare(TorchEngine(model), open_exported(program_file), images(*SIZES, (48, 200)))
    assert agreement.largest_difference < 1e-4 * agreement.deviation
    assert agreement.pixels > 99.9


@pytest.mark.slow
def test_onnx_in_half_precision_agrees(checkpoint, tmp_path):
    pytest.importorskip("onnxruntime")
    model, facts = load_with_facts(checkpoint)
    export_onnx(tmp_path / "half.onnx", model, facts, "float16")
    agreement = compare(TorchEngine(model), Predictor(tmp_path / "half.onnx").engine, images(*SIZES))
    assert 0 < agreement.largest_difference < 2e-2 * agreement.deviation
    assert agreement.pixels > 99


@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
def test_safetensors_hold_the_model(checkpoint, tmp_path, precision):
    model, facts = load_with_facts(checkpoint)
    export_safetensors(tmp_path / "model.safetensors", model, facts, precision)
    again, same = load_with_facts(tmp_path / "model.safetensors")
    assert same == facts
    agreement = compare(TorchEngine(model), TorchEngine(again), images(*SIZES))
    limit = {"float32": 0, "float16": 1e-2, "bfloat16": 5e-2}[precision]
    assert agreement.largest_difference <= limit * agreement.deviation
    assert json.loads(facts_path(tmp_path / "model.safetensors").read_text())["precision"] == precision


def test_compare_counts_by_hand(checkpoint):
    """Two models that differ by a constant in one class: the largest difference is that constant."""
    model, _ = load_with_facts(checkpoint)
    other, _ = load_with_facts(checkpoint)
    with torch.no_grad():
        other.decoder.classify[-1].bias[3] += 2.5
    first, second = TorchEngine(model), TorchEngine(other)
    (image,) = images((40, 60))
    batch = image[None].transpose(0, 3, 1, 2)
    a, b = first.labels(first.logits(batch)), second.labels(second.logits(batch))
    ious = [((a == k) & (b == k)).sum() / ((a == k) | (b == k)).sum() for k in range(11) if ((a == k) | (b == k)).any()]
    found = compare(first, second, [image])
    assert found.largest_difference == pytest.approx(2.5, rel=1e-4)
    assert found.pixels == pytest.approx(100 * (a == b).mean())
    assert found.miou == pytest.approx(100 * np.mean(ious))
    assert found.deviation == pytest.approx(first.logits(batch).std(unbiased=False).item(), rel=1e-4)


def test_onnx_needs_neither_pytorch_nor_lightning_nor_hydra(onnx_file, tmp_path):
    pytest.importorskip("onnxruntime")
    script = textwrap.dedent(
        f"""
        import sys
        class Block:
            def find_spec(self, name, path=None, target=None):
                heavy = ("torch", "lightning", "hydra", "omegaconf", "timm", "cv2", "torchmetrics", "safetensors")
                if name.split(".")[0] in heavy + ("albumentations", "sklearn", "scipy", "matplotlib", "tqdm"):
                    raise ImportError(name + " is not installed")
        sys.meta_path.insert(0, Block())
        import numpy as np
        from unimatch import Inference, Predictor
        image = np.random.default_rng(0).integers(0, 256, (61, 45, 3), dtype=np.uint8)
        np.save("whole.npy", Predictor({str(onnx_file)!r})(image).mask)
        rule = Inference("sliding", window=24, flip=True)
        np.save("sliding.npy", Predictor({str(onnx_file)!r}, inference=rule)(image, threshold=0.3).mask)
        """
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (image,) = images((61, 45))
    checkpoint = onnx_file.with_name("best.ckpt")
    assert (np.load(tmp_path / "whole.npy") == Predictor(checkpoint, device="cpu")(image).mask).mean() > 0.999
    rule = Inference("sliding", window=24, flip=True)
    expected = Predictor(checkpoint, device="cpu", inference=rule)(image, threshold=0.3).mask
    assert (np.load(tmp_path / "sliding.npy") == expected).mean() > 0.999


def test_foreign_and_broken_files_are_refused(checkpoint, onnx_file, tmp_path):
    pytest.importorskip("onnxruntime")
    import onnx

    with pytest.raises(WeightsError, match="cannot be read as an ONNX model"):
        Predictor(tmp_path / "gone.onnx")
    (tmp_path / "cut.onnx").write_bytes(onnx_file.read_bytes()[:500])
    with pytest.raises(WeightsError, match="cannot be read as an ONNX model"):
        Predictor(tmp_path / "cut.onnx")
    for said in ("[1]", "{", "[" * 10**5, '{"size": [10]}', '{"size": [100000, 100000]}', '{"size": "ab"}',
                 '{"batch": 0}', '{"batch": 1e6}', '{"batch": 1000000}'):  # fmt: skip
        graph = onnx.load(onnx_file)
        graph.metadata_props[1].value = said
        onnx.save(graph, tmp_path / "other.onnx")
        with pytest.raises(WeightsError, match=r"other\.onnx: does not say how unimatch's graph is run"):
            Predictor(tmp_path / "other.onnx")
    graph = onnx.load(onnx_file)
    del graph.metadata_props[:]
    onnx.save(graph, tmp_path / "foreign.onnx")
    with pytest.raises(WeightsError, match="does not hold unimatch's facts"):
        Predictor(tmp_path / "foreign.onnx")
    export_safetensors(tmp_path / "m.safetensors", *load_with_facts(checkpoint), "float32")
    description = json.loads(facts_path(tmp_path / "m.safetensors").read_text())
    description["model"]["weights"] = "/etc/passwd"
    facts_path(tmp_path / "m.safetensors").write_text(json.dumps(description))
    with pytest.raises(WeightsError):
        Predictor(tmp_path / "m.safetensors")
    facts_path(tmp_path / "m.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"m\.safetensors\.json: must describe the model"):
        Predictor(tmp_path / "m.safetensors")


def test_what_onnx_cannot_hold_is_said(checkpoint, tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    model, facts = load_with_facts(checkpoint)
    with pytest.raises(ConfigError, match="precision=bfloat16"):
        export_onnx(tmp_path / "m.onnx", model, facts, "bfloat16")
    monkeypatch.setattr("unimatch.inference.export.ONNX_LIMIT", 1000)
    with pytest.raises(ConfigError, match="exceed the 2 GB"):
        export_onnx(tmp_path / "m.onnx", model, facts, "float32")


def export_with(path, checkpoint, **options):
    """Writes an ONNX file with these options; returns a session, and the predictor of the original."""
    onnxruntime = pytest.importorskip("onnxruntime")
    export_onnx(path, *load_with_facts(checkpoint), "float32", OnnxOptions(**options))
    return onnxruntime.InferenceSession(str(path)), Predictor(checkpoint, device="cpu")


def axes(values):
    return [(value.name, value.type, value.shape) for value in values]


def test_a_graph_normalises_and_gives_ids(checkpoint, tmp_path):
    session, original = export_with(tmp_path / "a.onnx", checkpoint, normalize=True, labels=True)
    (image,) = images((48, 80))
    (found,) = session.run(None, {"image": image.transpose(2, 0, 1)[None].astype(np.float32)})
    assert (found[0] == original(image).mask).mean() > 0.999
    assert axes(session.get_inputs()) == [("image", "tensor(float)", ["batch", 3, "height", "width"])]
    assert axes(session.get_outputs()) == [("labels", "tensor(int64)", ["batch", "height", "width"])]
    written = json.loads(facts_path(tmp_path / "a.onnx").read_text())
    assert (written["input"], written["output"]) == (
        "float32 (B, ..., 3, H, W), RGB in 0-255", "int64 (B, H, W) class ids",
    )  # fmt: skip
    with pytest.raises(WeightsError, match="gives class ids and no logits"):
        Predictor(tmp_path / "a.onnx")


@pytest.mark.nightly
def test_a_graph_of_fixed_sizes(checkpoint, tmp_path):
    session, original = export_with(tmp_path / "a.onnx", checkpoint, size=(48, 64), batch=2, opset=18, normalize=True)
    assert axes(session.get_inputs()) == [("image", "tensor(float)", [2, 3, 48, 64])]
    assert axes(session.get_outputs()) == [("logits", "tensor(float)", [2, 11, 48, 64])]
    session, _ = export_with(tmp_path / "b.onnx", checkpoint, size=(48, 64))
    assert axes(session.get_outputs()) == [("logits", "tensor(float)", ["batch", 11, 48, 64])]
    exported = Predictor(tmp_path / "a.onnx")
    for count in (1, 3):
        several = images(*[(48, 64)] * count)
        for found, expected in zip(exported(several), original(several), strict=True):
            assert (found.mask == expected.mask).mean() > 0.999
    (other,) = images((30, 50))
    assert exported(other).mask.shape == (30, 50)
    flipped = Predictor(tmp_path / "a.onnx", inference=Inference(flip=True))
    expected = Predictor(checkpoint, device="cpu", inference=Inference(flip=True))
    assert (flipped(several[0]).mask == expected(several[0]).mask).mean() > 0.999
    batch = normalize(torch.from_numpy(several[0]).permute(2, 0, 1))[None].numpy()
    raw = several[0].transpose(2, 0, 1)[None]
    np.testing.assert_allclose(exported.engine.logits(batch), exported.engine.logits(raw), atol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"opset": 9}, "opset=9: must be 16 to 20"),
        ({"size": [64]}, "must be a height and a width"),
        ({"size": [0, 64]}, "must be a height and a width"),
        ({"size": 64}, "size=64: must be a height and a width"),
        ({"size": ["a", "b"]}, "must be a height and a width"),
        ({"size": [48.5, 48]}, "must be a height and a width"),
        ({"batch": 0}, "batch=0: must be at least 1"),
    ],
)
def test_options_of_a_graph_that_cannot_be_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        OnnxOptions(**options)
    with pytest.raises(ConfigError, match=r"size=\[50, 64\]: both must be multiples of 14"):
        OnnxOptions(size=(50, 64)).example(torch.zeros(2, 3, 56, 56), 14)


def test_a_predictor_of_onnx_goes_to_other_processes(onnx_file):
    pytest.importorskip("onnxruntime")
    predictor = Predictor(onnx_file)
    (image,) = images((40, 50))
    again = pickle.loads(pickle.dumps(predictor))
    assert np.array_equal(again(image).mask, predictor(image).mask)
    assert again.classes == predictor.classes


@pytest.mark.slow
def test_a_program_is_read_only_where_it_is_trusted(checkpoint, tmp_path):
    path = tmp_path / "model.pt2"
    path.write_bytes(b"nothing")
    with pytest.raises(ConfigError, match=r"may run code\. Give trusted=True"):
        Predictor(path)
    for facts in (load_with_facts(checkpoint)[1].to_json(), "nothing"):
        facts_path(path).write_text(facts)
        with pytest.raises(WeightsError, match=r"model\.pt2"):
            Predictor(path, trusted=True)


@pytest.mark.slow
@pytest.mark.nightly
def test_a_trusted_program_predicts_as_its_model(checkpoint, program_file):
    path = program_file
    program, original = Predictor(path, trusted=True, device="cpu"), Predictor(checkpoint, device="cpu")
    for image in images((48, 80), (61, 49)):
        assert (program(image).mask == original(image).mask).mean() > 0.999
    assert program.facts == original.facts
    with pytest.raises(DataError, match=r"20 x 30 pixels: this \.pt2 file takes 48 pixels and more"):
        program(images((20, 30))[0])


def test_files_have_ordinary_permissions(checkpoint, tmp_path):
    (tmp_path / "ordinary").touch()
    export_safetensors(tmp_path / "a.safetensors", *load_with_facts(checkpoint), "float32")
    assert (tmp_path / "a.safetensors").stat().st_mode == (tmp_path / "ordinary").stat().st_mode
