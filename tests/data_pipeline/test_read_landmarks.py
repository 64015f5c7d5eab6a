import csv
from pathlib import Path

import numpy as np
import pytest

from data_pipeline.puppets import render, sample_identity
from data_pipeline.puppets.motion import sample_performance
from data_pipeline.read_landmarks import LandmarkFileError, listed, main, seventy, truth_of, write
from data_pipeline.truth import read_truth


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    """The 70 landmarks of a puppet with open lips."""
    motion = sample_performance(seed=1, num_frames=20, fps=25.0)
    return np.stack([render(sample_identity("human", 1, seed=0), m, size_px=128).landmarks for m in motion[::5]])


def mesh(landmarks: np.ndarray) -> np.ndarray:
    """As the face mesh gives them: 68, then each iris' centre and four points around it."""
    rings = [np.repeat(landmarks[:, [68 + side]], 5, axis=1) for side in (0, 1)]
    return np.concatenate([landmarks[:, :68], *rings], axis=1)


def put(folder: Path, **clips: np.ndarray) -> tuple[Path, Path]:
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ("path", "species", "identity", "ship"))
        writer.writeheader()
        for name in clips:
            (folder / f"{name}.mp4").write_bytes(name.encode())
            writer.writerow({"path": f"{name}.mp4", "species": "human", "identity": f"who-{name}", "ship": "1"})
    np.savez(folder / "landmarks.npz", **clips)
    return folder / "manifest.csv", folder / "landmarks.npz"


def test_a_still_face_keeps_its_landmarks_and_openings(face: np.ndarray) -> None:
    still = np.repeat(face[:1], 6, axis=0)
    found = truth_of(mesh(still))
    assert found is not None
    np.testing.assert_allclose(found["landmarks"], still, atol=1e-3)
    assert found["eye_open"].shape == (6, 2)
    assert found["lip_open"].shape == (6,)
    assert "pose_deg" not in found


def test_without_irises_gaze_is_straight(face: np.ndarray) -> None:
    plain = seventy(face[:, :68].astype(np.float64))
    np.testing.assert_allclose(plain[:, 68], face[:, [36, 39]].mean(axis=1), atol=1e-3)


def test_short_gaps_are_bridged_and_marked_and_long_ones_refused(face: np.ndarray) -> None:
    moving = np.repeat(face[:1], 100, axis=0) + np.arange(100)[:, None, None] * 0.1
    gap = mesh(moving)
    gap[50] = np.nan
    found = truth_of(gap)
    assert found is not None
    np.testing.assert_allclose(found["landmarks"][50], moving[50], atol=0.02)
    assert not found["landmark_visible"][50].any()
    assert found["landmark_visible"][49].all()
    gap[40:60] = np.nan
    assert truth_of(gap) is None
    assert truth_of(np.full_like(gap, np.nan)) is None


def test_files_are_what_curation_reads(tmp_path: Path, face: np.ndarray) -> None:
    manifest, landmarks = put(tmp_path, a=mesh(face), gone=np.full((4, 78, 2), np.nan))
    made, left = write(listed(manifest, {"ship": "1"}), landmarks, tmp_path / "out")
    assert made == 1
    assert left == ["gone.mp4: too many frames without a face"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.mp4", "a.truth.npz"]
    truth = read_truth(tmp_path / "out" / "a.truth.npz")
    assert (truth.species, truth.identity, truth.performance) == ("human", "who-a", "")
    assert set(truth.arrays) == {"points", "landmarks", "landmark_visible", "eye_open", "lip_open"}


def test_rows_are_chosen_by_their_columns(tmp_path: Path, face: np.ndarray) -> None:
    manifest, _ = put(tmp_path, a=mesh(face))
    assert listed(manifest, {"ship": "0"}) == []
    with pytest.raises(LandmarkFileError, match="no column 'licence'"):
        listed(manifest, {"licence": "CC0"})
    with pytest.raises(LandmarkFileError, match="does not exist"):
        listed(tmp_path / "none.csv", {})


def test_unusable_landmark_files_are_named(tmp_path: Path, face: np.ndarray) -> None:
    manifest, landmarks = put(tmp_path, a=np.zeros((4, 5, 2)))
    with pytest.raises(LandmarkFileError, match=r"a is \(4, 5, 2\)"):
        write(listed(manifest, {}), landmarks, tmp_path / "out")
    landmarks.write_bytes(b"no archive")
    with pytest.raises(LandmarkFileError, match="cannot be read"):
        write(listed(manifest, {}), landmarks, tmp_path / "out")


def test_the_command_says_what_it_made(tmp_path: Path, face: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    manifest, landmarks = put(tmp_path, a=mesh(face))
    main([f"manifest={manifest}", f"landmarks={landmarks}", f"out={tmp_path / 'out'}", "ship=1"])
    assert "1 clips with their landmarks" in capsys.readouterr().out
    with pytest.raises(LandmarkFileError, match="option out is required"):
        main([f"manifest={manifest}", f"landmarks={landmarks}"])
