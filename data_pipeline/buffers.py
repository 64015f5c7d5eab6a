"""Sizes -> large arrays whose memory is used again: fresh pages cost as much as filling them fifty times over."""

import math
import sys
import threading

import numpy as np
from jaxtyping import UInt8

_KEPT = 4
_UNUSED_COUNT = 2
"""References to an array that only the list below holds: the list's and getrefcount's own."""
_lock = threading.Lock()
_buffers: list[np.ndarray] = []


def drop_unused() -> None:
    """Give the memory of all buffers that nobody refers to back to the system."""
    with _lock:
        for index in reversed(range(len(_buffers))):
            if _is_unused(index):
                del _buffers[index]


def _is_unused(index: int) -> bool:
    # By index: a loop variable, or what `enumerate` gives, would be one more reference or two.
    return sys.getrefcount(_buffers[index]) == _UNUSED_COUNT


def lent(shape: tuple[int, ...]) -> UInt8[np.ndarray, "..."]:
    """An uninitialised array. Its memory is lent again when neither it nor a view of it is referred to any more.

    At most four buffers are kept in a process, each as large as the next power of two; pages that were never written
    to take no memory.
    """
    size = math.prod(shape)
    with _lock:
        unused = [index for index in range(len(_buffers)) if _is_unused(index)]
        for index in unused:
            if size <= _buffers[index].size <= 4 * max(size, 1):
                return _buffers[index][:size].reshape(shape)
        buffer = np.empty(1 << max(size - 1, 1).bit_length(), np.uint8)
        if len(_buffers) >= _KEPT and unused:
            del _buffers[unused[0]]
        if len(_buffers) < _KEPT:
            _buffers.append(buffer)
        return buffer[:size].reshape(shape)
