"""SLURM and torchrun: checks that they start the processes that a trainer expects, and requeues a SLURM job."""

import logging
import os
import signal
import subprocess

import lightning
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from unimatch.errors import ConfigError
from unimatch.lightning_internals import slurm_of
from unimatch.options import number_of
from unimatch.safe_text import one_line

log = logging.getLogger("unimatch")

INTERACTIVE_JOBS = ("bash", "interactive")
"""Names of SLURM jobs in which Lightning assumes that commands are typed by hand, and starts the processes itself."""

ALL_GPUS = "each task must see all GPUs of its machine (--gpus-per-node, not --gpus-per-task)"
"""What to do if a task sees too few GPUs."""

SLURM_VARIABLES = (
    "SLURM_NTASKS",
    "SLURM_NTASKS_PER_NODE",
    "SLURM_NNODES",
    "SLURM_PROCID",
    "SLURM_LOCALID",
    "SLURM_NODEID",
    "SLURM_STEP_NUM_TASKS",
)
"""Environment variables of SLURM that Lightning reads as whole numbers."""
TORCHRUN_VARIABLES = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "GROUP_RANK", "MASTER_PORT")
"""The same of torchrun."""


def check_slurm() -> None:
    """Refuses environment variables with which Lightning would fail, or each of SLURM's tasks would train by itself.

    Raises:
        ConfigError: a variable is not a whole number, tasks are only counted by ``--ntasks``, or several tasks run in a
            job with one of the names :data:`INTERACTIVE_JOBS`.
    """
    if TorchElasticEnvironment.detect():
        for variable in TORCHRUN_VARIABLES:
            number_of(variable)
        return
    for variable in SLURM_VARIABLES:
        number_of(variable)
    tasks, name = number_of("SLURM_STEP_NUM_TASKS", 1), os.environ.get("SLURM_JOB_NAME")
    if name in INTERACTIVE_JOBS:
        if tasks > 1:
            raise ConfigError(
                f"srun has started {tasks} tasks, in a job that is called {name}: Lightning would take each for the "
                "only one; name it, as in srun --job-name=train python -m unimatch.run ..."
            )
    elif (count := number_of("SLURM_NTASKS", 1)) > 1 and "SLURM_NTASKS_PER_NODE" not in os.environ:
        raise ConfigError(
            f"SLURM counts {count} tasks by --ntasks, which does not say how many a machine has: give sbatch or srun "
            "--ntasks-per-node=N in its place"
        )


def check_processes(trainer: lightning.Trainer) -> None:
    """Refuses a trainer that needs another number of processes than its launcher has started.

    Raises:
        ConfigError: beginning with ``devices``.
    """
    wanted = trainer.num_nodes * trainer.num_devices
    begin = f"devices={trainer.num_devices}: this trainer has {wanted} process(es)"
    if TorchElasticEnvironment.detect():
        if (count := number_of("WORLD_SIZE", 1)) != wanted:
            raise ConfigError(
                f"{begin} and torchrun has started {count}; trainer=ddp trainer.devices=N gives each of a machine's N "
                "processes a device, trainer.num_nodes counts machines"
            )
    elif "SLURM_STEP_ID" in os.environ:  # set by srun alone
        count = number_of("SLURM_STEP_NUM_TASKS", 1)
        if count != wanted and os.environ.get("SLURM_JOB_NAME") not in INTERACTIVE_JOBS:
            raise ConfigError(
                f"{begin} and srun has started {count}; trainer=slurm trainer.devices=N gives each of a machine's N "
                f"tasks a device, trainer.num_nodes counts machines; {ALL_GPUS}"
            )
    elif wanted > 1 and slurm_of(trainer) is not None:
        raise ConfigError(
            f"{begin}, which SLURM has to start, and this command has been started without srun: write srun before "
            "python, with a task for each device (--ntasks-per-node)"
        )


def requeue(trainer: lightning.Trainer, signum: int) -> None:
    """Makes SLURM start the job again, if the signal is its warning that the job's time is nearly up.

    The job's ``--signal`` chooses the signal: Lightning expects SIGUSR1, submitit asks for SIGUSR2. Lightning's own
    requeueing is not used, because it writes an extra checkpoint each time, and prefers this to later ones.
    """
    slurm = slurm_of(trainer)
    if slurm is None or not slurm.auto_requeue or signum not in (signal.SIGUSR1, signal.SIGUSR2):
        return
    if not trainer.is_global_zero:
        return
    job, array = os.environ["SLURM_JOB_ID"], os.environ.get("SLURM_ARRAY_JOB_ID")
    if array is not None:
        job = f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    try:
        subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", "") or str(error)
        log.warning("SLURM does not queue job %s again (scontrol requeue): %s", job, one_line(said.strip()))
    else:
        log.warning("SLURM starts job %s again", job)
