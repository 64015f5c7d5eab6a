"""An output folder -> held by one run: a second run is refused, what a dead one left behind is taken over."""

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

LOCK = ".run.lock"


class RunLockError(ValueError):
    """Another run works in the folder; the message says which one and what to do."""


@contextlib.contextmanager
def run_lock(folder: Path) -> Iterator[Path]:
    """Hold the folder until the block ends.

    The kernel's file lock decides on one machine: it ends with its process, however that dies. The file's text (pid,
    host and time) names the holder, and guards folders that two machines share, where kernel locks may not reach.

    Raises:
        RunLockError: a living run holds it, or one on another machine that did not end in order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = _holder(handle)
            os.close(handle)
            raise RunLockError(
                f"{folder} is in use by another run ({holder[0]}); wait for it or give another out=DIR"
            ) from error
        try:
            is_current = os.fstat(handle).st_ino == path.stat().st_ino
        except FileNotFoundError:  # its holder ended between our two looks
            is_current = False
        if is_current:
            break
        os.close(handle)
    try:
        name, host = _holder(handle)
        if host not in ("", socket.gethostname()):
            raise RunLockError(f"{folder} is in use by a run on another machine ({name}); if it is dead, delete {path}")
        os.ftruncate(handle, 0)
        about = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        os.pwrite(handle, json.dumps(about).encode(), 0)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)  # while the lock is held: whoever waits sees another inode and tries again
    finally:
        os.close(handle)


def _holder(handle: int) -> tuple[str, str]:
    """Who wrote the lock, for people, and the host; a half-written one has no host."""
    text = os.pread(handle, 4096, 0).decode(errors="replace")
    try:
        about = json.loads(text)
        return f"pid {about['pid']} on {about['host']} since {about['since']}", str(about["host"])
    except (ValueError, KeyError, TypeError):
        return "it has just begun", ""
