"""Pictures are repeatable, and the truth beside them says what they show."""

import numpy as np
import pytest

from data_pipeline.puppets import FLIPPED_LANDMARKS, LANDMARK_NAMES, NEUTRAL, PuppetFrame, render, sample_identity
from data_pipeline.puppets.landmarks import eye_open, five_points, lip_open
from data_pipeline.puppets.motion import COLUMN, sample_performance
from data_pipeline.puppets.render import head_rotation
from data_pipeline.records import FLIPPED_POINTS, SPECIES, Species

SIZE = 96
every_species = pytest.mark.parametrize("species", SPECIES)


def frame(species: Species, index: int = 1, size: int = SIZE, **code: float) -> PuppetFrame:
    motion = NEUTRAL.copy()
    for name, value in code.items():
        motion[COLUMN[name]] = value
    return render(sample_identity(species, index), motion, size)


@every_species
def test_the_same_code_gives_the_same_bytes(species: Species) -> None:
    a, b = (frame(species, yaw_deg=12, jaw=0.5, mouth_left=0.7) for _ in range(2))
    assert a.image.tobytes() == b.image.tobytes()
    assert a.labels.tobytes() == b.labels.tobytes()
    assert a.landmarks.tobytes() == b.landmarks.tobytes()


@every_species
def test_identities_look_different(species: Species) -> None:
    pictures = {frame(species, index, 32).image.tobytes() for index in range(12)}
    assert len(pictures) == 12


@every_species
def test_truth_has_the_promised_shapes(species: Species) -> None:
    shown = frame(species)
    assert shown.image.shape == (SIZE, SIZE, 3)
    assert shown.landmarks.shape == (len(LANDMARK_NAMES), 2) == (70, 2)
    assert set(np.unique(shown.labels)) == {0, 1, 2, 3, 4}


@every_species
def test_landmarks_lie_in_the_frame_and_in_order(species: Species) -> None:
    marks = frame(species).landmarks
    assert (marks > 0).all()
    assert (marks < SIZE - 1).all()
    assert marks[36, 0] < marks[39, 0] < marks[42, 0] < marks[45, 0], "viewer's left eye first"
    assert marks[48, 0] < marks[54, 0]
    assert marks[19, 1] < marks[37, 1] < marks[41, 1] < marks[30, 1] < marks[51, 1] < marks[57, 1] < marks[8, 1]


@every_species
def test_the_five_points_come_from_the_landmarks(species: Species) -> None:
    shown = frame(species, yaw_deg=10, roll_deg=-8)
    assert np.array_equal(shown.points, five_points(shown.landmarks))
    assert np.allclose(shown.points[0], shown.landmarks[[36, 39]].mean(0))
    assert np.array_equal(shown.eye_open, eye_open(shown.landmarks))
    assert shown.lip_open == lip_open(shown.landmarks)


@every_species
def test_masks_cover_eyes_and_mouth(species: Species) -> None:
    shown = frame(species, size=128, jaw=0.6)
    label = [int(shown.labels[round(float(y)), round(float(x))]) for x, y in shown.landmarks[[68, 69]]]
    assert label == [3, 3]
    x, y = shown.landmarks[[62, 66]].mean(0)
    assert shown.labels[round(float(y)), round(float(x))] == 4


@every_species
def test_eye_ratio_falls_with_the_lid(species: Species) -> None:
    ratios = [frame(species, lid_right=lid).eye_open for lid in (1.2, 1.0, 0.7, 0.4, 0.15, 0.0)]
    right = [float(r[0]) for r in ratios]
    assert right == sorted(right, reverse=True)
    assert right[-1] < 0.02
    assert right[1] > 0.3
    assert np.ptp([r[1] for r in ratios]) < 1e-5, "the other eye stays"


@every_species
def test_a_shut_eye_shows_no_eyeball(species: Species) -> None:
    half = SIZE // 2
    shown = frame(species, lid_right=0.0)
    middle = round(float(shown.landmarks[30, 0])) or half
    assert (shown.labels[:, :middle] == 3).sum() == 0
    assert (shown.labels[:, middle:] == 3).sum() > 10


@every_species
def test_lip_ratio_grows_with_the_jaw(species: Species) -> None:
    ratios = [float(frame(species, jaw=jaw).lip_open) for jaw in (0, 0.2, 0.5, 0.8, 1)]
    assert ratios == sorted(ratios)
    assert ratios[0] < 0.02
    assert ratios[-1] > 0.4


