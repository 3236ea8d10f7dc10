import lightning
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

import unimatch
from helpers.fits import EachBatch, assert_same, fit, make_method, same, snapshot
from helpers.support import at_night


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
