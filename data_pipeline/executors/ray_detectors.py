"""A detector -> actors of a Ray cluster that find heads for all jobs, so that decoding needs no GPU."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from data_pipeline.detect import DetectorError, Frame, HeadDetector
from data_pipeline.records import Detection


@runtime_checkable
class CanMoveDetector(Protocol):
    """Work whose detector may run elsewhere."""

    @property
    def detector(self) -> HeadDetector:
        """The one it has."""
        ...

    def with_detector(self, detector: HeadDetector) -> Any:  # noqa: ANN401
        """The same work with another."""
        ...


class _Actor:
    """What runs in a detector's process."""

    def __init__(self, detector: HeadDetector, folder: str) -> None:
        os.chdir(folder)  # its files may be given relative to where the run was started
        self._detector = detector

    def find(self, frames: list[Frame], first_frame: int) -> list[list[Detection]]:
        return self._detector(frames, first_frame)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteDetector:
    """Asks one of the actors; each worker's process keeps to the same one, and workers spread over all."""

    actors: tuple[Any, ...]

    def __call__(self, frames: list[Frame], first_frame: int = 0) -> list[list[Detection]]:
        """Heads of each frame, best first.

        Raises:
            DetectorError: the actors are gone for good.
        """
        import ray  # pyright: ignore[reportMissingImports]
        import ray.exceptions  # pyright: ignore[reportMissingImports]

        actor = self.actors[os.getpid() % len(self.actors)]
        try:
            return ray.get(actor.find.remote(frames, first_frame))
        except ray.exceptions.RayActorError as error:
            raise DetectorError(f"the cluster's detectors cannot run ({error}); look at Ray's logs") from error


@contextmanager
def moved_detector(ray: Any, work: Any, num: int, gpus: float) -> Iterator[Any]:  # noqa: ANN401
    """The work with its detector in `num` actors while the block lasts; with 0, the work as it is.

    An actor whose machine dies is started on another, and what it was asked is asked again.
    """
    if not num or not isinstance(work, CanMoveDetector):
        yield work
        return
    make = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=-1, max_task_retries=-1)(_Actor)
    actors = tuple(make.remote(work.detector, str(Path.cwd())) for _ in range(num))
    try:
        yield work.with_detector(RemoteDetector(actors=actors))
    finally:
        for actor in actors:
            ray.kill(actor)
