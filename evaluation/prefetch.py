"""An iterable -> the same items, made in a thread of their own while the earlier ones are used."""

import threading
from collections.abc import Generator, Iterable
from typing import Any, TypeVar

from evaluation.channel import Channel, ChannelClosedError

T = TypeVar("T")


def prefetched(items: Iterable[T], size: int = 8) -> Generator[T, None, None]:
    """Yield `items` in order while a thread makes up to `size` more of them; decoding then costs the networks no time.

    The thread starts with the first item that is asked for. It ends with the last item, with an error, which is raised
    here as itself after the items before it, or when this generator is closed; then `items` is closed too, in the
    thread that ran it. Close it (`contextlib.closing`) where an error must not wait for the garbage collector.

    Args:
        items: an iterator's frames, or anything else that takes time to make.
        size: how many may wait: bounds the memory.

    Raises:
        ValueError: no item may wait.
    """
    channel: Channel[T] = Channel(size)
    late_errors: list[BaseException] = []
    has_ended = threading.Event()
    arguments = (items, channel, late_errors, has_ended)
    thread = threading.Thread(target=_make, args=arguments, name="prefetch", daemon=True)
    thread.start()
    try:
        yield from channel
    finally:
        channel.close()
        has_ended.wait()  # Ctrl-C in Thread.join makes Python 3.11 believe that the thread has ended
        thread.join()
        if late_errors:
            raise late_errors[0]


def _make(
    items: Iterable[Any], channel: Channel[Any], late_errors: list[BaseException], has_ended: threading.Event
) -> None:
    """What the thread does; an error that comes while `items` is closed for a consumer who has left is late."""
    has_left = False
    try:
        iterator = iter(items)
        try:
            for item in iterator:
                channel.put(item)
                del item  # nothing is held while the next one is made
        except ChannelClosedError:
            has_left = True
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()
    except BaseException as error:
        if has_left:
            late_errors.append(error)
        channel.finish(error)
    else:
        channel.finish()
    finally:
        has_ended.set()
