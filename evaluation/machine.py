"""This machine and this code -> the lines of a report that say where its numbers come from."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path


def provenance() -> dict[str, str]:
    """Code version and commit, libraries, processor; what cannot be found out is left out."""
    import torch

    found = {
        "code": f"pawtrait {_version('pawtrait')}",
        "commit": _commit(),
        "libraries": f"python {platform.python_version()}, torch {torch.__version__}",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {_processor()}",
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
    }
    return {key: value for key, value in found.items() if value}


def peak_memory_mib() -> float:
    """The most memory that this process has held, in MiB.

    From /proc where there is one: the counter of getrusage is inherited from the parent, across exec too.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    except (OSError, StopIteration):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def _commit() -> str:
    """The commit of a checkout, marked when files differ from it; empty outside of one."""
    here = Path(__file__).resolve().parent
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=here, capture_output=True, text=True, check=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
