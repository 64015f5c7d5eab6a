"""Jobs -> results on a Ray cluster; a worker or a machine that dies takes nothing with it: its jobs begin again.

Results are files: all machines must see the source and the output folder under the same paths.
"""

import importlib.util
import logging
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from data_pipeline.executors.executor import ExecutorError, FileJob
from data_pipeline.executors.ray_detectors import CanMoveDetector, moved_detector
from data_pipeline.whole_file import shown

J = TypeVar("J", bound=FileJob)
R = TypeVar("R")

_POLL_S = 0.2
_ANSWER_S = 10.0
_SHARED = "on a cluster source.path and out must lie on a file system that all machines share, under the same path"
_works: dict[str, Callable[[Any], Any]] = {}
"""In a worker's process: the run's id -> what it does, so that its detector opens its network once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RayExecutor:
    """Spreads jobs over a cluster with back-pressure; called like `LocalExecutor`."""

    address: str | None = None
    """None: start Ray on this machine, and stop it at the end; "auto", "HOST:PORT" or "ray://HOST:PORT": join one."""
    cpus_per_job: float = 1.0
    detectors: int = 0
    """Actors that find heads for all jobs; 0: each job's process has a detector of its own."""
    gpus_per_detector: float = 0.0
    max_in_flight: int = 0
    """Jobs that are handed to the cluster at once; 0: twice as many as it can run."""
    retries: int = 3
    """How often a job begins again whose worker or machine died; then it is `lost`."""
    wait_for_file_s: float = 60.0
    """How long a finished job's file may take to show here: shared file systems are not instant."""

    def __post_init__(self) -> None:
        if importlib.util.find_spec("ray") is None:
            raise ExecutorError("executor=ray needs Ray: pip install 'pawtrait[ray]'")
        if self.cpus_per_job <= 0:
            raise ExecutorError(f"executor.cpus_per_job={self.cpus_per_job} must be above 0")
        for name in ("detectors", "gpus_per_detector", "max_in_flight", "retries", "wait_for_file_s"):
            if getattr(self, name) < 0:
                raise ExecutorError(f"executor.{name}={getattr(self, name)} must be 0 or more")
        if self.gpus_per_detector and not self.detectors:
            raise ExecutorError("executor.gpus_per_detector needs executor.detectors=N: how many detectors get GPUs")

    def __call__(self, work: Callable[[J], R], jobs: Sequence[J], lost: Callable[[J], R]) -> Iterator[tuple[J, R]]:
        """Yield each job with its result, as they finish; see `Executor`.

        Raises:
            ExecutorError: Ray is not installed or not there, the cluster is too small, or a machine does not see the
                files.
        """
        if not jobs:
            return
        with _connected(self.address) as ray:
            self._check_size(ray)
            doing: dict[Any, tuple[J, int]] = {}
            try:
                with moved_detector(ray, work, self.detectors, self.gpus_per_detector) as moved:
                    yield from self._work_off(ray, moved, deque((job, 0) for job in jobs), lost, doing)
            finally:
                for ref in doing:
                    ray.cancel(ref, force=True)

    def _work_off(
        self,
        ray: Any,  # noqa: ANN401
        work: "Callable[[J], R] | CanMoveDetector",
        left: "deque[tuple[J, int]]",
        lost: Callable[[J], R],
        doing: dict[Any, tuple[J, int]],
    ) -> Iterator[tuple[J, R]]:
        # Retries are counted here: Ray's own counts leave out those of its memory monitor.
        task = ray.remote(num_cpus=self.cpus_per_job, max_retries=0)(_do)
        shared, run, folder = ray.put(work), os.urandom(8).hex(), str(Path.cwd())
        errors = ray.exceptions
        died = (errors.WorkerCrashedError, errors.NodeDiedError, errors.OutOfMemoryError, errors.ObjectLostError)
        while left or doing:
            limit = self.max_in_flight or 2 * max(1, self._slots(ray))
            while left and len(doing) < limit:
                job, tries = left.popleft()
                doing[task.remote([shared], run, folder, job)] = (job, tries)
            ready, _ = ray.wait(list(doing), num_returns=1, timeout=5.0)  # looks again: clusters grow and shrink
            for ref in ready:
                job, tries = doing.pop(ref)
                try:
                    result = ray.get(ref)
                except errors.RayTaskError as error:
                    raise error.cause from None
                except died:
                    if tries < self.retries:
                        left.append((job, tries + 1))
                    else:
                        yield job, lost(job)
                    continue
                self._wait_for(job.result)
                yield job, result

    def _slots(self, ray: Any) -> int:  # noqa: ANN401
        """Jobs that the cluster can run at once, as it is now."""
        cpus = ray.cluster_resources().get("CPU", 0.0)
        return int(max(0.0, cpus - self.detectors) / self.cpus_per_job)

    def _check_size(self, ray: Any) -> None:  # noqa: ANN401
        there = ray.cluster_resources()
        cpus, gpus = there.get("CPU", 0.0), there.get("GPU", 0.0)
        needs_gpus = self.detectors * self.gpus_per_detector
        if cpus < self.detectors + self.cpus_per_job or gpus < needs_gpus:
            raise ExecutorError(
                f"the Ray cluster has {cpus:g} CPUs and {gpus:g} GPUs, and one job and {self.detectors} detectors need "
                f"{self.detectors + self.cpus_per_job:g} and {needs_gpus:g}; "
                "add machines or lower executor.detectors, cpus_per_job or gpus_per_detector"
            )

    def _wait_for(self, path: Path) -> None:
        deadline_s = time.monotonic() + self.wait_for_file_s
        # Listing the folder makes a network file system look again, which asking for one file may not.
        while not path.exists() and path.name not in os.listdir(path.parent):  # noqa: PTH208 - names only
            if time.monotonic() > deadline_s:
                raise ExecutorError(f"a worker wrote {shown(path)}, but it is not to be seen here; {_SHARED}")
            time.sleep(_POLL_S)


