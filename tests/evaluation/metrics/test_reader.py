import pickle

import numpy as np
import pytest
import torch

from data_pipeline.crop import crop_transform, warp_crop
from data_pipeline.puppets.identity import sample_identity
from data_pipeline.puppets.motion import COLUMN, NEUTRAL, sample_stills
from data_pipeline.puppets.render import render
from data_pipeline.records import SPECIES, Species
from evaluation.metrics.following import pearson
from evaluation.metrics.motion import MotionFidelity
from evaluation.metrics.reader import (
    SIDE_PX,
    WEIGHTS,
    FaceReader,
    ReaderNetwork,
    cut_of,
    folded,
    load_reader,
    save_reader,
    to_input,
)
from evaluation.metrics.signals import signals_of
from evaluation.protocols.pairs import PairFrames, Truth

S = 192


@pytest.fixture
def network() -> ReaderNetwork:
    """With statistics as after some training."""
    torch.manual_seed(0)
    network = ReaderNetwork().train()
    for _ in range(3):
        network(torch.rand(8, 3, SIDE_PX, SIDE_PX), torch.arange(8) % len(SPECIES))
    return network.eval()


def performed(
    species: Species, codes: np.ndarray, index: int = 900
) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """Crops of a puppet nobody trained on, its truth, and its landmarks in the crop."""
    frames = [render(sample_identity(species, index, seed=99), code, S) for code in codes]
    square = crop_transform(np.median([f.points for f in frames], axis=0).astype(np.float32), species, S)
    crops = np.stack([warp_crop(frame.image, square, S) for frame in frames])
    names = ("pose_deg", "eye_open", "lip_open")
    truth = {name: np.stack([getattr(frame, name) for frame in frames]) for name in names}
    truth["pose_deg"][:, 2] -= np.degrees(np.arctan2(square[1, 0], square[0, 0]))
    return crops, truth, np.stack([frame.landmarks for frame in frames])


def test_folding_changes_nothing_but_the_layers(network: ReaderNetwork) -> None:
    pictures, species = torch.rand(4, 3, SIDE_PX, SIDE_PX), torch.arange(4)
    with torch.inference_mode():
        for before, after in zip(network(pictures, species), folded(network)(pictures, species), strict=True):
            assert torch.allclose(before, after, atol=1e-3, rtol=1e-3)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in folded(network).modules())
    with pytest.raises(ValueError, match="already folded"):
        folded(folded(network))


def test_it_is_small_and_comes_back_from_its_file(network: ReaderNetwork, tmp_path) -> None:
    assert sum(p.numel() for p in network.parameters()) <= 600_000
    path = tmp_path / "reader.safetensors"
    save_reader(network, path, {"steps": "3"})
    assert path.stat().st_size <= 1.5e6
    frames = np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3), dtype=np.uint8)
    with torch.inference_mode():
        expected = network(to_input(frames), torch.full((3,), SPECIES.index("dog")))
    read = FaceReader(path=path, batch_frames=2, mirror=False)(frames, "dog")
    assert np.allclose(read.yaw_deg, expected.pose_deg[:, 1], atol=0.1)
    assert np.allclose(read.lips, expected.openings[:, 2], atol=5e-3)


def test_a_mirror_image_is_read_as_the_opposite(network: ReaderNetwork, tmp_path) -> None:
    save_reader(network, tmp_path / "r.safetensors", {})
    reader = FaceReader(path=tmp_path / "r.safetensors")
    frames = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    signals, marks = reader.with_landmarks(frames, "cat")
    other, other_marks = reader.with_landmarks(np.ascontiguousarray(frames[:, :, ::-1]), "cat")
    assert np.allclose(other.yaw_deg, -signals.yaw_deg, atol=1e-3)
    assert np.allclose(other.pitch_deg, signals.pitch_deg, atol=1e-3)
    assert np.allclose(other.left_eye, signals.right_eye, atol=1e-4)
    assert np.allclose(other_marks[:, 30, 0], 63 - marks[:, 30, 0], atol=1e-3)
    assert np.allclose(other_marks[:, 45, 0], 63 - marks[:, 36, 0], atol=1e-3)


def test_a_clip_is_read_once_however_many_ask(network: ReaderNetwork, tmp_path) -> None:
    save_reader(network, tmp_path / "r.safetensors", {})
    reader = FaceReader(path=tmp_path / "r.safetensors", mirror=False)
    frames = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    calls = []
    reader._load().register_forward_hook(lambda *_: calls.append(1))
    first, marks = reader.with_landmarks(frames, "cat")
    first.yaw_deg[:], marks[:] = 99, 99  # spoils nobody else's answer
    again = reader(frames.copy(), "cat")
    assert len(calls) == 1
    assert (again.yaw_deg != 99).all()
    reader(frames, "dog")
    reader(frames[::-1], "cat")
    assert len(calls) == 3


def test_species_have_their_own_answers(network: ReaderNetwork, tmp_path) -> None:
    save_reader(network, tmp_path / "r.safetensors", {})
    reader = FaceReader(path=tmp_path / "r.safetensors")
    frames = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    assert len({float(reader(frames, species).yaw_deg[0]) for species in SPECIES}) == len(SPECIES)


