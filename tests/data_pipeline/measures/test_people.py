from pathlib import Path

import numpy as np
import pytest

from data_pipeline.measures.people import people_frac
from data_pipeline.records import CropPlan, Detection, MediaItem, Shot, Track


def plan(species: str = "cat") -> CropPlan:
    media = MediaItem(path=Path("x"), kind="video", source_id="0", num_frames=4, fps=25.0, height_px=200, width_px=200)
    track = Track(
        shot=Shot(media=media, start=0, stop=4),
        species=species,  # type: ignore[arg-type]
        frames=np.arange(4),
        boxes=np.tile(np.float32([20, 20, 60, 60]), (4, 1)),
        points=np.zeros((4, 5, 2), np.float32),
        scores=np.ones(4, np.float32),
    )
    return CropPlan(track=track, source_from_crop=np.tile(np.float32([[1, 0, 0], [0, 1, 0]]), (4, 1, 1)), side_px=100)


def head(box: list[float], frame: int = 1, species: str = "human", score: float = 0.9) -> Detection:
    return Detection(
        frame=frame,
        species=species,  # type: ignore[arg-type]
        box_xyxy=np.float32(box),
        points_xy=np.zeros((5, 2), np.float32),
        point_scores=np.ones(5, np.float32),
        score=score,
    )


def test_the_largest_share_under_a_human_head_counts() -> None:
    assert people_frac(plan(), [[head([60, 0, 120, 50])], [head([90, 90, 150, 150], frame=2)]]) == pytest.approx(0.2)
    assert people_frac(plan(), [[head([150, 150, 190, 190])]]) == 0


@pytest.mark.parametrize(
    "other",
    [
        head([60, 0, 120, 50], species="dog"),
        head([60, 0, 120, 50], score=0.3),
        head([60, 0, 120, 50], frame=9),
        head([22, 20, 60, 62]),
    ],
    ids=["no human", "unsure", "another piece", "the animal's own head"],
)
def test_what_does_not_count(other: Detection) -> None:
    assert people_frac(plan(), [[other]]) == 0


def test_people_may_be_in_people_s_crops() -> None:
    assert people_frac(plan("human"), [[head([60, 0, 120, 50])]]) == 0
