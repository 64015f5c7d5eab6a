"""Freed memory -> memory at hand: stops glibc from giving every large buffer back to the system at once."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
"""Numbers of mallopt's parameters in glibc's malloc.h."""


def keep_freed_memory() -> bool:
    """Let this process reuse large buffers instead of mapping new ones (and clearing every page) at each operator.

    Inference makes and frees the same tens of megabytes again and again; without this a fifth of a frame's time on a
    CPU goes into page faults. Memory stays at the highest level reached. True if the allocator took it (glibc only).
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # musl and others
        return False
    return all([mallopt(M_MMAP_MAX, 0), mallopt(M_TRIM_THRESHOLD, 2**31 - 1), mallopt(M_TOP_PAD, 64 << 20)])
