"""An iterable -> the same iterable, with a progress bar that shows rate and time left."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

_QUIET_INTERVAL_S = 10.0


def _clock(seconds: float) -> str:
    """65.2 -> '1:05'."""
    whole = max(0, int(seconds))
    return (
        f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
        if whole >= 3600
        else f"{whole // 60}:{whole % 60:02d}"
    )


def _line(what: str, done: int, total: int | None, elapsed_s: float, unit: str) -> str:
    rate = done / elapsed_s if elapsed_s > 0 else 0.0
    if total is None:
        return f"{what}: {done} {unit}, {rate:.1f}/s"
    left = _clock((total - done) / rate) if rate > 0 else "?"
    return f"{what}: {done}/{total} {unit}, {rate:.1f}/s, {left} left"


def track(items: Iterable[T], total: int | None = None, what: str = "working", unit: str = "items") -> Iterator[T]:
    """Yield `items` unchanged while showing how many are done, how fast, and how long is left.

    On a terminal a rich bar is drawn on stderr; elsewhere (CI, a log file) one plain line every ten seconds.
    """
    if total is None and hasattr(items, "__len__"):
        total = len(items)  # pyright: ignore[reportArgumentType]
    if sys.stderr.isatty():
        yield from _bar(items, total, what, unit)
        return
    start = last = time.monotonic()
    done = 0
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - last >= _QUIET_INTERVAL_S:
            last = now
            print(_line(what, done, total, now - start, unit), file=sys.stderr, flush=True)  # noqa: T201
    elapsed_s = time.monotonic() - start
    if elapsed_s >= 2:
        print(  # noqa: T201
            f"{what}: {done} {unit} in {_clock(elapsed_s)} ({done / elapsed_s:.1f}/s)", file=sys.stderr, flush=True
        )


def _bar(items: Iterable[T], total: int | None, what: str, unit: str) -> Iterator[T]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: object) -> Text:
            speed = getattr(task, "finished_speed", None) or getattr(task, "speed", None) or 0.0
            return Text(f"{speed:.1f} {unit}/s")

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield from progress.track(items, total=total)
