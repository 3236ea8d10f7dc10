import logging
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch._dynamo.exc import TorchDynamoException

import unimatch
from helpers.support import SMALL
from unimatch.checkpoints.files import load_model, read_checkpoint
from unimatch.errors import ConfigError
from unimatch.speed import compile
from unimatch.speed.compile import Compile, blocks_of, compile_in_place, compile_model, compiled_function


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.parametrize("backend", ["eager", "aot_eager", "inductor"])
def test_a_compiled_training_is_the_same_training(backend, run_command, monkeypatch):
    """Made into graphs; with "aot_eager" of the backward passes too, and with "inductor", as in a run, machine code."""
    plain = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda self, mode: plain(self, backend=backend))
    options = [*SMALL, "trainer.max_steps=3", "trainer.val_check_interval=3", "trainer.accelerator=cpu"]
    rows, keys = [], []
    for compiled in ("false", "true"):
        run_dir = run_command(*options, f"trainer.compile={compiled}", name=compiled)
        said = (run_dir / "run.log").read_text()
        assert ("the first step compiles student and teacher" in said) is (compiled == "true")
        assert "is not compiled" not in said
        assert ("the first step took" in said) is (compiled == "true")
        checkpoint = run_dir / "checkpoints" / "last.ckpt"
        keys.append(read_checkpoint(checkpoint)["state_dict"].keys())
        with torch.no_grad():
            rows.append(load_model(checkpoint)(torch.ones(1, 3, 48, 48)))
    assert keys[0] == keys[1]
    torch.testing.assert_close(rows[1], rows[0], rtol=1e-2, atol=1e-2)


def test_what_cannot_be_compiled_runs_without_and_says_why(monkeypatch, caplog):
    calls = []

    def fail(*arguments):
        calls.append(arguments)
        raise TorchDynamoException("\nno C++ compiler found\nand much more")

    monkeypatch.setattr(nn.Module, "compile", lambda self: setattr(self, "_compiled_call_impl", fail))
    layer, images = nn.Sequential(nn.Linear(3, 4), nn.GELU()), torch.randn(2, 3)
    expected, before = layer(images), list(layer.state_dict())
    compile_in_place(layer, "the layer")
    with caplog.at_level(logging.WARNING, "unimatch"):
        assert torch.equal(layer(images), expected)
        assert torch.equal(layer(images), expected)
    assert len(calls) == 1
    expected = "trainer.compile: the layer is not compiled (no C++ compiler found); training goes on without"
    assert [record.message for record in caplog.records] == [expected]
    assert list(layer.state_dict()) == before


def test_the_trainer_compiles_on_request_only():
    for compiled in (False, True):
        trainer = unimatch.Trainer(compile=compiled, logger=False, enable_checkpointing=False, accelerator="cpu")
        assert sum(isinstance(callback, Compile) for callback in trainer.callbacks) == compiled


def test_the_settings_of_compiling_reach_the_callback_and_need_compile():
    options = {"logger": False, "enable_checkpointing": False, "accelerator": "cpu"}
    chosen = {"compile_blocks": True, "compile_losses": True, "compile_mode": "max-autotune-no-cudagraphs"}
    found = [
        each for each in unimatch.Trainer(compile=True, **chosen, **options).callbacks if isinstance(each, Compile)
    ]
    assert [(each.blocks, each.losses, each.mode) for each in found] == [(True, True, "max-autotune-no-cudagraphs")]
    for name, value in chosen.items():
        with pytest.raises(ConfigError, match=f"{name}={value}: .* set compile=true"):
            unimatch.Trainer(**{name: value}, **options)
    with pytest.raises(ConfigError, match="compile_mode=fast: must be one of default, max-autotune"):
        unimatch.Trainer(compile=True, compile_mode="fast", **options)


class Graphs:
    """A backend that counts the graphs it is given, and runs them as they are."""

    count = 0

    def __call__(self, graph, inputs):
        self.count += 1
        return graph


@pytest.mark.nightly
def test_blocks_are_compiled_once_for_all_and_give_the_same_numbers():
    options = {"img_size": 28, "embed_dim": 12, "num_heads": 2}  # twelve blocks
    model = unimatch.SegmentationModel("vits", 3, weights=None, features=8, out_channels=(8, 8, 8, 8), options=options)
    images = torch.randn(2, 3, 28, 28)
    parameters = list(model.parameters())
    expected = [(result := model(images)), *torch.autograd.grad(result.square().sum(), parameters)]
    keys, graphs = list(model.state_dict()), Graphs()
    assert len(blocks_of(model.encoder)) == 12
    compile_model(model, "student", blocks=True, backend=graphs)
    torch._dynamo.reset()
    model.encoder(images)
    assert graphs.count == 1
    found = [(result := model(images)), *torch.autograd.grad(result.square().sum(), parameters)]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert list(model.state_dict()) == keys


@pytest.mark.parametrize("name", ["tiny", "efficientnet_lite0"])
def test_an_encoder_without_repeated_blocks_is_compiled_whole(name, monkeypatch):
    compiled = []
    monkeypatch.setattr(compile, "compile_in_place", lambda module, name, mode: compiled.append((name, mode)))
    model = unimatch.SegmentationModel(name, 3, weights=None)
    compile_model(model, "teacher", blocks=True, mode="max-autotune-no-cudagraphs")
    assert compiled == [(f"the teacher's {part}", "max-autotune-no-cudagraphs") for part in ("encoder", "decoder")]


def test_a_function_that_cannot_be_compiled_runs_without_and_says_why(monkeypatch, caplog):
    def fail(*arguments):
        raise TorchDynamoException("no C++ compiler found")

    monkeypatch.setattr(torch, "compile", lambda function, dynamic: fail)
    double = compiled_function(lambda x: 2 * x, "a step's losses")
    with caplog.at_level(logging.WARNING, "unimatch"):
        assert [double(3), double(4)] == [6, 8]
    assert [record.message.partition(" (")[0] for record in caplog.records] == [
        "trainer.compile: a step's losses is not compiled"
    ]


@pytest.mark.parametrize(
    ("version", "device", "told"), [("2.13.0", "cuda", 1), ("2.12.1", "cuda", 0), ("2.13.0", "cpu", 0)]
)
def test_a_pytorch_that_loses_layouts_is_named(version, device, told, monkeypatch, caplog):
    monkeypatch.setattr(torch, "__version__", version)
    monkeypatch.setattr(compile, "compile_model", lambda *arguments, **options: None)
    module = SimpleNamespace(student=None, teacher=SimpleNamespace(model=None), device=torch.device(device))
    with caplog.at_level(logging.WARNING, "unimatch"):
        callback = Compile()
        callback.on_fit_start(None, module)
        callback.teardown()
    assert sum("189239" in record.message for record in caplog.records) == told


@pytest.mark.parametrize("losses", [True, False])
def test_losses_are_compiled_on_request_and_in_training_alone(losses, monkeypatch):
    monkeypatch.setattr(compile, "compile_model", lambda *arguments, **options: None)
    module = SimpleNamespace(student=None, teacher=SimpleNamespace(model=None), device=torch.device("cpu"))
    callback, seen = Compile(losses=losses), []
    callback.on_fit_start(None, module)
    for event in (lambda: None, callback.on_validation_start, callback.on_validation_end, callback.teardown):
        event()
        seen.append(set(compile.LOSSES_ON))
    assert seen == ([{"cuda"}, set(), {"cuda"}, set()] if losses else [set()] * 4)
