"""A photo and a driving clip -> how long a whole animation takes, from file to file, and how much memory."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


def measured_clip(source: str, driving: str, weights: str, seconds: float, out: Path) -> dict[str, Any]:
    """Animate in a process of its own, as lp-animate does, without the side-by-side video.

    Returns:
        frames, seconds (decode, detect, animate, paste, encode), frames_per_s, start_up_s (loading), memory_mib (peak).

    Raises:
        ValueError: the animation failed.
    """
    request = json.dumps([source, driving, weights, seconds, str(out)])
    command = [sys.executable, "-m", "evaluation.clip_speed", request]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"the clip could not be animated: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def _animate(source: str, driving: str, weights: str, seconds: float, out: str) -> dict[str, Any]:
    start = time.monotonic()
    from evaluation.animator import Animator
    from evaluation.machine import peak_memory_mib
    from evaluation.outputs import OutputSet, mp4

    animator = Animator.from_pretrained(weights)
    loaded = time.monotonic()
    animation = animator.animate(source, driving, seconds=seconds)
    output = mp4(Path(out), lambda step: step.frame, animation.fps, audio_from=animation.audio_from())
    with OutputSet([output]) as files:
        for step in animation.steps(with_driver=False):
            files.push(step)
    elapsed_s = time.monotonic() - loaded
    frames = files.num_frames[Path(out)]
    return {
        "frames": frames, "seconds": elapsed_s, "frames_per_s": frames / elapsed_s, "start_up_s": loaded - start,
        "memory_mib": peak_memory_mib(),
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(_animate(*json.loads(sys.argv[1]))))  # noqa: T201 - the answer to `measured_clip`