def test_a_frame_that_shows_nothing_is_not_read(network: ReaderNetwork, tmp_path) -> None:
    save_reader(network, tmp_path / "r.safetensors", {})
    frames = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    frames[1] = 114
    signals, marks = FaceReader(path=tmp_path / "r.safetensors").with_landmarks(frames, "cat")
    assert all(np.isfinite(values).tolist() == [True, False, True] for values in signals)
    assert np.isnan(marks[1]).all()


def test_it_travels_to_another_process_and_reads_the_same(network: ReaderNetwork, tmp_path) -> None:
    save_reader(network, tmp_path / "r.safetensors", {})
    reader = FaceReader(path=tmp_path / "r.safetensors")
    frames = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    before = reader(frames, "cat")
    packed = pickle.dumps(reader)
    assert len(packed) < 2000
    assert np.array_equal(pickle.loads(packed)(frames, "cat").yaw_deg, before.yaw_deg)


def test_missing_or_foreign_weights_are_one_sentence(tmp_path) -> None:
    from safetensors.torch import save_file

    absent = FaceReader(path=tmp_path / "no.safetensors")
    with pytest.raises(ValueError, match=r"no\.safetensors do not exist; train one with `python -m"):
        absent(np.zeros((1, 64, 64, 3), np.uint8), "cat")
    assert "do not exist" in absent.missing()
    assert "do not exist" in MotionFidelity(reader=absent).missing()["yaw_corr"]
    (tmp_path / "text.safetensors").write_text("not weights")
    with pytest.raises(ValueError, match="is not a face reader"):
        load_reader(tmp_path / "text.safetensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="holds no face-reader"):
        load_reader(tmp_path / "other.safetensors")


def test_the_shipped_reader_reads_puppets_that_nobody_trained_on() -> None:
    assert WEIGHTS.stat().st_size <= 1.5e6
    reader = FaceReader()
    for species in SPECIES:
        crops, truth, _ = performed(species, sample_stills(98, 24, name=species))
        read, true = reader(crops, species), signals_of(truth)
        assert true is not None
        for name, least, most in (
            ("yaw_deg", 0.75, 6.0),
            ("pitch_deg", 0.75, 7.0),
            ("roll_deg", 0.65, 4.0),
            ("right_eye", 0.5, 0.15),
            ("left_eye", 0.5, 0.15),
            ("lips", 0.7, 0.12),
        ):  # fmt: skip
            got, right = getattr(read, name), getattr(true, name)
            assert pearson(right, got) > least, (species, name)
            assert np.abs(got - right).mean() < most, (species, name)


def test_landmarks_lie_on_the_face() -> None:
    codes = np.repeat(NEUTRAL[None], 3, axis=0)
    codes[:, COLUMN["yaw_deg"]] = [-15, 0, 15]
    for species in SPECIES:
        crops, _, _ = performed(species, codes)
        marks = FaceReader().with_landmarks(crops, species)[1]
        assert (np.diff(marks[:, 30, 0]) < 0).all(), "the nose goes to the viewer's left with growing yaw"
        assert (marks[:, 36, 0] < marks[:, 45, 0]).all()
        assert ((marks > cut_of(S)) & (marks < S - cut_of(S))).mean() > 0.95


@pytest.mark.slow
def test_planted_faults_on_puppets_lower_what_is_meant_to_see_them() -> None:
    from data_pipeline.puppets.motion import sample_performance

    codes = sample_performance(5, 40, 10.0, name="faults")
    driving, _, _ = performed("human", codes)
    crops, truth, _ = performed("cat", codes)
    pair = PairFrames(
        source=crops[0], driving=driving, truth=Truth(frames=crops, species="cat"), source_points=None,
        driving_points=None, species="cat", driver_species="human", signals=signals_of(truth),
    )  # fmt: skip
    measure = MotionFidelity(reader=FaceReader())
    right = measure(crops, pair)
    assert right["yaw_corr"] > 0.9
    assert right["lips_corr"] > 0.7
    assert right["nme"] == 0

    def spoilt(share: float, *names: str, mirror: bool = False) -> dict[str, float]:
        other, columns = codes.copy(), [COLUMN[name] for name in names]
        rest = np.zeros_like(other[:, columns]) if mirror else other[:1, columns]
        other[:, columns] += share * (rest - other[:, columns]) * (2 if mirror else 1)
        return measure(performed("cat", other)[0], pair)

    mouth = [right, *(spoilt(share, "jaw", "mouth_right", "mouth_left", "pucker") for share in (0.5, 1.0))]
    assert mouth[0]["lip_error"] < mouth[1]["lip_error"] < mouth[2]["lip_error"]
    assert mouth[2]["lips_corr"] < 0.6 * mouth[0]["lips_corr"]
    assert mouth[2]["yaw_corr"] == pytest.approx(right["yaw_corr"], abs=0.05), "a frozen mouth does not change the turn"
    turned = [right, *(spoilt(share, "yaw_deg", mirror=True) for share in (0.25, 1.0))]
    assert turned[2]["yaw_corr"] < -0.8 < turned[0]["yaw_corr"]
    assert turned[0]["pose_error_deg"] < turned[1]["pose_error_deg"] < turned[2]["pose_error_deg"]
    late = [measure(crops[np.maximum(0, np.arange(len(crops)) - lag)], pair) for lag in (1, 3)]
    assert right["yaw_lag"] == 0
    assert [one["yaw_lag"] for one in late] == [1, 3]
    assert late[1]["yaw_corr"] < late[0]["yaw_corr"] < right["yaw_corr"]