@every_species
def test_angles_have_the_signs_of_the_convention(species: Species) -> None:
    still, yaw, pitch, roll = (
        frame(species), frame(species, yaw_deg=20), frame(species, pitch_deg=15), frame(species, roll_deg=15),
    )  # fmt: skip
    eyes = [shown.points[:2].mean(0) for shown in (still, yaw, pitch)]
    nose = [shown.points[2] for shown in (still, yaw, pitch)]
    assert (nose[1] - eyes[1])[0] < (nose[0] - eyes[0])[0] - 1, "positive yaw: nose to the viewer's left"
    assert nose[2][1] > nose[0][1] + 1, "positive pitch: nose down"
    slope = roll.points[1] - roll.points[0]
    assert abs(np.degrees(np.arctan2(slope[1], slope[0])) - 15) < 3, "positive roll: clockwise on the screen"


def test_rotation_is_the_transpose_of_liveportraits() -> None:
    nose = np.array([0.0, 0.0, -1.0])
    assert (nose @ head_rotation(0, 30, 0).T)[0] == pytest.approx(-0.5)
    assert (nose @ head_rotation(30, 0, 0).T)[1] == pytest.approx(0.5)
    assert np.allclose(head_rotation(10, 20, 30) @ head_rotation(10, 20, 30).T, np.eye(3))


@every_species
def test_gaze_moves_the_iris(species: Species) -> None:
    left, right, up = frame(species, gaze_x=-1), frame(species, gaze_x=1), frame(species, gaze_y=-1)
    assert (left.landmarks[68:, 0] < right.landmarks[68:, 0] - 1).all()
    assert (up.landmarks[68:, 1] < right.landmarks[68:, 1]).all()


@every_species
def test_expressions_move_their_landmarks(species: Species) -> None:
    still, smile, frown = frame(species), frame(species, mouth_right=1), frame(species, mouth_right=-1)
    assert smile.landmarks[48, 1] < still.landmarks[48, 1] < frown.landmarks[48, 1]
    assert smile.landmarks[54, 1] == pytest.approx(still.landmarks[54, 1], abs=0.8)
    pucker = frame(species, pucker=1).landmarks
    assert np.ptp(pucker[[48, 54], 0]) < 0.8 * np.ptp(still.landmarks[[48, 54], 0])
    brow = frame(species, brow_left=1).landmarks
    assert brow[22:27, 1].mean() < still.landmarks[22:27, 1].mean() - 0.5


@every_species
def test_flipping_the_code_flips_the_points(species: Species) -> None:
    """Heads are symmetric, and a mirrored performance is a mirrored picture up to the head's place in the frame."""
    a = frame(species, yaw_deg=18, roll_deg=6, lid_right=0.4, mouth_left=0.8, gaze_x=0.5)
    b = frame(species, yaw_deg=-18, roll_deg=-6, lid_left=0.4, mouth_right=0.8, gaze_x=-0.5)
    middle = frame(species).points[:2, 0].mean()
    flipped = b.landmarks[FLIPPED_LANDMARKS] * [-1, 1] + [2 * middle, 0]
    assert np.abs(flipped - a.landmarks)[17:].max() < 1.2
    points = b.points[list(FLIPPED_POINTS)] * [-1, 1] + [2 * middle, 0]
    assert np.abs(points - a.points).max() < 1.0


@every_species
def test_the_head_box_holds_head_and_ears(species: Species) -> None:
    shown = frame(species, size=128)
    x1, y1, x2, y2 = shown.head_box
    rows, columns = np.nonzero(np.isin(shown.labels, (3, 4)))
    assert x1 < columns.min() < columns.max() < x2
    assert y1 < rows.min() < rows.max() < y2
    assert 0.4 < (y2 - y1) / 128 < 0.72


@every_species
def test_points_scale_with_the_picture(species: Species) -> None:
    small, large = frame(species, size=64), frame(species, size=128)
    assert np.allclose((small.landmarks + 0.5) * 2, large.landmarks + 0.5, atol=0.02)


def test_one_code_is_one_performance_for_all() -> None:
    code = sample_performance(4, 12)[-1]
    shown = [render(sample_identity(species, 0), code, 64) for species in SPECIES]
    assert all(np.array_equal(one.motion, shown[0].motion) for one in shown)
    assert all(np.array_equal(one.pose_deg, code[:3]) for one in shown)


def test_wrong_codes_and_sizes_are_refused() -> None:
    someone = sample_identity("cat", 0)
    with pytest.raises(ValueError, match="finite numbers"):
        render(someone, np.zeros(3, np.float32), 64)
    with pytest.raises(ValueError, match="finite numbers"):
        render(someone, NEUTRAL * np.float32(np.nan), 64)
    with pytest.raises(ValueError, match="size_px"):
        render(someone, NEUTRAL, 63)
