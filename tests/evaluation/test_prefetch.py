import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from evaluation.prefetch import prefetched


class Counted:
    """An iterator that counts what it made and whether, and in which thread, it was closed."""

    def __init__(self, count: int | None, fail_at: int | None = None) -> None:
        self.count, self.fail_at = count, fail_at
        self.made = 0
        self.closed_in: list[str] = []

    def __iter__(self) -> "Counted":
        return self

    def __next__(self) -> int:
        if self.made == self.fail_at:
            raise OSError("the file broke off")
        if self.made == self.count:
            raise StopIteration
        self.made += 1
        return self.made - 1

    def close(self) -> None:
        self.closed_in.append(threading.current_thread().name)


def running() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "prefetch"]


def test_items_come_in_order_and_the_source_is_closed_in_its_thread() -> None:
    source = Counted(500)
    assert list(prefetched(source, 3)) == list(range(500))
    assert source.closed_in == ["prefetch"]
    assert running() == []


def test_no_more_than_size_items_wait() -> None:
    source = Counted(None)
    with closing(prefetched(source, 4)) as items:
        for taken in range(1, 30):
            next(items)
            time.sleep(0.001)
            assert source.made <= taken + 4 + 1  # those waiting, and one that is being handed over


def test_it_makes_the_next_items_while_the_last_one_is_used() -> None:
    source = Counted(None)
    with closing(prefetched(source, 4)) as items:
        next(items)
        until = time.monotonic() + 5
        while source.made < 5 and time.monotonic() < until:
            time.sleep(0.001)
        assert source.made >= 5


def test_an_error_comes_as_itself_after_the_items_before_it() -> None:
    source = Counted(None, fail_at=7)
    seen: list[int] = []
    with pytest.raises(OSError, match="broke off"):
        seen.extend(prefetched(source, 3))
    assert seen == list(range(7))
    assert source.closed_in == ["prefetch"]
    assert running() == []


def test_what_is_no_iterator_is_told_at_once() -> None:
    with pytest.raises(TypeError, match="not iterable"):
        list(prefetched(NotIterable(), 2))
    with pytest.raises(ValueError, match="at least one"):
        list(prefetched([], 0))


class NotIterable(list):
    """Passes for an iterable until it is asked."""

    def __iter__(self) -> Iterator[int]:
        raise TypeError("not iterable after all")


def test_a_thousand_early_ends_leave_no_thread() -> None:
    before = threading.active_count()
    sources = [Counted(None) for _ in range(1000)]
    start = time.monotonic()
    for number, source in enumerate(sources):
        items = prefetched(source, 1 + number % 5)
        for _ in range(number % 4):
            next(items)
        items.close()
        assert len(source.closed_in) == (1 if number % 4 else 0)  # it starts with the first item
    assert threading.active_count() == before
    assert time.monotonic() - start < 30


def test_a_forgotten_generator_ends_too() -> None:
    source = Counted(None)
    items = prefetched(source, 2)
    assert next(items) == 0
    del items
    assert source.closed_in == ["prefetch"]
    assert running() == []


def test_ctrl_c_in_the_consumer_ends_it() -> None:
    source = Counted(None)

    def consume() -> None:
        with closing(prefetched(source, 2)) as items:
            for item in items:
                if item == 3:
                    raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        consume()
    assert source.closed_in == ["prefetch"]
    assert running() == []


def test_ctrl_c_while_waiting_for_an_item_is_heard() -> None:
    def stuck() -> Iterator[int]:
        yield 0
        time.sleep(0.5)
        yield 1

    old = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
    try:
        with closing(prefetched(stuck(), 2)) as items:
            assert next(items) == 0
            timer.start()
            with pytest.raises(KeyboardInterrupt):
                next(items)
    finally:
        timer.cancel()
        signal.signal(signal.SIGINT, old)
    assert running() == []


def test_an_error_while_the_source_is_closed_early_is_not_lost() -> None:
    def source() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            raise OSError("cannot close")

    items = prefetched(source(), 2)
    next(items)
    with pytest.raises(OSError, match="cannot close"):
        items.close()
    assert running() == []


def test_a_slow_source_is_closed_before_close_returns() -> None:
    ended = []

    def source() -> Iterator[int]:
        try:
            while True:
                yield 1
                time.sleep(0.05)
        finally:
            ended.append(True)

    items = prefetched(source(), 2)
    next(items)
    items.close()
    assert ended == [True]


def test_nothing_is_held_after_it_was_given() -> None:
    """A frame of a large photo is 25 MB: one more of them per stage is felt."""

    class Frame:
        pass

    items = prefetched((Frame() for _ in range(3)), 1)
    first = next(items)
    time.sleep(0.05)
    assert sys.getrefcount(first) <= 3  # the name, the argument, and the generator's own
    items.close()
