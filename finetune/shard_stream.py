"""An index of shards -> clips: all in memory where they fit, otherwise read when they are needed, and a little before.

Which clip is needed when is decided in `finetune/plan.py`, from the index alone. What lies in memory here changes no
batch; it only decides whether somebody waits for it.
"""

import io
import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from data_pipeline.progress import track
from finetune.clips import Clip, ShardError, to_clip
from finetune.plan import Room
from finetune.shard_index import ClipCard, ShardIndex

AHEAD_FRAC = 0.2
"""Share of the memory for clips that are read before they are needed."""
WINDOW_FRAC = 0.7
"""Share of the memory for clips that rows are drawn from; the rest is for those that just left."""


def read_members(path: Path, stream: io.BufferedIOBase) -> Iterator[dict[str, Any]]:
    """Raw members of each sample of a shard or of a piece of one, in order, by webdataset; nothing is unpickled.

    Its whole pipeline is not used: it knows neither exact ratios nor how to begin in the middle.

    Args:
        path: the shard, for messages.
        stream: its bytes, or those from one sample's beginning to another's end.

    Raises:
        ShardError: the tar is damaged.
    """
    from webdataset.tariterators import group_by_keys, tar_file_expander

    def stop(error: Exception) -> bool:
        raise ShardError(f"{path} is damaged ({' '.join(str(error).split())[:80]}); run lp-curate again") from error

    files = tar_file_expander([{"url": str(path), "stream": stream}], handler=stop)
    yield from group_by_keys(files, handler=stop)


class ClipStore:
    """Clips by their number in the index.

    Raises:
        ValueError: the memory does not hold the largest clip.
    """

    def __init__(self, index: ShardIndex, cache_gb: float = 4.0) -> None:
        self.index, self.cache_gb = index, cache_gb
        largest = max(index.cards, key=lambda card: card.kept_bytes)
        if largest.kept_bytes > cache_gb * 1e9:
            raise ValueError(
                f"data.cache_gb={cache_gb:g} does not hold sample {largest.key} ({largest.kept_bytes / 1e6:.1f} MB); "
                f"give at least {2e-9 * largest.kept_bytes:.2g}"
            )
        self.fits = index.kept_bytes <= cache_gb * 1e9
        self.processes = 1
        """How many loader processes share the memory."""
        self._clips: OrderedDict[int, Clip] = OrderedDict()
        self._bytes = 0
        self._pending: dict[int, Future[Clip]] = {}
        self._reader: ThreadPoolExecutor | None = None
        self._owner = os.getpid()

    @property
    def cards(self) -> Sequence[ClipCard]:
        """What is there to draw from."""
        return self.index.cards

    @property
    def room(self) -> Room:
        """How much may be in memory at a time. The number of loader processes does not count: it changes no batch."""
        return Room(window_bytes=None if self.fits else WINDOW_FRAC * self.cache_gb * 1e9)

    def read_all(self) -> None:
        """Read every shard from beginning to end, if all clips fit.

        Raises:
            ShardError: a shard is damaged.
        """
        if not self.fits or self._clips:
            return
        numbers = {(card.shard, card.key): number for number, card in enumerate(self.cards)}

        def everything() -> Iterator[tuple[int, dict[str, Any]]]:
            for shard, path in enumerate(self.index.paths):
                with path.open("rb") as stream:
                    yield from ((shard, members) for members in read_members(path, stream))

        for shard, members in track(everything(), len(numbers), "reading shards", "samples"):
            number = numbers[shard, members["__key__"]]
            self._keep(number, self._to_clip(number, members))

    def clip(self, number: int) -> Clip:
        """One clip; waits for the disk if it is not in memory.

        Raises:
            ShardError: the sample is damaged.
        """
        if number in self._clips:
            self._clips.move_to_end(number)
            return self._clips[number]
        self._after_fork()
        pending = self._pending.pop(number, None)
        clip = self._read(number) if pending is None else pending.result()
        self._keep(number, clip)
        return clip

    def prefetch(self, wanted: Iterable[int]) -> None:
        """Read these in the background, first things first, as far as there is room; forget what was asked before."""
        if self.fits:
            return
        self._after_fork()
        room = AHEAD_FRAC * self._room()
        pending: dict[int, Future[Clip]] = {}
        for number in dict.fromkeys(wanted):
            if number in self._clips:
                continue
            room -= self.cards[number].kept_bytes
            if room < 0 and pending:
                break
            if self._reader is None:
                self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="clips")
            pending[number] = self._pending.pop(number, None) or self._reader.submit(self._read, number)
        for unwanted in self._pending.values():
            unwanted.cancel()
        self._pending = pending

    def _room(self) -> float:
        return self.cache_gb * 1e9 / self.processes

    def _keep(self, number: int, clip: Clip) -> None:
        self._clips[number] = clip
        self._bytes += clip.num_bytes
        if self.fits:
            return
        while self._bytes > (1 - AHEAD_FRAC) * self._room() and len(self._clips) > 1:
            self._bytes -= self._clips.popitem(last=False)[1].num_bytes

    def _read(self, number: int) -> Clip:
        card = self.cards[number]
        path = self.index.paths[card.shard]
        try:
            with path.open("rb") as stream:
                stream.seek(card.offset)
                data = stream.read(card.num_bytes)
        except OSError as error:
            raise ShardError(f"{path} cannot be read ({error.strerror}); is its disk still there?") from error
        for members in read_members(path, io.BytesIO(data)):
            if members["__key__"] == card.key:
                return self._to_clip(number, members)
        raise ShardError(f"{path} no longer holds sample {card.key}; do not change shards while they train a model")

    def _to_clip(self, number: int, members: dict[str, Any]) -> Clip:
        path = self.index.paths[self.cards[number].shard]
        try:
            return to_clip(members, self.index.frame_stride, self.index.with_labels)
        except ShardError as error:
            raise ShardError(f"{path}: {error}") from error

    def _after_fork(self) -> None:
        """A forked process has its parent's clips and not its threads."""
        if self._owner != os.getpid():
            self._owner, self._reader, self._pending = os.getpid(), None, {}
