import signal
from types import SimpleNamespace

import pytest
from lightning.fabric.plugins.environments import LightningEnvironment, SLURMEnvironment

import unimatch
from unimatch import ConfigError, launchers
from unimatch.checkpoints.resume import requeued
from unimatch.trainer import check_settings

STEP = {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "train", "SLURM_NTASKS_PER_NODE": "2", "SLURM_PROCID": "0"}
"""What srun (22.05) gives the first of two tasks of one machine."""
STEP |= {"SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_NNODES": "1", "SLURM_NTASKS": "2"}
STEP |= {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_JOB_NODELIST": "localhost"}
SCRIPT = {key: value for key, value in STEP.items() if not key.startswith("SLURM_STEP")}
TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "GROUP_RANK": "0"}


def make_trainer(monkeypatch, variables, **options):
    for key, value in variables.items():
        monkeypatch.setenv(key, value)
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    return unimatch.Trainer(**{"accelerator": "cpu", "logger": False, **options})


@pytest.mark.parametrize(
    ("variables", "devices", "said"),
    [
        (STEP, 1, "devices=1: this trainer has 1 process.* srun has started 2; trainer=slurm trainer.devices=N"),
        (STEP, 3, "devices=3: this trainer has 3 process.* srun has started 2"),
        (STEP | {"SLURM_JOB_NAME": "interactive"}, 2, "a job that is called interactive.*--job-name=train"),
        (STEP | {"SLURM_JOB_NAME": "bash"}, 1, "a job that is called bash.*--job-name=train"),
        (SCRIPT, 2, "devices=2: .* write srun before python"),
        (SCRIPT | {"SLURM_NTASKS": "1", "SLURM_NTASKS_PER_NODE": "1"}, 4, "devices=4: .* write srun before python"),
        (TORCHRUN, 1, "devices=1: .* torchrun has started 2; trainer=ddp trainer.devices=N"),
        (TORCHRUN, 4, "devices=4: .* torchrun has started 2"),
        (STEP | TORCHRUN, 4, "torchrun has started 2"),  # which srun has started on each machine
    ],
)
def test_other_processes_than_were_started_are_refused(monkeypatch, variables, devices, said):
    with pytest.raises(ConfigError, match=said):
        make_trainer(monkeypatch, variables, devices=devices)


def test_tasks_that_no_machine_has_a_number_of_are_refused(monkeypatch):
    monkeypatch.delenv("SLURM_NTASKS_PER_NODE", raising=False)
    variables = {key: value for key, value in STEP.items() if key != "SLURM_NTASKS_PER_NODE"}
    with pytest.raises(ConfigError, match=r"2 tasks by --ntasks, .*--ntasks-per-node=N"):
        make_trainer(monkeypatch, variables, devices=2)


