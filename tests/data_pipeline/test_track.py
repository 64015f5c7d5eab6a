from pathlib import Path

import numpy as np
import pytest

from data_pipeline.records import Detection, MediaItem, Shot, Species
from data_pipeline.track import TrackLinker


@pytest.fixture
def shot(tmp_path: Path) -> Shot:
    media = MediaItem(path=tmp_path, kind="video", source_id="0", num_frames=40, fps=25.0, height_px=99, width_px=99)
    return Shot(media=media, start=0, stop=40)


def seen(frame: int, x: float, species: Species = "cat", score: float = 0.9) -> Detection:
    box = np.array([x, 10, x + 40, 50], np.float32)
    points = np.array([[x + 10, 20], [x + 30, 20], [x + 20, 30], [x + 15, 40], [x + 25, 40]], np.float32)
    return Detection(
        frame=frame, species=species, box_xyxy=box, points_xy=points, point_scores=np.ones(5, np.float32), score=score
    )


def test_two_heads_give_two_tracks(shot: Shot) -> None:
    found = [[seen(f, 10 + f / 4), seen(f, 200 - f / 4, "dog")] for f in range(0, 40, 4)]
    tracks = TrackLinker()(shot, found)
    assert sorted(t.species for t in tracks) == ["cat", "dog"]
    assert all(np.array_equal(t.frames, np.arange(40)) for t in tracks)


def test_frames_between_looks_are_interpolated(shot: Shot) -> None:
    (track,) = TrackLinker()(shot, [[seen(f, f)] for f in range(0, 40, 4)])
    assert np.allclose(track.boxes[:37, 0], np.arange(37), atol=1e-4)
    assert np.allclose(track.points[10], seen(10, 10).points_xy, atol=1e-4)


def test_the_species_is_voted_on_by_score(shot: Shot) -> None:
    found = [[seen(0, 0, "dog", 0.3)], [seen(4, 0, "cat", 0.9)], [seen(8, 0, "dog", 0.4)]]
    assert TrackLinker()(shot, found)[0].species == "cat"


def test_a_short_gap_is_bridged_and_a_long_one_is_not(shot: Shot) -> None:
    short = [[seen(f, 0)] for f in (0, 4, 8, 18, 22, 26)]
    assert len(TrackLinker()(shot, short)) == 1
    long = [[seen(f, 0)] for f in (0, 4, 8, 28, 32, 36)]
    assert len(TrackLinker()(shot, long)) == 2


def test_a_single_sighting_in_a_video_is_noise(shot: Shot) -> None:
    assert TrackLinker()(shot, [[seen(4, 0)]]) == []


def test_detections_of_other_shots_are_ignored(shot: Shot) -> None:
    later = Shot(media=shot.media, start=20, stop=40)
    (track,) = TrackLinker()(later, [[seen(f, 0)] for f in range(0, 40, 4)])
    assert (track.frames[0], track.frames[-1]) == (20, 39)


def test_a_lost_head_does_not_disturb_the_others(shot: Shot) -> None:
    found = [[seen(f, 10), seen(f, 200, "dog")] if f < 12 else [seen(f, 10)] for f in range(0, 40, 4)]
    tracks = TrackLinker()(shot, found)
    assert [(t.species, int(t.frames[-1])) for t in tracks] == [("cat", 39), ("dog", 11)]
