import copy

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

import unimatch
from helpers.fits import EachBatch, assert_same, fit, make_data, make_method, make_trainer, same, snapshot
from helpers.support import at_night
from unimatch.errors import ConfigError, WeightsError


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """A run with checkpoints at its evaluations, one inside and one at the end of the first epoch."""
    directory = tmp_path_factory.mktemp("run")
    method = make_method()
    keep = ModelCheckpoint(directory, "{step}", save_top_k=-1, save_on_train_epoch_end=False)
    at_evaluation = {}

    class Keep(lightning.Callback):
        def on_validation_end(self, trainer, pl_module):
            at_evaluation[trainer.global_step] = snapshot(pl_module)

    fit(method, max_steps=12, val_check_interval=4, enable_checkpointing=True, callbacks=[Keep(), keep])
    return directory, at_evaluation, method


@pytest.mark.parametrize("step", [4, at_night(8)])
def test_a_resumed_run_starts_from_the_student_and_teacher_of_the_checkpoint(checkpoints, step):
    directory, at_evaluation, _ = checkpoints
    method = make_method()

    class Start(lightning.Callback):
        def on_train_start(self, trainer, pl_module):
            self.step, self.weights = trainer.global_step, snapshot(pl_module)

    look, start = EachBatch(lambda trainer, module: trainer.callback_metrics["lr/encoder"].item()), Start()
    resume = directory / f"step={step}.ckpt"
    trainer = fit(method, max_steps=12, val_check_interval=4, callbacks=[start, look], resume=resume)
    assert start.step == step
    assert_same(start.weights, at_evaluation[step])
    student, teacher = ({k: v for k, v in start.weights.items() if k.startswith(p)} for p in ("student.", "teacher."))
    assert len(student) == len(teacher) > 0
    assert not same(
        {key.removeprefix("student."): value for key, value in student.items()},
        {key.removeprefix("teacher.model."): value for key, value in teacher.items()},
    )
    assert trainer.global_step == 12
    assert look.seen == pytest.approx([1e-3 * (1 - (it - 1) / 12) ** 0.9 for it in range(step, 12)], rel=1e-5)


@pytest.mark.parametrize("step", [4, 8])
def test_a_resumed_run_ends_where_it_would_have(checkpoints, step):
    directory, _, uninterrupted = checkpoints
    method = make_method()
    fit(method, max_steps=12, val_check_interval=4, resume=directory / f"step={step}.ckpt")
    assert_same(snapshot(method), snapshot(uninterrupted))
    assert method.evaluations == uninterrupted.evaluations  # those before the checkpoint too


@pytest.mark.parametrize("step", [4, 8, 12])
def test_the_models_of_each_evaluation_can_be_loaded(checkpoints, step):
    directory, at_evaluation, _ = checkpoints
    for which, prefix in (("student", "student."), ("teacher", "teacher.model.")):
        model = unimatch.load_model(directory / f"step={step}.ckpt", which)
        for key, value in model.state_dict().items():
            assert torch.equal(value, at_evaluation[step][prefix + key])


def test_a_training_that_another_method_continues_is_warned_of(checkpoints, caplog):
    resume = checkpoints[0] / "step=4.ckpt"

    class Variant(unimatch.UniMatchV2):
        pass

    fit(make_method(Variant), max_steps=5, resume=resume)
    assert "continued by" not in caplog.text
    fit(make_method(unimatch.FixMatch), max_steps=5, resume=resume)
    assert "this checkpoint is of UniMatchV2, and its training is continued by FixMatch" in caplog.text


class Function:
    """Would print a line if it were unpickled."""

    def __reduce__(self):
        return (print, ("run",))


def without(entry):
    return lambda content: {key: value for key, value in content.items() if key != entry}


def first_weight_missing(content):
    return {**content, "state_dict": dict(list(content["state_dict"].items())[1:])}


def odd_counters(content):
    content = copy.deepcopy(content)
    content["loops"]["fit_loop"]["epoch_loop.batch_progress"] = "none"
    return content


