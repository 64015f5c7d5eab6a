from fractions import Fraction

import numpy as np
import pytest

from data_pipeline.video import write_video
from evaluation.methods import External, Method
from evaluation.protocols import PairFrames, file_name

SIDE = 64


@pytest.fixture
def pair(moves) -> PairFrames:
    frames = moves(5)
    return PairFrames(
        source=frames[0], driving=frames, truth=None, source_points=None, driving_points=None, pair_id="a/b", fps=25.0
    )


def predict(folder, pair, frames=None, fps=25):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{file_name(pair.pair_id)}.mp4"
    write_video(path, pair.driving if frames is None else frames, Fraction(fps), crf=4)
    return path


def test_predictions_are_read_as_frames(pair, tmp_path) -> None:
    predict(tmp_path / "mine", pair)
    (method,) = External.all_in(tmp_path)
    assert isinstance(method, Method)
    assert (method.name, method.about["kind"], method.about["files"]) == ("mine", "external", 1)
    assert np.abs(method(pair).astype(int) - pair.driving).mean() < 6


def test_each_folder_is_a_method_but_those_of_the_pairs(pair, tmp_path) -> None:
    for name in ("b", "a", "pairs", "truth"):
        predict(tmp_path / name, pair)
    (tmp_path / "empty").mkdir()
    assert [method.name for method in External.all_in(tmp_path)] == ["a", "b"]
    assert [method.name for method in External.all_in(tmp_path / "a")] == ["a"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": slice(0, 4)}, "has only 4 frames, the driver has 5"),
        ({"frames": [0, 1, 2, 3, 4, 4]}, "has more frames, the driver has 5"),
        ({"fps": 30}, "plays at 30 frames a second, the driver at 25"),
        ({"width": 32}, "is 32x64 px, the pair 64x64"),
        ({"zoom": 2}, "methods.external_resize=true"),
        ({"missing": True}, "is missing"),
        ({"broken": True}, r"a-b-\w+.mp4"),
    ],
)
def test_what_does_not_fit_is_one_sentence_that_names_the_file(pair, tmp_path, change, message) -> None:
    frames = pair.driving[change.get("frames", slice(None))]
    frames = np.ascontiguousarray(frames[:, :, : change.get("width", SIDE)])
    if "zoom" in change:
        frames = frames.repeat(2, axis=1).repeat(2, axis=2)
    path = predict(tmp_path / "mine", pair, frames, change.get("fps", 25))
    if "missing" in change:
        path.unlink()
    if "broken" in change:
        path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=message) as error:
        External(tmp_path / "mine")(pair)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_squares_of_another_size_are_scaled_on_demand(pair, tmp_path) -> None:
    predict(tmp_path / "mine", pair, pair.driving.repeat(2, axis=1).repeat(2, axis=2))
    made = External(tmp_path / "mine", resize=True)(pair)
    assert made.shape == pair.driving.shape


def test_folders_without_predictions_are_refused(tmp_path) -> None:
    with pytest.raises(ValueError, match="holds no prediction"):
        External.all_in(tmp_path)
    with pytest.raises(ValueError, match="is not a folder"):
        External.all_in(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="is not a folder"):
        External(tmp_path / "nowhere")
