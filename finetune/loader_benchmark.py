"""Shards -> how fast rows can be had from them: naive reading, this loader cold and warm, whole batches.

python -m finetune.loader_benchmark shards=DIR
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_pipeline.cli_errors import user_errors
from data_pipeline.ledger import table
from data_pipeline.loader_speed import read_pair_whole
from finetune.datamodule import PairData
from finetune.shard_index import ShardIndex, read_index
from finetune.shard_stream import ClipStore, read_members

Pair = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure; given as name=value.

    Raises:
        ValueError: a number is out of range.
    """

    shards: str = "???"
    side_px: int = 256
    """Of the pictures in batches."""
    seconds: float = 4.0
    """Per repeat of each measurement."""
    repeats: int = 3
    batch_size: int = 8
    train_hz: float = 7.0
    """Rows a second that the model trains with (starter on two cores: docs/training.md)."""

    def __post_init__(self) -> None:
        if self.seconds <= 0 or self.repeats < 1 or self.train_hz <= 0:
            raise ValueError("give seconds and train_hz above 0 and repeats of at least 1")


class Rate(NamedTuple):
    """Things a second in one process."""

    name: str
    median_hz: float
    low_hz: float
    high_hz: float


def measure(makers: dict[str, Callable[[], Callable[[], int]]], seconds: float, repeats: int) -> list[Rate]:
    """Rates of several ways, which take turns so that other load on the machine meets all of them.

    Args:
        makers: name -> function that prepares a repeat (not timed) and gives what does some work and counts it.
        seconds: least time of a repeat.
        repeats: rounds.
    """
    rates: dict[str, list[float]] = {name: [] for name in makers}
    for _ in range(repeats):
        for name, make in makers.items():
            work, done, start = make(), 0, time.perf_counter()
            while (took := time.perf_counter() - start) < seconds:
                done += work()
            rates[name].append(done / took)
    return [Rate(name, float(np.median(found)), min(found), max(found)) for name, found in rates.items()]


def pair_ways(index: ShardIndex, seed: int = 0) -> dict[str, Callable[[], Callable[[], int]]]:
    """Ways to get two random frames of a random clip.

    Raises:
        ValueError: the shards hold no video.
    """
    videos = [number for number, card in enumerate(index.cards) if card.is_video]
    if not videos:
        raise ValueError("the train shards hold no clips, and pairs are drawn from clips; curate some videos")
    rng = np.random.default_rng(seed)

    def pair() -> Pair:
        number = int(rng.choice(videos))
        first, second = rng.choice(index.cards[number].num_frames, 2, replace=False)
        return number, int(first), int(second)

    def take(store: ClipStore) -> int:
        number, first, second = pair()
        clip = store.clip(number)
        clip.image(first)
        clip.image(second)
        return 1

    def naive() -> Callable[[], int]:
        members = _mp4s(index)
        return lambda: len(read_pair_whole(members[(p := pair())[0]], p[1:])) // 2

    def warm() -> Callable[[], int]:
        store = ClipStore(index, 1e3)
        store.read_all()
        return lambda: take(store)

    def cold() -> Callable[[], int]:
        forget(index.paths)
        # A new store each time keeps nothing: every pair is read from the shard.
        return lambda: take(ClipStore(index, 1e3))

    return {"naive: whole clip decoded": naive, "pairs, read from the shard": cold, "pairs, in memory": warm}


def _mp4s(index: ShardIndex) -> dict[int, bytes]:
    numbers = {(card.shard, card.key): number for number, card in enumerate(index.cards)}
    found = {}
    for shard, path in enumerate(index.paths):
        with path.open("rb") as stream:
            for members in read_members(path, stream):
                if "mp4" in members:
                    found[numbers[shard, members["__key__"]]] = members["mp4"]
    return found


def forget(paths: Sequence[Path]) -> None:
    """Ask the system to drop what it holds of these files; without that, cold means only: not in our memory."""
    for path in paths:
        with path.open("rb") as stream:
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def batch_ways(data: PairData, index: ShardIndex) -> dict[str, Callable[[], Callable[[], int]]]:
    """Ways to get whole batches, augmented, made in the process that would train."""

    def batches(cache_gb: float) -> Callable[[], Callable[[], int]]:
        def make() -> Callable[[], int]:
            made = replace(data, cache_gb=cache_gb)
            made.last_step = 10**9
            made.read()
            coming = iter(made.train_dataloader())
            next(coming)  # the first one loads libraries
            return lambda: len(next(coming).source)

        return make

    largest = max(card.kept_bytes for card in index.cards)
    part = max(2.5 * largest, index.kept_bytes / 3) / 1e9
    ways = {"rows, in memory": batches(2 * index.kept_bytes / 1e9 + 1e-3)}
    if part < index.kept_bytes / 1e9:
        ways[f"rows, streamed ({part * 1e3:.0f} of {index.kept_bytes / 1e6:.0f} MB in memory)"] = batches(part)
    return ways


def stall_frac(rows_hz: float, train_hz: float, is_beside: bool) -> float:
    """Share of the time that training waits for its rows.

    Args:
        rows_hz: rows a second of one loader process.
        train_hz: rows a second of the model alone.
        is_beside: whether the loader has a process and a core of its own; else it takes turns with the model.
    """
    if is_beside:
        return max(0.0, 1 - rows_hz / train_hz)
    return train_hz / (train_hz + rows_hz)


@user_errors
def main() -> None:
    """Measure and print."""
    import cv2
    from omegaconf import OmegaConf

    cv2.setNumThreads(1)
    given = OmegaConf.to_container(OmegaConf.merge(OmegaConf.structured(Options), OmegaConf.from_cli()), resolve=True,
                                   throw_on_missing=True)  # fmt: skip
    options = Options(**given)  # pyright: ignore[reportCallIssue]
    folder = Path(options.shards)
    start = time.perf_counter()
    index = read_index(folder)
    indexed_s = time.perf_counter() - start
    data = PairData(shards=folder, batch_size=options.batch_size, side_px=options.side_px)
    pairs = measure(pair_ways(index), options.seconds, options.repeats)
    rows = measure(batch_ways(data, index), options.seconds, options.repeats)
    lines = table(
        ("what", "per second and process (lowest-highest)", "x naive"),
        [
            (rate.name, f"{rate.median_hz:.1f} ({rate.low_hz:.1f}-{rate.high_hz:.1f})",
             f"{rate.median_hz / pairs[0].median_hz:.1f}" if rate in pairs else "")
            for rate in (*pairs, *rows)
        ],
    )  # fmt: skip
    videos = [card for card in index.cards if card.is_video]
    frames = sum(card.num_frames for card in videos)
    print(f"{len(index.cards)} samples in {len(index.paths)} shards, indexed in {indexed_s:.2f} s; clips take "  # noqa: T201
          f"{sum(card.kept_bytes for card in videos) / frames / 1e3:.1f} kB a frame in memory")  # fmt: skip
    print("\n".join(lines))  # noqa: T201
    slowest = min(rate.median_hz for rate in rows)
    print(f"a model that trains {options.train_hz:g} rows/s waits {stall_frac(slowest, options.train_hz, False):.0%} "  # noqa: T201
          f"of the time with data.workers=0, {stall_frac(slowest, options.train_hz, True):.0%} with a worker on a core "
          "of its own")  # fmt: skip


if __name__ == "__main__":
    main()
