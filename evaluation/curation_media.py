"""Nothing, or a folder -> files for measuring curation: a few puppets without their truth, and clips of any length."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from data_pipeline.media import MediaError, exact_fps, probe, read_frames
from data_pipeline.records import SPECIES, Species
from data_pipeline.video_writer import write_video

_KEPT_FRAMES = 100
"""Frames of a clip that are played forwards and backwards: nothing jumps, and they fit into memory."""


def puppet_media(
    folder: Path, seconds: float, size_px: int = 512, species: tuple[Species, ...] = SPECIES, workers: int = 2
) -> Path:
    """Two clips and two stills of one puppet of each species, as files that nobody has annotated.

    Returns:
        The folder with the files, below `folder`.
    """
    from data_pipeline.puppets.make import PuppetSet

    made = folder / "puppets"
    PuppetSet(
        out=made, identities=1, clips=2, stills=2, seconds=seconds, size_px=size_px, species=species, masks=False,
        performances="own", workers=workers,
    )()  # fmt: skip
    media = folder / "media"
    media.mkdir()
    for path in sorted([*made.rglob("*.mp4"), *made.rglob("*.jpg")]):
        # With its truth beside it a puppet would be taken as rendered, and its copies would not be looked for.
        path.rename(media / "-".join(path.relative_to(made).parts))
    return media


def largest_clip(folder: Path) -> Path | None:
    """The video of the most pixels below a folder, the longer one of two alike; None: there is none."""
    best: tuple[tuple[int, int], Path] | None = None
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        try:
            item = probe(path)
        except MediaError:
            continue
        size = (item.height_px * item.width_px, min(item.num_frames, _KEPT_FRAMES))
        if item.kind == "video" and (best is None or size > best[0]):
            best = size, path
    return best[1] if best else None


def lengthened(clip: Path, out: Path, seconds: float, first: int = 0) -> Path:
    """Write the clip's first frames, forwards and backwards in turn, until it lasts that long.

    Args:
        clip: a video.
        out: where to.
        seconds: how long.
        first: where in that movement to begin: another number gives another file.
    """
    frames = list(read_frames(clip, 0, _KEPT_FRAMES))
    fps = exact_fps(clip) or Fraction(25)
    write_video(out, _to_and_fro(frames, round(seconds * float(fps)), first), fps)
    return out


def _to_and_fro(
    frames: list[UInt8[np.ndarray, "H W 3"]], count: int, first: int
) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    period = max(1, 2 * (len(frames) - 1))
    for number in range(first, first + count):
        at = number % period
        yield frames[min(at, period - at)]
