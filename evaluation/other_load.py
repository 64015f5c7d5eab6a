"""A stretch of time -> how many cores other programs used meanwhile, so that a busy machine shows in a report."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

BUSY_CORES = 0.15
"""Above this, times are provisional; a quiet machine with its services stays below."""


@dataclass(slots=True, kw_only=True)
class OtherLoad:
    """A context: inside it, what other programs do is counted (Linux; elsewhere `cores` stays None).

    Children count as ours once they have ended, so end them inside.
    """

    cores: float | None = None
    """Cores that others kept busy, on average."""
    load_before: float = 0.0
    """The system's one-minute load average on entering."""
    _start: tuple[float, float | None, float] = (0.0, None, 0.0)

    def __enter__(self) -> "OtherLoad":
        self.load_before = os.getloadavg()[0]
        self._start = (time.monotonic(), _busy_s(), own_cpu_s())
        return self

    def __exit__(self, *_: object) -> None:
        wall_s, busy_s, own_s = (time.monotonic(), _busy_s(), own_cpu_s())
        first_wall_s, first_busy_s, first_own_s = self._start
        if busy_s is not None and first_busy_s is not None and wall_s > first_wall_s:
            others_s = (busy_s - first_busy_s) - (own_s - first_own_s)
            self.cores = max(0.0, others_s / (wall_s - first_wall_s))

    @property
    def is_busy(self) -> bool:
        """Whether others were in the way."""
        return self.cores is not None and self.cores > BUSY_CORES

    def as_dict(self) -> dict[str, float | bool | None]:
        """For a report."""
        cores = None if self.cores is None else round(self.cores, 2)
        return {"other_cores": cores, "load_before": round(self.load_before, 2), "is_busy": self.is_busy}

    def sentence(self) -> str:
        """For the screen."""
        if self.cores is None:
            return f"load of the machine before: {self.load_before:.1f}"
        said = f"other programs used {self.cores:.2f} of {os.cpu_count()} cores meanwhile"
        return said + (": the machine was busy, these numbers are provisional" if self.is_busy else "")


def own_cpu_s() -> float:
    """Processor seconds of this process and of its children that have ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def _busy_s() -> float | None:
    """Processor seconds of the whole machine since it started, all cores together; None where /proc is not there."""
    try:
        words = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    except OSError:
        return None
    user, nice, system, _idle, _iowait, irq, softirq = (int(word) for word in words[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
