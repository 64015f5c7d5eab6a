"""A plan of identities and performances -> mp4/jpg files with truth beside them, and a manifest."""

import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, UInt8

from data_pipeline.progress import track
from data_pipeline.puppets.identity import sample_identity
from data_pipeline.puppets.motion import Amplitude, sample_exercises, sample_performance, sample_stills
from data_pipeline.puppets.render import PuppetFrame, render
from data_pipeline.records import SPECIES, Species

RENDERER = 1
"""Raise when the same plan gives other pixels or another truth: finished files are then made anew."""
Performances = Literal["shared", "own"]
Acting = Literal["performance", "exercises"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PuppetSet:
    """What to make; the fields are the options of `lp-puppets`.

    Raises:
        ValueError: a number is out of range or a species is unknown.
    """

    out: Path
    identities: int = 8
    """Per species."""
    identity_offset: int = 0
    """Number of the first identity: sets with disjoint ranges share nobody."""
    clips: int = 1
    """Performances per identity."""
    stills: int = 0
    """Photos per identity."""
    seconds: float = 4.0
    species: tuple[Species, ...] = SPECIES
    seed: int = 0
    size_px: int = 256
    fps: float = 25.0
    masks: bool = True
    performances: Performances = "shared"
    """`shared`: clip c of everyone is the same performance (exact cross-identity truth); `own`: everyone improvises."""
    cast: int = 0
    """Identities of each species that share a performance, then the next ones get others; 0: all of them."""
    acting: Acting = "performance"
    """`performance`: as people move; `exercises`: one wide expression after another, to learn from."""
    amplitude: Amplitude = "normal"
    workers: int = 2
    crf: int = 14
    """x264 quality; 14 is visually lossless."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.species if name not in SPECIES]
        if unknown or not self.species:
            raise ValueError(f"species must be some of {', '.join(SPECIES)}, not {list(self.species)}")
        lowest = {"identities": 1, "identity_offset": 0, "clips": 0, "stills": 0, "cast": 0, "workers": 1}
        for name, least in lowest.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, not {getattr(self, name)}")
        if self.clips + self.stills == 0:
            raise ValueError("clips and stills are both 0: there is nothing to make")
        if self.size_px < 32 or self.size_px % 2:
            raise ValueError(f"size_px must be even and at least 32, not {self.size_px}")
        if self.seconds * self.fps < 1 or self.fps <= 0:
            raise ValueError(f"seconds={self.seconds} at fps={self.fps} is less than one frame")
        choices = {
            "performances": ("shared", "own"), "acting": ("performance", "exercises"),
            "amplitude": ("calm", "normal", "extreme"),
        }  # fmt: skip
        for name, allowed in choices.items():
            if (value := getattr(self, name)) not in allowed:
                raise ValueError(f"{name} must be {', '.join(allowed[:-1])} or {allowed[-1]}, not {value!r}")
        if self.performances == "own" and self.cast:
            raise ValueError("cast says who shares a performance, and performances=own shares none; leave one out")

    @property
    def num_frames(self) -> int:
        """Frames of each clip."""
        return round(self.seconds * self.fps)

    def jobs(self) -> list["Job"]:
        """Every file to make, in a fixed order."""
        kinds: tuple[tuple[Literal["video", "image"], int], ...] = (("video", self.clips), ("image", self.stills))
        return [
            Job(
                kind=kind, species=species, index=index, number=number, seed=self.seed, num_frames=self.num_frames,
                fps=self.fps, size_px=self.size_px, masks=self.masks, performances=self.performances,
                acting=self.acting, first=index // self.cast * self.clips if self.cast else 0,
                amplitude=self.amplitude, crf=self.crf,
            )
            for species in self.species
            for index in range(self.identity_offset, self.identity_offset + self.identities)
            for kind, count in kinds
            for number in range(count)
        ]  # fmt: skip

    def __call__(self) -> dict[str, Any]:
        """Make what is missing and return the manifest, which is also written to `out/manifest.json`."""
        return _make(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One media file with its sidecars."""

    kind: Literal["video", "image"]
    species: Species
    index: int
    number: int
    seed: int
    num_frames: int
    fps: float
    size_px: int
    masks: bool
    performances: Performances
    amplitude: Amplitude
    crf: int
    acting: Acting = "performance"
    first: int = 0
    """Number of this identity's first performance."""

    @property
    def identity(self) -> str:
        """Like cat-0007."""
        return f"{self.species}-{self.index:04d}"

    @property
    def performance(self) -> str:
        """Names the motion: equal names are equal motion. Empty for a still."""
        if self.kind == "image":
            return ""
        acting = "exercises-" if self.acting == "exercises" else ""
        name = f"{acting}{self.amplitude}-{self.seed}-{self.first + self.number:03d}"
        return name if self.performances == "shared" else f"{name}-{self.identity}"

    @property
    def media(self) -> str:
        """Path below the set's folder."""
        name = f"{self.performance}.mp4" if self.kind == "video" else f"still-{self.number}.jpg"
        return f"{self.species}/{self.identity}/{name}"

    @property
    def files(self) -> list[str]:
        """The media file and its sidecars, below the set's folder."""
        stem = self.media.rsplit(".", 1)[0]
        return [self.media, f"{stem}.truth.npz", *([f"{stem}.masks.npz"] if self.masks else [])]

    @property
    def config_hash(self) -> str:
        """Changes with anything that changes the file."""
        # Only options that came later have defaults; at those, hashes stay and nothing finished is made anew.
        defaults = {field.name: field.default for field in fields(self)}
        plan = {name: value for name, value in asdict(self).items() if value != defaults[name]}
        text = json.dumps({"renderer": RENDERER, **plan}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def motion(self) -> Float32[np.ndarray, "T P"]:
        """The motion codes of this file."""
        if self.kind == "image":
            return sample_stills(self.seed, 1, self.amplitude, name=f"still-{self.identity}-{self.number}")
        act = sample_exercises if self.acting == "exercises" else sample_performance
        return act(self.seed, self.num_frames, self.fps, self.amplitude, name=self.performance)


def _write(path: Path, fill: Callable[[Path], None]) -> str:
    """Write a file whole or not at all; returns its sha256."""
    part = path.with_name(path.name + ".part")
    fill(part)
    digest = hashlib.sha256(part.read_bytes()).hexdigest()
    part.replace(path)
    return digest


def _encode(path: Path, frames: list[UInt8[np.ndarray, "S S 3"]], fps: float, crf: int) -> None:
    import av

    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        # One thread: the same bytes on every machine with this encoder, whatever its cores.
        stream.options = {"crf": str(crf), "preset": "veryfast", "threads": "1"}
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def _save_jpeg(path: Path, image: UInt8[np.ndarray, "S S 3"]) -> None:
    from PIL import Image

    Image.fromarray(image).save(path, "JPEG", quality=95, subsampling=0)


def truth_arrays(frames: list[PuppetFrame], job: Job) -> dict[str, np.ndarray]:
    """The truth sidecar: arrays over frames and named scalars (docs/puppets.md)."""
    per_frame = ("points", "landmarks", "landmark_visible", "eye_open", "lip_open", "pose_deg", "motion", "head_box")
    arrays = {name: np.stack([getattr(frame, name) for frame in frames]) for name in per_frame}
    arrays["fps"] = np.array(job.fps if job.kind == "video" else 0.0)
    for name in ("identity", "species", "performance"):
        arrays[name] = np.array(getattr(job, name))
    return arrays


def make_file(out: Path, job: Job) -> dict[str, Any]:
    """Render one job below `out` and return its manifest entry. The media file appears last, so it vouches for all."""
    identity = sample_identity(job.species, job.index, job.seed)
    frames = [render(identity, row, job.size_px) for row in job.motion()]
    paths = [out / name for name in job.files]
    paths[0].parent.mkdir(parents=True, exist_ok=True)
    sums = {}
    with_truth = truth_arrays(frames, job)

    def save_npz(path: Path, arrays: dict[str, np.ndarray]) -> str:
        def fill(part: Path) -> None:
            with part.open("wb") as file:
                np.savez_compressed(file, allow_pickle=False, **arrays)

        return _write(path, fill)

    sums[job.files[1]] = save_npz(paths[1], with_truth)
    if job.masks:
        sums[job.files[2]] = save_npz(paths[2], {"labels": np.stack([frame.labels for frame in frames])})
    images = [frame.image for frame in frames]
    if job.kind == "video":
        digest = _write(paths[0], lambda part: _encode(part, images, job.fps, job.crf))
    else:
        digest = _write(paths[0], lambda part: _save_jpeg(part, images[0]))
    return {
        "path": job.media, "kind": job.kind, "species": job.species, "identity": job.identity,
        "performance": job.performance, "frames": len(frames), "sha256": digest, "sidecars": sums,
        "config_hash": job.config_hash,
    }  # fmt: skip


def _render_one(task: tuple[Path, Job]) -> dict[str, Any]:
    return make_file(*task)


def _finished(out: Path, jobs: list[Job]) -> dict[str, dict[str, Any]]:
    """Entries of an earlier manifest or journal whose files are all there and were made by the same plan."""
    entries: dict[str, dict[str, Any]] = {}
    manifest, journal = out / "manifest.json", out / "manifest.journal"
    if manifest.exists():
        try:
            entries |= {entry["path"]: entry for entry in json.loads(manifest.read_text())["files"]}
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(f"{manifest} is not a puppet manifest ({error}); choose another out=") from error
    if journal.exists():
        for line in journal.read_text().splitlines():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue  # the line that was being written when the run was killed
            entries[entry["path"]] = entry
    wanted = {job.media: job for job in jobs}
    return {
        path: entry
        for path, entry in entries.items()
        if path in wanted
        and entry.get("config_hash") == wanted[path].config_hash
        and all((out / name).exists() for name in wanted[path].files)
    }


def _results(plan: PuppetSet, jobs: list[Job]) -> Iterator[dict[str, Any]]:
    tasks = [(plan.out, job) for job in jobs]
    if plan.workers == 1 or len(tasks) <= 1:
        yield from map(_render_one, tasks)
        return
    import multiprocessing

    # Spawned, not forked: the caller may have threads (torch, encoders) that a fork would break.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(plan.workers, len(tasks)), mp_context=context) as pool:
        yield from pool.map(_render_one, tasks)


def code_version() -> str:
    """Version of the package and of the renderer."""
    try:
        version = importlib.metadata.version("pawtrait")
    except importlib.metadata.PackageNotFoundError:
        version = "unknown"
    return f"{version}+renderer{RENDERER}"


def _make(plan: PuppetSet) -> dict[str, Any]:
    plan.out.mkdir(parents=True, exist_ok=True)
    jobs = plan.jobs()
    entries = _finished(plan.out, jobs)
    missing = [job for job in jobs if job.media not in entries]
    with (plan.out / "manifest.journal").open("a") as journal:
        for entry in track(_results(plan, missing), len(missing), "rendering puppets", "files"):
            journal.write(json.dumps(entry) + "\n")
            journal.flush()
            entries[entry["path"]] = entry
    config = {**asdict(plan), "out": str(plan.out), "species": list(plan.species)}
    manifest = {
        "format": 1, "seed": plan.seed, "config": config, "code_version": code_version(),
        "files": [entries[job.media] for job in jobs],
    }  # fmt: skip

    def fill(part: Path) -> None:
        part.write_text(json.dumps(manifest, indent=1))

    _write(plan.out / "manifest.json", fill)
    (plan.out / "manifest.journal").unlink()
    return manifest
