import lightning
import pytest
from lightning.fabric.strategies.launchers.subprocess_script import _ChildProcessObserver
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger

from unimatch.lightning_internals import LOG_STEP, set_log_step, stop_watching_processes

TRAINER = lightning.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (TRAINER.fit_loop.epoch_loop, LOG_STEP),
        (TRAINER.fit_loop.epoch_loop, "_should_check_val_fx"),
        (TRAINER.fit_loop, "_data_fetcher"),
        (TRAINER.fit_loop, "_should_accumulate"),
        (lightning.LightningModule(), "_trainer"),
        (lightning.LightningModule(), "_compiler_ctx"),
        (TRAINER, "_accelerator_connector"),
        (TRAINER._accelerator_connector, "cluster_environment"),
        (TRAINER, "_checkpoint_connector"),
        (TRAINER._checkpoint_connector, "_restore_modules_and_callbacks"),
        (TRAINER._checkpoint_connector, "restore_training_state"),
        (TRAINER, "_signal_connector"),
        (_ChildProcessObserver(0, []), "_child_processes"),
        (TensorBoardLogger("somewhere"), "_kwargs"),
        (WandbLogger(offline=True), "_experiment"),
    ],
)
def test_the_installed_lightning_has_each_name(owner, name):
    assert hasattr(owner, name)


def test_the_step_of_the_logs_is_in_a_checkpoint_too():
    set_log_step(TRAINER, 7)
    assert TRAINER.fit_loop.epoch_loop.on_save_checkpoint()[LOG_STEP] == 7
    set_log_step(TRAINER, 0)


def test_the_thread_that_watches_processes_has_none_left_to_watch():
    watcher = _ChildProcessObserver(0, ["a process"], sleep_period=0.01)
    watcher._run = lambda: not watcher._child_processes
    watcher.start()
    stop_watching_processes()
    watcher.join(5)
    assert not watcher.is_alive()
