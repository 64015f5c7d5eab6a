"""Photos shown as clips, and real clips: how still the crop of a still head is; `-s` prints docs/crops.md's tables."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pytest

from data_pipeline.crop import Cropper, invert, move_points, points_in_crop
from data_pipeline.detect import OnnxHeadDetector
from data_pipeline.media import read_frames
from data_pipeline.records import Detection, MediaItem, Shot, Track
from data_pipeline.track import TrackLinker

EVERY, COUNT = 4, 48
PHOTOS = (
    "cat_closeup_cropped_chelsea.png",
    "cat_halfblack_oc.jpg",
    "cat_orange_lowkey_db.jpg",
    "dog_basset_grey_bg_aipnd.jpg",
    "dog_collie_letterbox_db.jpg",
    "dog_dachshund_db.jpg",
    "dog_welsh_springer_dogp.jpg",
    "panda_eating_p21.jpg",
)
CLIPS = (
    "animal/video/dog_dachshund_puppy_oc.mp4",
    "human/video/driver_dark_d20.mp4",
    "human/video/driver_child_d11.mp4",
    "human/video/driver_open_mouth_d18.mp4",
    "human/video/source_landscape_720p_s18.mp4",
)


def still_clip(path: Path) -> list[np.ndarray]:
    """A photo of 480 pixels with grain and another JPEG quality in every frame, as far as they are looked at."""
    rng = np.random.default_rng(0)
    photo = next(read_frames(path))
    scale = 480 / max(photo.shape[:2])
    photo = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    frames = []
    for _ in range(0, COUNT, EVERY):
        noisy = np.clip(photo + rng.normal(0, 3, photo.shape), 0, 255).astype(np.uint8)
        coded = cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(60, 90))])[1]
        frames.append(cv2.imdecode(coded, cv2.IMREAD_COLOR))
    return frames


def followed(found: list[list[Detection]], step: int, count: int, smooth_s: float) -> Track:
    item = MediaItem(path=Path("x"), kind="video", source_id="0", num_frames=count, fps=25.0, height_px=9, width_px=9)
    numbered = [[replace(d, frame=i * step) for d in heads] for i, heads in enumerate(found)]
    return TrackLinker(smooth_s=smooth_s)(Shot(media=item, start=0, stop=count), numbered)[0]


def jitter_frac(track: Track, mode: Literal["fixed", "follow"]) -> tuple[float, float]:
    """Standard deviation of the head box's middle and of the five points in the crop, in crop sides."""
    (plan,) = Cropper(mode=mode)(track)
    middles = (track.boxes[:, :2] + track.boxes[:, 2:]) / 2
    inside = [move_points(invert(t), m) for t, m in zip(plan.source_from_crop, middles, strict=True)]
    box = np.sqrt(np.stack(inside).var(axis=0).sum()) / plan.side_px
    points = np.sqrt(points_in_crop(plan).var(axis=0).sum(axis=-1).mean()) / plan.side_px
    return float(box), float(points)


def test_the_crop_of_a_still_head_moves_by_less_than_half_a_percent(shared_data: Path) -> None:
    detector = OnnxHeadDetector()
    rows: dict[str, list[tuple[float, float]]] = {"fixed, raw": [], "fixed": [], "follow": []}
    for name in PHOTOS:
        found = detector(still_clip(shared_data / "media/animal/photo" / name))
        raw, calm = (followed(found, EVERY, COUNT, smooth_s) for smooth_s in (0.0, 0.8))
        rows["fixed, raw"].append(jitter_frac(raw, "fixed"))
        rows["fixed"].append(jitter_frac(calm, "fixed"))
        rows["follow"].append(jitter_frac(calm, "follow"))
    for name, values in rows.items():
        median, most = 100 * np.median(values, axis=0), 100 * np.max(values, axis=0)
        print(f"{name}: box {median[0]:.2f} (most {most[0]:.2f}) %, points {median[1]:.2f} (most {most[1]:.2f}) %")
    assert np.max(rows["fixed"]) <= 0.005
    assert np.max(rows["follow"]) <= 0.005
    assert np.mean(rows["fixed"]) < np.mean(rows["fixed, raw"])


@pytest.mark.slow
def test_positions_between_looks_are_as_good_as_looking_everywhere(shared_data: Path) -> None:
    detector, errors = OnnxHeadDetector(flip=True), []
    for name in CLIPS:
        frames = list(read_frames(shared_data / "media" / name, 0, 60))
        found = [heads for frame in frames for heads in detector([frame])]
        best = [max(heads, key=lambda d: d.score) for heads in found if heads]
        assert len(best) == len(frames)
        middles = np.stack([(d.box_xyxy[:2] + d.box_xyxy[2:]) / 2 for d in best])
        side = float(np.median([np.max(d.box_xyxy[2:] - d.box_xyxy[:2]) for d in best]))
        # Of the detector's own scatter a frame cannot be better than its neighbours tell.
        scatter = np.sqrt((np.diff(middles, 2, axis=0) ** 2).sum(axis=1).mean() / 6) / side
        per_step = []
        for step in (2, 4, 8):
            track = followed([[d] for d in best[::step]], step, len(frames), 0.8)
            between = [i for i in range(len(frames)) if i % step and i < (len(frames) - 1) // step * step]
            own = ((track.boxes[:, :2] + track.boxes[:, 2:]) / 2)[between]
            per_step.append(float(np.sqrt(((own - middles[between]) ** 2).sum(axis=1).mean()) / side))
        errors.append(per_step)
        print(f"{name}: scatter {100 * scatter:.2f} %, every 2nd, 4th, 8th: {[round(100 * e, 2) for e in per_step]} %")
    assert np.median(errors, axis=0)[1] < 0.01
