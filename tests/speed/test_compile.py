import logging

import pytest
import torch
from torch import nn
from torch._dynamo.exc import TorchDynamoException

import unimatch
from helpers.support import SMALL, rest_nightly
from unimatch.checkpoints.files import load_model, read_checkpoint
from unimatch.speed.compile import Compile, compile_in_place


@pytest.mark.slow
@pytest.mark.parametrize("backend", rest_nightly(["eager", "aot_eager", "inductor"], ["eager"]))
def test_a_compiled_training_is_the_same_training(backend, run_command, monkeypatch):
    """Made into graphs; with "aot_eager" of the backward passes too, and with "inductor", as in a run, machine code."""
    plain = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda self: plain(self, backend=backend))
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
