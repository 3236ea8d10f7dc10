import json
from pathlib import Path

import lightning
import pytest
import torch
from hydra import compose, initialize_config_module

from unimatch.callbacks import RunFacts
from unimatch.checkpoints.content import (
    METHOD,
    MODEL,
    RUN,
    TRAINING,
    Place,
    Run,
    Training,
    method_settings_of,
    model_of,
    run_of,
    training_of,
    write,
)
from unimatch.cli.building import plain
from unimatch.errors import ConfigError, WeightsError
from unimatch.run import CALL_KEYS, keep_decay, resume


def test_what_is_written_is_read_and_loads_without_unpickling_code(tmp_path):
    run = Run({"seed": 1}, ["sky", "sea"], [[0, 0, 1], [0, 1, 0]], processes=2, metrics_rows=7)
    training = Training(Place(1, 2, True, False), 3, [{"step": 4}], torch.arange(3))
    content = {"state_dict": {}}
    write(content, {"encoder": "tiny", "num_classes": 2})
    write(content, run)
    write(content, training)
    torch.save(content, tmp_path / "a.ckpt")
    read = torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert model_of(read) == {"encoder": "tiny", "num_classes": 2}
    assert run_of(read) == run
    found = training_of(read)
    assert found.pseudo_label_counts.tolist() == [0, 1, 2]
    assert (found.place, found.evaluated_after, found.evaluations) == (training.place, 3, [{"step": 4}])


def test_a_converted_checkpoint_knows_no_run_and_no_training():
    assert run_of({}) == Run()
    assert training_of({}) is None


@pytest.mark.parametrize(
    "entry",
    [
        *("text", {"other": 1}, {"classes": [1]}, {"palette": [[0, 0]]}, {"config": []}, {"processes": "2"}),
        *(torch.zeros(2), {"classes": torch.zeros(0)}, {"palette": torch.zeros(0)}),
        {"config": {"inference": torch.zeros(2)}},
    ],
)
def test_a_run_that_is_none_is_refused(entry):
    with pytest.raises(WeightsError, match="unimatch_run cannot be understood"):
        run_of({RUN: entry})


@pytest.mark.parametrize(
    "more", [{"options": torch.zeros(2)}, {"options": torch.zeros(0)}, {"own": {"arguments": torch.tensor(0)}}]
)
def test_a_tensor_where_a_model_is_described_is_refused(more):
    with pytest.raises(WeightsError, match="Tensor is no plain value"):
        model_of({MODEL: {"encoder": "tiny", **more}})


@pytest.mark.parametrize("entry", [torch.zeros(2), {"name": "UniMatchV2", "settings": {"tau": torch.zeros(2)}}])
def test_a_tensor_where_the_methods_settings_are_is_refused(entry):
    with pytest.raises(WeightsError, match="unimatch_method cannot be understood"):
        method_settings_of({METHOD: entry})


@pytest.mark.parametrize("entry", ["text", {}, {"place": {"epoch": 1}}, {"place": 3, "evaluations": []}])
def test_a_training_that_is_none_is_refused(entry):
    with pytest.raises(WeightsError, match="unimatch_training cannot be understood"):
        training_of({TRAINING: entry})


OLD_CONFIGS = json.loads((Path(__file__).parent / "configs_before_views.json").read_text())
"""What the version before the view groups composed, for a data set of each task and for one of files."""


@pytest.mark.parametrize("dataset", OLD_CONFIGS)
def test_the_checkpoint_of_an_older_version_continues_the_same_training(dataset, tmp_path, caplog):
    old = OLD_CONFIGS[dataset]
    with initialize_config_module("unimatch.conf", version_base="1.3"):
        composed = compose("run", [f"dataset={dataset}"])
    path = tmp_path / "last.ckpt"

    def continued(config):
        content = {"unimatch_model": {}, "state_dict": {}, "global_step": 5, "loops": {}, "lr_schedulers": []}
        content["optimizer_states"] = [{}]
        content["unimatch_run"] = {"config": config, "classes": [], "palette": [], "processes": 1, "metrics_rows": 3}
        torch.save(content, path)
        keep_decay(composed, path)
        settings = {key: value for key, value in plain(composed).items() if not key.startswith(CALL_KEYS)}
        facts = RunFacts("unimatch_v2", dataset, "tiny", "segmentation", 0, 1, 1, None, None, settings)
        trainer = lightning.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
        resume(path, path.parent, trainer, facts, allowed=False)

    continued(old)
    assert "the configuration is not the checkpoint's" not in caplog.text
    with pytest.raises(ConfigError, match=r"method\.tau: 0\.123 ->"):
        continued({**old, "method": {**old["method"], "tau": 0.123}})
