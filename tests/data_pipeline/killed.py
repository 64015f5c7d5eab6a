"""A function -> run in a process that is killed at its n-th change of the disk."""

import os
import signal
from collections.abc import Callable
from pathlib import Path


def killed_at(step: int, work: Callable[[], object]) -> bool:
    """Run `work` in a process that gets SIGKILL before its step-th rename or removal; False: it was done before."""
    pid = os.fork()
    if pid == 0:
        left = [step]

        def deadly(real):
            def run(*args, **kwargs):
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*args, **kwargs)

            return run

        os.replace = deadly(os.replace)
        Path.unlink = deadly(Path.unlink)
        try:
            work()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])