DAMAGED = {
    "missing": (lambda path: path.unlink(), "no such checkpoint"),
    "a folder": (lambda path: [path.unlink(), path.mkdir()], "no such checkpoint, but a folder"),
    "empty": (lambda path: path.write_bytes(b""), "cut short or altered"),
    "cut short": (lambda path: path.write_bytes(path.read_bytes()[:-1000]), "cut short or altered"),
    "text": (lambda path: path.write_text("hello"), "cut short or altered"),
    "code": (lambda path: torch.save({"state_dict": Function()}, path), "more than tensors and plain values: print"),
    "another": (lambda path: torch.save({"epoch": 1}, path), "not a checkpoint of unimatch"),
}
CHANGED = {
    "weights alone": (without("optimizer_states"), "cannot be restored .*only the model"),
    "other weights": (first_weight_missing, "cannot be restored .*Missing key.*student"),
    "odd counters": (odd_counters, "cannot be restored"),
}


@pytest.fixture
def copied(checkpoints, tmp_path):
    path = tmp_path / "copy.ckpt"
    path.write_bytes((checkpoints[0] / "step=4.ckpt").read_bytes())
    return path


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_file_is_refused_by_name(damage, copied, capsys):
    change, message = DAMAGED[damage]
    change(copied)
    with pytest.raises(WeightsError, match=f"copy.ckpt: .*{message}"):
        fit(make_method(), max_steps=5, resume=copied)
    assert "run\n" not in capsys.readouterr().out


def test_altered_weights_are_refused_in_training_and_evaluation(copied):
    weights = torch.load(copied, weights_only=True)["state_dict"]["student.decoder.classify.2.bias"]
    content = bytearray(copied.read_bytes())
    content[content.index(weights.numpy().tobytes())] ^= 1
    copied.write_bytes(content)
    with pytest.raises(WeightsError, match=r"copy.ckpt: .*checksum"):
        fit(make_method(), max_steps=5, resume=copied)
    with pytest.raises(WeightsError, match=r"copy.ckpt: .*checksum"):
        make_trainer().validate(make_method(), make_data(), ckpt_path=copied, verbose=False)


@pytest.mark.parametrize("change", CHANGED)
def test_a_file_that_does_not_fit_is_refused_by_name(change, copied):
    alter, message = CHANGED[change]
    torch.save(alter(torch.load(copied, weights_only=True)), copied)
    with pytest.raises(WeightsError, match=f"copy.ckpt: {message}.*load_from_checkpoint"):
        fit(make_method(), max_steps=5, resume=copied)


def test_the_message_names_the_file_of_this_fit_where_a_trainer_is_used_again(checkpoints, copied):
    trainer, data = make_trainer(max_steps=5), make_data()
    trainer.fit(make_method(), data, ckpt_path=checkpoints[0] / "step=4.ckpt")
    torch.save(first_weight_missing(torch.load(copied, weights_only=True)), copied)
    with pytest.raises(WeightsError, match=r"copy.ckpt: cannot be restored"):
        trainer.validate(make_method(), data, ckpt_path=copied, verbose=False)


def test_an_error_of_a_users_own_hook_is_not_taken_for_a_damaged_file(copied):
    class Own(unimatch.UniMatchV2):
        def on_load_checkpoint(self, checkpoint):
            super().on_load_checkpoint(checkpoint)
            self.own = checkpoint["own"]

    with pytest.raises(KeyError, match="own"):
        fit(make_method(Own), max_steps=5, resume=copied)


def test_evaluating_a_checkpoint_leaves_the_evaluations_of_the_training(checkpoints):
    directory, _, trained = checkpoints
    method = copy.deepcopy(trained)
    assert [evaluation.step for evaluation in method.evaluations] == [4, 8, 12]
    make_trainer().validate(method, make_data(), ckpt_path=directory / "step=4.ckpt", verbose=False)
    assert method.evaluations == trained.evaluations
    assert method.scores["teacher"] == trained.evaluations[0].teacher


def test_a_checkpoint_from_inside_a_step_can_be_evaluated(tmp_path):
    path = tmp_path / "kept.ckpt"

    class Save(lightning.Callback):
        def on_train_batch_end(self, trainer, *arguments):
            if trainer.global_step == 0:
                trainer.save_checkpoint(path)

    fit(make_method(), max_steps=1, accumulate_grad_batches=2, callbacks=[Save()])
    with pytest.raises(ConfigError, match="between two batches"):
        fit(make_method(), max_steps=1, accumulate_grad_batches=2, resume=path)
    make_trainer().validate(make_method(), make_data(), ckpt_path=path, verbose=False)
