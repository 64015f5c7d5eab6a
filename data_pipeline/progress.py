"""An iterable -> the same iterable, with a progress bar that shows rate and time left."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
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


def _line(what: str, done: int, total: int | None, elapsed_s: float, unit: str, more: str = "") -> str:
    rate = done / elapsed_s if elapsed_s > 0 else 0.0
    if total is None:
        return f"{what}: {done} {unit}, {rate:.1f}/s{more}"
    left = _clock((total - done) / rate) if rate > 0 else "?"
    return f"{what}: {done}/{total} {unit}, {rate:.1f}/s{more}, {left} left"


def _per_second(weight: float, elapsed_s: float, unit: str) -> str:
    return f", {weight / elapsed_s:.1f} {unit}/s" if weight and elapsed_s > 0 else ""


def track(
    items: Iterable[T],
    total: int | None = None,
    what: str = "working",
    unit: str = "items",
    weigh: Callable[[T], float] | None = None,
    weight_unit: str = "",
) -> Iterator[T]:
    """Yield `items` unchanged while showing how many are done, how fast, and how long is left.

    On a terminal a rich bar is drawn on stderr; elsewhere (CI, a log file) one plain line every ten seconds.

    Args:
        items: what is gone through.
        total: how many there are; None: their length, where they have one.
        what: the work's name.
        unit: what the items are.
        weigh: a second measure of an item, shown per second beside the count.
        weight_unit: what it is measured in.
    """
    if total is None and hasattr(items, "__len__"):
        total = len(items)  # pyright: ignore[reportArgumentType]
    weigh = weigh or (lambda _: 0.0)
    if sys.stderr.isatty():
        yield from _bar(items, total, what, unit, weigh, weight_unit)
        return
    start = last = time.monotonic()
    done, weight = 0, 0.0
    for done, item in enumerate(items, start=1):
        weight += weigh(item)
        yield item
        now = time.monotonic()
        if now - last >= _QUIET_INTERVAL_S:
            last = now
            more = _per_second(weight, now - start, weight_unit)
            print(_line(what, done, total, now - start, unit, more), file=sys.stderr, flush=True)  # noqa: T201
    elapsed_s = time.monotonic() - start
    if elapsed_s >= 2:
        more = _per_second(weight, elapsed_s, weight_unit)
        rate = f"({done / elapsed_s:.1f}/s{more})"
        print(f"{what}: {done} {unit} in {_clock(elapsed_s)} {rate}", file=sys.stderr, flush=True)  # noqa: T201


def _bar(
    items: Iterable[T], total: int | None, what: str, unit: str, weigh: Callable[[T], float], weight_unit: str
) -> Iterator[T]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    start, weight = time.monotonic(), 0.0

    class Rate(ProgressColumn):
        def render(self, task: object) -> Text:
            speed = getattr(task, "finished_speed", None) or getattr(task, "speed", None) or 0.0
            return Text(f"{speed:.1f} {unit}/s{_per_second(weight, time.monotonic() - start, weight_unit)}")

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        for item in progress.track(items, total=total):
            weight += weigh(item)
            yield item
