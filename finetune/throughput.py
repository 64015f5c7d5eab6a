"""The times of steps -> rows a second, the share of it spent waiting for the loader, memory, share of the peak."""

import time
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(kw_only=True)
class Throughput:
    """A stopwatch for a stretch of steps."""

    flops_per_row: float = 0.0
    """Of a training step (`finetune.flops`); 0: not known."""
    peak_flops: float = 0.0
    """What the device can do in a second; 0: not known."""
    processes: int = 1
    """Each makes as many rows."""
    _rows: int = 0
    _waited_s: float = 0.0
    _began: float = 0.0
    _idle_since: float = 0.0

    def start(self) -> None:
        """A new stretch."""
        self._rows, self._waited_s = 0, 0.0
        self._began = self._idle_since = time.monotonic()

    def batch_came(self) -> None:
        """The loader gave a batch."""
        self._waited_s += time.monotonic() - self._idle_since

    def step_done(self, rows: int) -> None:
        """A step has used so many rows."""
        self._rows += rows

    def waits(self) -> None:
        """Everything else is done; from now on the loader is waited for."""
        self._idle_since = time.monotonic()

    def numbers(self, device: torch.device) -> dict[str, float]:
        """Of the stretch until now."""
        took_s = max(time.monotonic() - self._began, 1e-9)
        found = {
            "samples_per_s": self.processes * self._rows / took_s,
            "loader_wait_frac": self._waited_s / took_s,
            "peak_memory_mib": peak_memory_mib(device),
        }
        if self.flops_per_row and self.peak_flops:
            found["mfu_frac"] = self._rows / took_s * self.flops_per_row / self.peak_flops
        return found


def peak_memory_mib(device: torch.device) -> float:
    """The most that this process has held, in MiB: of the device's memory on a GPU, of the machine's on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    except (OSError, StopIteration):  # not Linux
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
