"""Items put in one thread -> the same items taken in another, few at a time, until either side ends it."""

import threading
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class ChannelClosedError(Exception):
    """The other side wants no more."""


class Channel(Generic[T]):
    """A bounded queue that both sides can end: `queue.Queue` would leave the other one waiting."""

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"size={size}: at least one item must be able to wait")
        self._size = size
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._is_finished = False
        self._error: BaseException | None = None
        self._is_closed = False

    def put(self, item: T) -> None:
        """Hand over an item; waits while too many are waiting.

        Raises:
            ChannelClosedError: the taking side has closed the channel.
        """
        with self._changed:
            while len(self._items) >= self._size and not self._is_closed:
                self._changed.wait()
            if self._is_closed:
                raise ChannelClosedError
            self._items.append(item)
            self._changed.notify_all()

    def finish(self, error: BaseException | None = None) -> None:
        """Say that nothing more comes; with an error, it is raised where the items are taken, after the last one."""
        with self._changed:
            self._is_finished = True
            self._error = error
            self._changed.notify_all()

    def close(self) -> None:
        """End both sides at once: what is waiting is dropped, and the next `put` and the next item taken raise."""
        with self._changed:
            self._is_closed = True
            self._items.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        """Take items until the putting side has finished.

        Raises:
            ChannelClosedError: the channel has been closed.
            BaseException: what `finish` was given, itself.
        """
        while True:
            with self._changed:
                while not (self._items or self._is_finished or self._is_closed):
                    self._changed.wait()
                if self._is_closed:
                    raise ChannelClosedError
                if not self._items:
                    if self._error is not None:
                        raise self._error
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item
            del item  # nothing is held while waiting for the next one