def test_the_tasks_of_all_machines_are_counted(monkeypatch):
    two = STEP | {"SLURM_NNODES": "2", "SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "4"}
    assert make_trainer(monkeypatch, two, devices=2, num_nodes=2).world_size == 4
    with pytest.raises(ConfigError, match=r"devices=2: this trainer has 2 .* srun has started 4"):
        make_trainer(monkeypatch, two, devices=2)


@pytest.mark.parametrize(
    ("variables", "devices"),
    [
        ({}, 1),
        ({}, 2),
        (STEP, 2),
        (SCRIPT, 1),  # a script of several tasks that runs one command on one device
        (STEP | {"SLURM_NTASKS": "1", "SLURM_STEP_NUM_TASKS": "1", "SLURM_NTASKS_PER_NODE": "1"}, 1),
        (STEP | {"SLURM_JOB_NAME": "bash", "SLURM_NTASKS": "1", "SLURM_STEP_NUM_TASKS": "1"}, 2),  # srun --pty bash
        (SCRIPT | {"SLURM_JOB_NAME": "interactive"}, 2),  # salloc, without srun
        (TORCHRUN, 2),
        (STEP | TORCHRUN, 2),
    ],
)
def test_processes_as_they_were_started_are_taken(monkeypatch, variables, devices):
    assert make_trainer(monkeypatch, variables, devices=devices).num_devices == devices


def test_a_task_that_sees_one_gpu_is_told_how_to_see_them_all(monkeypatch):
    """Lightning gives the fourth task the fourth GPU that it sees."""
    monkeypatch.setattr("unimatch.trainer.CUDAAccelerator.auto_device_count", lambda: 1)
    with pytest.raises(ConfigError) as refused:
        check_settings({"accelerator": "gpu", "devices": 4})
    assert "--gpus-per-node" not in str(refused.value)
    monkeypatch.setenv("SLURM_STEP_ID", "0")
    with pytest.raises(ConfigError, match=r"devices=4: PyTorch finds 1 .*--gpus-per-node, not --gpus-per-task"):
        check_settings({"accelerator": "gpu", "devices": 4})


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        (STEP | {"SLURM_STEP_NUM_TASKS": "2(x1)"}, "SLURM_STEP_NUM_TASKS"),
        (STEP | {"SLURM_NTASKS": ""}, "SLURM_NTASKS"),
        (STEP | {"SLURM_LOCALID": "-1"}, "SLURM_LOCALID"),
        (TORCHRUN | {"WORLD_SIZE": "two"}, "WORLD_SIZE"),
    ],
)
def test_variables_that_are_no_numbers_are_named(monkeypatch, variables, name):
    with pytest.raises(ConfigError, match=f"environment variable {name}=.* must be a whole number.*unset {name}"):
        make_trainer(monkeypatch, variables, devices=2)


@pytest.mark.parametrize(("count", "again"), [(None, False), ("", False), ("0", False), ("2", True)])
def test_a_job_that_was_started_again_is_known_by_its_count(monkeypatch, count, again):
    monkeypatch.delenv("SLURM_RESTART_COUNT", raising=False)
    if count is not None:
        monkeypatch.setenv("SLURM_RESTART_COUNT", count)
    assert requeued() is again
    monkeypatch.setenv("SLURM_RESTART_COUNT", "twice")
    with pytest.raises(ConfigError, match="SLURM_RESTART_COUNT='twice'"):
        requeued()


class Job:
    """Enough of a trainer in a SLURM job."""

    is_global_zero = True

    def __init__(self, environment):
        self._accelerator_connector = SimpleNamespace(cluster_environment=environment)


@pytest.fixture
def slurm(monkeypatch, tmp_path):
    """SLURM's variables, and a ``scontrol`` that notes what it is asked for."""
    for key, value in (STEP | {"SLURM_JOB_ID": "7"}).items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("PATH", str(tmp_path))
    script = tmp_path / "scontrol"
    script.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    script.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(
    ("variables", "job"),
    [({}, "7"), ({"SLURM_ARRAY_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "2"}, "5_2")],
)
def test_a_warned_job_is_started_again(monkeypatch, slurm, caplog, variables, job):
    for key, value in variables.items():
        monkeypatch.setenv(key, value)
    launchers.requeue(Job(SLURMEnvironment()), signal.SIGUSR1)
    assert (slurm / "asked").read_text() == f"requeue {job}\n"
    assert f"starts job {job} again" in caplog.text


def test_only_the_first_process_of_a_job_that_was_warned_asks_for_another_start(slurm):
    second = Job(SLURMEnvironment())
    second.is_global_zero = False
    for trainer, signum in (
        (second, signal.SIGUSR1),
        (Job(SLURMEnvironment()), signal.SIGTERM),
        (Job(SLURMEnvironment(auto_requeue=False)), signal.SIGUSR1),
        (Job(LightningEnvironment()), signal.SIGUSR1),
    ):
        launchers.requeue(trainer, signum)
    assert not (slurm / "asked").exists()


@pytest.mark.parametrize("content", [None, "#!/bin/sh\necho 'Requested operation is disabled' >&2\nexit 1\n"])
def test_a_job_that_cannot_be_started_again_says_so_and_ends(slurm, caplog, content):
    (slurm / "scontrol").unlink() if content is None else (slurm / "scontrol").write_text(content)
    launchers.requeue(Job(SLURMEnvironment()), signal.SIGUSR2)
    assert "does not queue job 7 again" in caplog.text
    assert ("scontrol" if content is None else "operation is disabled") in caplog.text
