"""Files and a recipe -> what Data-Juicer makes of them, how long each of its operators takes, and its hashes."""

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.other_load import own_cpu_s

PACKAGES = "py-data-juicer aiohttp av==13.1.0 scenedetect opencv-python-headless imageio-ffmpeg imagededup"
INSTALL = f"python3.11 -m venv DIR && DIR/bin/pip install {PACKAGES}"
"""aiohttp: its 1.6.1 imports it without saying so; av 13.1.0: the version that it asks for."""
_DONE = re.compile(r"OP \[(\w+)\] Done in ([\d.]+)s\. Left (\d+) samples")
_SCENES = {"video_split_by_scene_mapper": {"detector": "ContentDetector", "threshold": 27.0, "min_scene_len": 15}}


class RivalError(ValueError):
    """Data-Juicer is missing or failed; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """A program that ran to its end."""

    seconds: float
    cpu_s: float
    output: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JuicerRun:
    """One run of dj-process."""

    seconds: float
    """From the command to its end, start-up included."""
    cpu_s: float
    op_seconds: dict[str, float]
    rows: list[dict[str, Any]]
    """The samples that are left."""


NUM_PHOTO_OPS = 4
"""Of `curation_recipe`: the first ones are for photos, the others for videos."""


def curation_recipe(clips: Path, motion_px: int) -> list[dict[str, Any]]:
    """The operators nearest to our curation that need no model, with Data-Juicer's own thresholds where it has some.

    Args:
        clips: where the scenes go, as video files.
        motion_px: shorter side of the pictures whose optical flow is computed; 0: their own size, its default.
    """
    motion = {"min_score": 0.25, "sampling_fps": 2} | ({"size": motion_px} if motion_px else {})
    return [
        {"image_shape_filter": {"min_width": 80, "min_height": 80}},
        {"image_aspect_ratio_filter": {"min_ratio": 0.333, "max_ratio": 3.0}},
        {"image_size_filter": {"min_size": "1kb"}},
        {"image_deduplicator": {"method": "phash"}},
        scenes_recipe(clips)[0],
        {"video_resolution_filter": {"min_width": 80, "min_height": 80}},
        {"video_aspect_ratio_filter": {"min_ratio": "1/3", "max_ratio": "3/1"}},
        {"video_duration_filter": {"min_duration": 0.16, "video_backend": "av"}},
        {"video_motion_score_filter": motion},
        {"video_deduplicator": {}},
    ]


def scenes_recipe(clips: Path) -> list[dict[str, Any]]:
    """Only the cuts, with the operator's default detector and thresholds."""
    return [{"video_split_by_scene_mapper": _SCENES["video_split_by_scene_mapper"] | {"save_dir": str(clips)}}]


@dataclass(frozen=True, slots=True, kw_only=True)
class Juicer:
    """Data-Juicer in the environment of a Python of its own."""

    python: Path

    def versions(self) -> dict[str, str]:
        """Installed versions of what matters.

        Raises:
            RivalError: it is not installed there.
        """
        names = ("py-data-juicer", "scenedetect", "imagededup", "av", "opencv-python-headless", "torch")
        code = f"import importlib.metadata as m, json; print(json.dumps({{n: m.version(n) for n in {names!r}}}))"
        try:
            done = subprocess.run([self.python, "-c", code], capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            said = f"python={self.python} is no Python with Data-Juicer; make one with: {INSTALL}"
            raise RivalError(said) from error
        return json.loads(done.stdout)

    def process(
        self, images: Sequence[Path], videos: Sequence[Path], recipe: list[dict[str, Any]], folder: Path, workers: int
    ) -> JuicerRun:
        """Run a recipe on files; what it writes goes below `folder`.

        Raises:
            RivalError: it ended with an error.
        """
        folder.mkdir(parents=True, exist_ok=True)
        rows = [_row("images", path) for path in images] + [_row("videos", path) for path in videos]
        (folder / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        settings = {
            "project_name": "pawtrait", "dataset_path": str(folder / "in.jsonl"),
            "export_path": str(folder / "out" / "out.jsonl"), "np": workers, "auto_op_parallelism": False,
            "use_cache": False, "open_tracer": False, "process": recipe,
        }  # fmt: skip
        (folder / "recipe.yaml").write_text(json.dumps(settings, indent=1))  # JSON is YAML
        command = [str(self.python.with_name("dj-process")), "--config", str(folder / "recipe.yaml")]
        done = timed(command, workers)
        out = folder / "out" / "out.jsonl"
        if not out.is_file():
            raise RivalError(f"dj-process wrote no {out}; its last line: {done.output.strip().splitlines()[-1]}")
        return JuicerRun(
            seconds=done.seconds, cpu_s=done.cpu_s, rows=[json.loads(line) for line in out.read_text().splitlines()],
            op_seconds={name: float(seconds) for name, seconds, _ in _DONE.findall(done.output)},
        )  # fmt: skip

    def hashes(self, kind: str, paths: Sequence[Path]) -> dict[Path, str]:
        """Hash of each file by the operator's own code; two files of one hash are what it calls copies."""
        script = Path(__file__).with_name("juicer_hashes.py")
        done = subprocess.run(
            # -P: this folder must not be searched, it has a data_juicer of its own.
            [self.python, "-P", script, kind], input="".join(f"{path}\n" for path in paths), text=True, check=False,
            capture_output=True, env=_calm(),
        )  # fmt: skip
        if done.returncode:
            raise RivalError(f"Data-Juicer could not hash the {kind}: {done.stderr.strip().splitlines()[-1]}")
        pairs = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
        return {Path(path): found for path, found in pairs}


def _row(kind: str, path: Path) -> dict[str, Any]:
    token = "<__dj__image>" if kind == "images" else "<__dj__video>"
    return {"file": str(path), "text": token, "images": [], "videos": []} | {kind: [str(path)]}


def timed(command: Sequence[str], cores: int, allowed: str | None = None) -> Timed:
    """Run a program on the first n cores that we have, and nothing else of ours meanwhile.

    Raises:
        RivalError: it ended with an error, and did not say what is `allowed`.
    """
    with _on_cores(cores):
        begun_s, cpu_s = time.monotonic(), own_cpu_s()
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, env=_calm()
        )
        seconds, spent_s = time.monotonic() - begun_s, own_cpu_s() - cpu_s
    if done.returncode and not (allowed and allowed in done.stdout):
        last = (done.stdout.strip().splitlines() or ["(it said nothing)"])[-1]
        raise RivalError(f"{Path(command[0]).name} ended with an error: {last}")
    return Timed(seconds=seconds, cpu_s=spent_s, output=done.stdout)


def _calm() -> dict[str, str]:
    """No look-ups in the network: nothing is to be downloaded."""
    return dict(os.environ) | {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "UV_OFFLINE": "1"}


@contextmanager
def _on_cores(count: int) -> Iterator[None]:
    """Children that start inside get that many cores; x264 and decoders take as many threads as they see cores."""
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(sorted(mine)[:count]))
    try:
        yield
    finally:
        os.sched_setaffinity(0, mine)