def _do(shared: list[Any], run: str, folder: str, job: FileJob) -> Any:  # noqa: ANN401
    """In a worker's process: one job, in the folder in which the run was started."""
    import ray  # pyright: ignore[reportMissingImports]

    host = os.uname().nodename
    try:
        os.chdir(folder)  # source.path and out may be relative
    except OSError as error:
        raise ExecutorError(f"the machine {host} cannot open {folder}, where the run was started; {_SHARED}") from error
    for path in (job.needs, job.result.parent):
        if path is not None and not path.exists():
            raise ExecutorError(f"the machine {host} does not see {shown(path)}; {_SHARED}")
    if run not in _works:
        _works.clear()
        _works[run] = ray.get(shared[0])
    return _works[run](job)


@contextmanager
def _connected(address: str | None) -> Iterator[Any]:
    """Ray, connected; what was started or joined here is left again at the end."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # as Ray's next version does; else it warns
    import ray  # pyright: ignore[reportMissingImports]
    import ray.exceptions  # pyright: ignore[reportMissingImports]

    if ray.is_initialized():
        yield ray
        return
    _check_answers(address)
    try:
        about: dict[str, Any] = {"include_dashboard": False} if address is None else {}
        ray.init(address=address or "local", log_to_driver=False, logging_level=logging.WARNING, **about)
    except ImportError as error:
        raise ExecutorError(
            f"executor.address={address} needs more of Ray ({error}): pip install 'ray[client]'"
        ) from error
    except (ConnectionError, RuntimeError, ValueError) as error:
        what = " ".join(str(error).split())
        raise ExecutorError(f"there is no Ray cluster at executor.address={address} ({what})") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_answers(address: str | None) -> None:
    """Tell a wrong address at once: Ray itself tries for minutes."""
    host, colon, port = (address or "").rpartition("://")[2].rpartition(":")
    if not colon:
        return
    try:
        socket.create_connection((host, int(port)), timeout=_ANSWER_S).close()
    except (OSError, ValueError) as error:
        raise ExecutorError(
            f"nothing answers at executor.address={address} ({error}); give the address that `ray start --head` "
            "printed, auto on a machine of the cluster, or null to start Ray here"
        ) from error
