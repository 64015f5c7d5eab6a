"""Small media whose heads a CSV of boxes knows, so that whole programs can curate them without a network."""

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from data_pipeline.video import write_video

SIDE_PX = 160
OPTIONS = (
    "detector=boxes", "curation.cropper.side_px=64", "writer.max_samples=3", "curation.gate.min_side_px=20",
    "curation.gate.min_resolved_px=0", "curation.gate.min_sharpness=0", "curation.gate.max_text_frac=1",
    "curation.gate.max_people_frac=1",
)  # fmt: skip
"""What lp-curate needs for them."""


def texture(seed: int) -> np.ndarray:
    """A picture like no other one."""
    noise = np.random.default_rng(seed).integers(30, 220, (20, 20, 3), np.uint8)
    return cv2.resize(noise, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC)


def write_boxed_media(root: Path, stills: int = 5, clips: int = 4, frames: int = 24) -> Path:
    """Write photos and clips, one broken file and a copy; returns the CSV of boxes, which lies beside the folder."""
    root.mkdir(parents=True, exist_ok=True)
    for number in range(stills):
        Image.fromarray(texture(number)).save(root / f"still {number}.png")
    for number in range(clips):
        picture = texture(100 + number)
        moved = [np.roll(picture, i // 2, axis=1) for i in range(frames)]
        write_video(root / f"clip {number}.mp4", moved, Fraction(25))
    (root / "copy.png").write_bytes((root / "still 0.png").read_bytes())
    (root / "broken.mp4").write_bytes(b"no film" * 30)
    rows = [f"{i},cat,40,40,120,120" for i in range(8)]
    boxes = root.with_name(f"{root.name}-boxes.csv")
    boxes.write_text("\n".join(["frame,species,x0,y0,x1,y1", *rows]) + "\n")
    return boxes
