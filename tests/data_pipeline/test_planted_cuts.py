from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from data_pipeline.cut_lookalikes import LOOK_ALIKES
from data_pipeline.media import read_frames, read_timing
from data_pipeline.planted_cuts import CutVideo, Score, main, make, ours, table, takes
from data_pipeline.video import write_video


def scene(seed: int, count: int = 60) -> list[np.ndarray]:
    """A textured picture that drifts."""
    rng = np.random.default_rng(seed)
    wide = cv2.resize(rng.integers(0, 255, (9, 14, 3), np.uint8), (200, 120), interpolation=cv2.INTER_CUBIC)
    return [wide[:, i // 3 : 160 + i // 3] for i in range(count)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten sources of two takes each, one of which has a cut, and its manifest."""
    folder = tmp_path_factory.mktemp("takes")
    rows = ["path,source_repo,source_path,cuts"]
    for number in range(20):
        name = f"s{number // 2}_{number % 2}.mp4"
        write_video(folder / name, scene(number), Fraction(25))
        rows.append(f"{name},someone/clips@0123abcdef,s{number // 2}.mp4,{1 if number == 0 else 0}")
    (folder / "manifest.csv").write_text("\n".join(rows))
    return folder


def test_halves_share_no_source_and_cut_takes_are_left_out(folder: Path) -> None:
    tune, test = (takes([folder], half, skip=["s3_1"]) for half in ("tune", "test"))
    assert not {take.source for take in tune} & {take.source for take in test}
    names = {take.path.name for take in tune + test}
    assert len(names) == 18
    assert not names & {"s0_0.mp4", "s3_1.mp4"}


def test_too_few_takes_are_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="too few takes"):
        takes([tmp_path], "test")


def test_videos_are_what_is_said_of_them(folder: Path, tmp_path: Path) -> None:
    stock = takes([folder], "tune")
    videos = list(make(stock, tmp_path, 3, seed=4))
    assert {read_timing(video.path).is_variable for video in videos} == {True, False}
    for video in videos:
        frames = np.stack([cv2.resize(frame, (48, 48)) for frame in read_frames(video.path)]).astype(float)
        assert len(frames) == video.num_frames
        assert len(video.cuts) + len(video.dissolves) == 5
        change = np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2, 3))
        for cut, kind in video.cuts.items():
            if kind not in ("dark", "low contrast", "one scene, later"):
                assert change[cut - 1] > 3 * np.median(change), (cut, kind)


def test_the_same_seed_makes_the_same_videos(folder: Path, tmp_path: Path) -> None:
    stock = takes([folder], "test")
    made = []
    for name in "ab":
        (tmp_path / name).mkdir()
        made.append(next(make(stock, tmp_path / name, 1, seed=5)))
    assert made[0].cuts == made[1].cuts
    assert made[0].path.read_bytes() == made[1].path.read_bytes()


@pytest.mark.parametrize("name", LOOK_ALIKES)
def test_look_alikes_change_the_picture_but_not_its_shape(name: str) -> None:
    frames = np.stack(scene(1, 40))
    changed = LOOK_ALIKES[name](frames, np.random.default_rng(0))
    assert changed.shape == frames.shape
    assert changed.dtype == np.uint8
    assert not np.array_equal(changed, frames)
    assert ours_of(changed) == []


def ours_of(frames: np.ndarray) -> list[int]:
    from data_pipeline.shots import ShotSplitter, thumbnail

    return ShotSplitter().cuts(np.stack([thumbnail(frame) for frame in frames]))


def test_scores_count_by_hand(tmp_path: Path) -> None:
    video = CutVideo(
        path=tmp_path,
        num_frames=100,
        cuts={20: "dark", 50: "short shot", 90: "dark"},
        dissolves=((60, 70),),
        others=((20, 50, "zoom"),),
    )
    score = Score()
    score.add(video, [20, 30, 51, 62, 66], seconds=1.0)
    assert (score.right, score.wrong, score.dissolves) == ([1, 2], [3, 2], 1)
    assert score.hits == {"dark": 1}
    assert score.false == {"zoom": 1, "a plain shot": 2}  # 51 is not exact, and one cut in a dissolve is enough
    assert score.rates(1) == pytest.approx((0.5, 2 / 3, 4 / 7))
    assert "| F1, exact | 0.286 |" in table({"it": score}, 1)


def test_the_program_prints_a_table(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([f"media={folder}", "videos=1", "half=tune", "seed=3", f"out={tmp_path}"])
    shown = capsys.readouterr().out
    assert "| F1, exact |" in shown
    assert len(list(tmp_path.glob("*.mp4"))) == 1


@pytest.mark.parametrize(
    ("arguments", "said"), [(["speed=9"], "speed"), ([], "media=FOLDER"), (["media=.", "half=all"], "half")]
)
def test_wrong_options_are_told(arguments: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        main(arguments)


@pytest.mark.slow
def test_real_clips_are_cut_exactly(shared_data: Path, tmp_path: Path) -> None:
    """A small held-out set; docs/shots.md has the measured table."""
    stock = takes([shared_data / "corpus/animal"], "test")
    score = Score()
    for video in make(stock, tmp_path, 5, seed=11):
        score.add(video, ours(video), 0.0)
    precision, recall, f1 = score.rates()
    assert f1 >= 0.85, (precision, recall, score)
