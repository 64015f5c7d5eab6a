"""Python calls of a running curation -> seconds of each stage, every moment counted for one stage only."""

import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import data_pipeline

STAGES = {
    # File below data_pipeline -> stage; files that are not named belong to whoever calls them.
    "video.py": "decode", "photo.py": "decode", "container.py": "decode", "media.py": "decode",
    "moving_picture.py": "decode", "frame_rate.py": "decode",
    "detect.py": "detect", "yolo.py": "detect",
    "clock.py": "times", "shots.py": "shots", "first_pass.py": "kept frames", "frame_store.py": "kept frames",
    "buffers.py": "kept frames", "track.py": "track and crop", "smoothing.py": "track and crop",
    "follow.py": "track and crop", "crop.py": "track and crop", "cutting.py": "track and crop",
    "quality.py": "measures", "measures/": "measures",
    "video_writer.py": "encode", "hashes.py": "thumbnails",
    "dedup.py": "dedup", "lookup.py": "dedup", "alignment.py": "dedup", "hash_index.py": "dedup",
    "clusters.py": "dedup",
    "shards.py": "pack", "group_tar.py": "pack", "whole_file.py": "pack", "thumb_store.py": "pack",
    "work_folder.py": "pack", "candidates.py": "pack", "ledger.py": "pack",
}  # fmt: skip
FUNCTIONS = {("photo.py", "encode_jpeg"): "encode", ("photo.py", "encode_png"): "encode"}
OTHER = "other"
_ROOT = f"{Path(data_pipeline.__file__).parent.as_posix()}/"


class StageTimes:
    """A context that counts the time of each stage, of this thread and of threads that start inside.

    The calls themselves are slowed down a little: use the shares, not the sum.
    """

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._stages: dict[CodeType, str | None] = {}
        self._local = threading.local()

    def __enter__(self) -> "StageTimes":
        self._local.stack = [(OTHER, 0)]
        self._local.since = time.perf_counter()
        threading.setprofile(self._see)
        sys.setprofile(self._see)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)
        self._count(self._local.stack[-1][0])

    def _see(self, frame: FrameType, event: str, _argument: Any) -> None:  # noqa: ANN401
        """On entering a function of another stage the clock goes over to it; on leaving it, back. Yields leave too."""
        if event not in ("call", "return"):
            return
        code = frame.f_code
        if code not in self._stages:
            self._stages[code] = stage_of(code)
        stage = self._stages[code]
        if stage is None:
            return
        if not hasattr(self._local, "stack"):  # a thread that has just started
            self._local.stack, self._local.since = [(OTHER, 0)], time.perf_counter()
        stack = self._local.stack
        if event == "call":
            self._count(stack[-1][0])
            stack.append((stage, id(frame)))
        elif stack[-1][1] == id(frame):
            self._count(stage)
            stack.pop()

    def _count(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] += now - self._local.since
        self._local.since = now


def stage_of(code: CodeType) -> str | None:
    """The stage of a function; None: its caller's."""
    if not code.co_filename.startswith(_ROOT):
        return None
    name = code.co_filename[len(_ROOT) :]
    if code.co_name == "<genexpr>":
        return None
    folder = f"{name.split('/', 1)[0]}/"
    return FUNCTIONS.get((name, code.co_name)) or STAGES.get(name) or STAGES.get(folder)
