"""The machine and software of a measurement: part of every benchmark's JSON."""

import os
import platform
from pathlib import Path

import torch

from unimatch.callbacks.record import device_name, versions


def machine() -> dict[str, object]:
    """Processor, cores, GPU, threads and versions."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": device_name(),
        "system": platform.platform(),
        "versions": versions(),
    }


def processor() -> str:
    """The processor's name."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
