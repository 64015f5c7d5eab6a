"""Stages of a run -> seconds of each, and the table that is told at the end."""

import contextlib
import time
from collections.abc import Iterator, Mapping


class StageClock:
    """Adds up wall time by the stage's name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Count the block's time."""
        start_s = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start_s


def stage_table(seconds: Mapping[str, float], num_done: int, media_s: float) -> str:
    """Lines for people: seconds of each stage, then what the run did of media.

    Args:
        seconds: of each stage.
        num_done: files that this run curated; those of an earlier one are not counted.
        media_s: their playing time.
    """
    lines = [f"  {stage:12}{spent:10.1f} s" for stage, spent in seconds.items()]
    curating_s = seconds.get("curating", 0.0)
    if num_done and curating_s > 0:
        rate = f"{media_s:.1f} s of media, {media_s / curating_s:.2f} media s/s, " if media_s else ""
        lines.append(f"  curated {num_done} files: {rate}{num_done / curating_s:.2f} files/s")
    return "\n".join(lines)
