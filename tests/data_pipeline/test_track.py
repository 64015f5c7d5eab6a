from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipeline.records import Detection, MediaItem, Shot, Species
from data_pipeline.track import TrackLinker


@pytest.fixture
def shot(tmp_path: Path) -> Shot:
    media = MediaItem(path=tmp_path, kind="video", source_id="0", num_frames=40, fps=25.0, height_px=99, width_px=99)
    return Shot(media=media, start=0, stop=40)


def seen(
    frame: int, x: float, species: Species = "cat", score: float = 0.9, y: float = 10.0, side: float = 40.0
) -> Detection:
    corner, zoom = np.array([x, y], np.float32), side / 40
    box = np.concatenate([corner, corner + side]).astype(np.float32)
    points = np.array([[10, 10], [30, 10], [20, 20], [15, 30], [25, 30]], np.float32) * np.float32(zoom) + corner
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


def long_shot(count: int) -> Shot:
    media = MediaItem(
        path=Path("x"), kind="video", source_id="0", num_frames=count, fps=25.0, height_px=200, width_px=600
    )
    return Shot(media=media, start=0, stop=count)


@settings(deadline=None, max_examples=60)
@given(
    speed=st.floats(1.0, 4.0),
    ratio=st.floats(0.6, 1.6),
    apart=st.floats(-12, 12),
    hidden=st.integers(0, 3),
    noise=st.integers(0, 99),
)
def test_heads_that_cross_keep_their_tracks(speed: float, ratio: float, apart: float, hidden: int, noise: int) -> None:
    """Two heads of one size and species pass each other; where they meet only the one in front is seen."""
    rng = np.random.default_rng(noise)
    count, found = 121, []
    for frame in range(0, count, 4):
        since = frame - 60
        left = seen(frame, 300 + since * speed + rng.normal(0, 0.3), y=80 + rng.normal(0, 0.3))
        right = seen(frame, 300 - since * speed * ratio + rng.normal(0, 0.3), y=80 + apart + rng.normal(0, 0.3))
        found.append([left] if abs(since) < 4 * hidden else [right, left])
    heads = TrackLinker().heads(long_shot(count), found)
    assert len(heads) == 2
    for head in heads:
        steps = np.diff(np.concatenate([part.boxes[:, 0] for part in head.parts])[8:-8])
        moving = steps[np.abs(steps) > 0.2]
        assert (moving > 0).mean() > 0.9 or (moving < 0).mean() > 0.9, "a track that turns round has swapped heads"


@settings(deadline=None, max_examples=40)
@given(away=st.integers(16, 24), moved=st.floats(-20, 20), size=st.floats(35, 48))
def test_a_head_found_again_within_a_second_is_the_same_animal(away: int, moved: float, size: float) -> None:
    before = [[seen(f, 50)] for f in range(0, 20, 4)]
    after = [[seen(f, 50 + moved, side=size)] for f in range(16 + away, 60 + away, 4)]
    (head,) = TrackLinker().heads(long_shot(90), before + after)
    first, second = head.parts
    assert int(first.frames[-1]) <= 19
    assert int(second.frames[0]) >= 13 + away, "frames in which nobody saw the head are in no track"


@pytest.mark.parametrize(
    "again",
    [{"x": 150.0}, {"x": 50.0, "side": 90.0}, {"x": 50.0, "species": "human"}],
    ids=["elsewhere", "larger", "another species"],
)
def test_another_head_after_a_gap_is_another_animal(again: dict) -> None:
    found = [[seen(f, 50)] for f in range(0, 20, 4)] + [[seen(f, **again)] for f in range(36, 60, 4)]
    assert len(TrackLinker().heads(long_shot(60), found)) == 2


def test_a_gap_of_more_than_the_given_time_is_not_bridged() -> None:
    found = [[seen(f, 50)] for f in range(0, 20, 4)] + [[seen(f, 50)] for f in range(48, 72, 4)]
    assert len(TrackLinker().heads(long_shot(72), found)) == 2
    assert len(TrackLinker(max_lost_s=2.0).heads(long_shot(72), found)) == 1


def test_two_species_side_by_side_are_not_mixed_up_when_one_is_missed() -> None:
    found = [[seen(f, 50), seen(f, 85, "dog")] for f in range(0, 40, 4)]
    found[5] = [seen(20, 66, "dog")]
    tracks = TrackLinker()(long_shot(40), found)
    assert sorted(t.species for t in tracks) == ["cat", "dog"]
    dog = next(t for t in tracks if t.species == "dog")
    assert abs(float(dog.boxes[20, 0]) - 66) < 25


def test_the_points_of_a_still_head_are_calmed_and_a_jump_is_not_blurred() -> None:
    rng = np.random.default_rng(0)
    still = [[seen(f, 50 + rng.normal(0, 0.12), y=10 + rng.normal(0, 0.12))] for f in range(0, 120, 4)]
    raw, calm = (TrackLinker(smooth_s=s)(long_shot(120), still)[0].points.mean(axis=1) for s in (0.0, 0.8))
    assert calm[:, 0].std() < 0.85 * raw[:, 0].std()
    jump = [[seen(f, 50.0 if f < 60 else 60.0)] for f in range(0, 120, 4)]
    (track,) = TrackLinker()(long_shot(120), jump)
    assert abs(float(track.boxes[56, 0]) - 50) < 0.2
    assert abs(float(track.boxes[60, 0]) - 60) < 0.2


def test_positions_go_by_time_where_the_rate_varies() -> None:
    times = np.cumsum([0.0, *([0.01, 0.07] * 20)])
    found = [[seen(f, 100 * times[f])] for f in range(0, 40, 4)]
    (head,) = TrackLinker(smooth_s=0.0).heads(long_shot(40), found, times)
    assert np.allclose(head.parts[0].boxes[:37, 0], 100 * times[:37], atol=0.01)


def test_frames_beyond_a_look_that_missed_the_head_are_not_in_the_track() -> None:
    found = [[seen(f, 50)] if f in (16, 24, 32) else [] for f in range(0, 60, 4)]
    (head,) = TrackLinker().heads(long_shot(60), found, looked=range(0, 60, 4))
    frames = head.parts[0].frames
    assert (int(frames[0]), int(frames[-1])) == (13, 35)
