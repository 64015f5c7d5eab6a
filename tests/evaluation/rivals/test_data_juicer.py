"""The comparison's options, scores and table."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from data_pipeline.dedup import Fingerprint
from data_pipeline.planted import Planted, measure
from data_pipeline.planted_cuts import CutVideo
from data_pipeline.shots import ShotSplitter
from data_pipeline.video_writer import write_video
from evaluation.rivals.cut_scores import cuts_of_clips, our_cuts, score
from evaluation.rivals.data_juicer import options_of, table
from evaluation.rivals.planted_files import GivenPairs, fingerprints, pairs_of, write_copies

VIDEO = CutVideo(
    path=Path("a.mp4"), num_frames=100, cuts={20: "dark", 60: "short shot", 80: "dark"}, dissolves=((30, 40),),
    others=(),
)  # fmt: skip


def test_cuts_are_found_within_a_frame_and_once() -> None:
    found = score([VIDEO], {VIDEO.path: [21, 35, 60, 61, 82]})
    assert found.recall == pytest.approx(2 / 3)
    assert found.recall_of == {"dark": 0.5, "short shot": 1.0}
    assert found.wrong == 2  # 61 is no second find of 60, 82 is too late, 35 lies in a dissolve
    assert found.precision == 0.5
    assert found.f1 == pytest.approx(2 * 0.5 * (2 / 3) / (0.5 + 2 / 3))
    nothing = score([VIDEO], {VIDEO.path: []})
    assert (nothing.recall, nothing.precision, nothing.f1) == (0, 1, 0)


def test_clips_one_after_the_other_tell_where_the_cuts_were() -> None:
    assert cuts_of_clips([45, 85, 23, 84]) == [45, 130, 153]
    assert cuts_of_clips([237]) == []


def test_our_cuts_are_those_of_curation(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    one, other = (rng.integers(0, 255, (8, 8, 3)).astype(np.uint8).repeat(16, 0).repeat(16, 1) for _ in range(2))
    write_video(tmp_path / "two.mp4", [one] * 30 + [other] * 30, Fraction(25))
    assert our_cuts(tmp_path / "two.mp4", ShotSplitter()) == [30]


def test_files_of_one_hash_are_pairs() -> None:
    hashes = {Path("x/a"): "1", Path("x/b"): "2", Path("x/c"): "1", Path("x/d"): "", Path("x/e"): "", Path("f"): "1"}
    assert pairs_of(hashes) == {("a", "c"), ("a", "f"), ("c", "f")}


def planted(key: str, origin: str, variant: str, fill: int) -> Planted:
    thumb = np.full((1, 64, 64), fill, np.uint8)
    mark = Fingerprint(key=key, source_id=key, thumbs=thumb, rank=1.0)
    return Planted(fingerprint=mark, origin=origin, variant=variant)


def test_the_pairs_of_others_are_scored_like_ours() -> None:
    some = [planted("a", "A", "original", 0), planted("b", "A", "cropped", 0), planted("c", "B", "original", 200),
            planted("d", "B", "cropped", 200)]  # fmt: skip
    found = measure(some, GivenPairs(pairs=frozenset({("a", "b"), ("b", "c"), ("c", "z")})), clips=False)
    assert found.recall_of == {"cropped": 0.5}
    assert found.precision == 0.5
    assert found.wrong == [("b", "c")]


@pytest.mark.slow
def test_planted_copies_are_files_that_show_what_was_planted(tmp_path: Path) -> None:
    files = write_copies(tmp_path / "copies", puppets=1, media=None, every=8)
    assert {file.variant for file in files} >= {"original", "mirrored", "re-encoded"}
    assert {file.path.suffix for file in files} == {".png", ".mp4"}
    stills = [file for file in files if not file.is_clip]
    prints = fingerprints(stills)
    by_variant = {p.variant: p.fingerprint.thumbs[0].astype(int) for p in prints if p.origin == stills[0].origin}
    assert np.abs(by_variant["original"] - by_variant["mirrored"][:, ::-1]).mean() < 1
    assert np.abs(by_variant["original"] - by_variant["mirrored"]).mean() > 3


def test_options_are_words_with_a_value(tmp_path: Path) -> None:
    options = options_of(["python=/x/python", f"media={tmp_path}", "parts=[cuts,copies]", "videos=4"])
    assert (options.parts, options.videos, options.media) == (("cuts", "copies"), 4, tmp_path)
    with pytest.raises(ValueError, match="speed is no option; choose from python, media"):
        options_of(["python=x", "media=y", "speed=3"])
    with pytest.raises(ValueError, match="parts=cuts,cost: cost is none of time, cuts, copies"):
        options_of(["python=x", "media=y", "parts=cuts,cost"])
    with pytest.raises(ValueError, match="videos=many is not a number"):
        options_of(["python=x", "media=y", "videos=many"])
    with pytest.raises(ValueError, match="pip install py-data-juicer"):
        options_of(["media=y"])


def test_the_table_has_a_row_for_each_number() -> None:
    runs = {name: [{"seconds": s, "cpu_s": 1.0} for s in (4.0, 2.0, 9.0)] for name in ("pawtrait", "data-juicer")}
    start = {"pawtrait": 1.0, "data-juicer": 5.0}
    time = {"images": 2, "videos": 3, "runs": runs, "start_up_s": start}
    side = {"recall": 0.5, "precision": 1.0, "f1": 2 / 3, "recall_of": {"dark": 0.25}}
    cuts = {"videos": 7, "pawtrait": side, "data-juicer": side}
    copies = {"images": {"pawtrait": side, "data-juicer": side}}
    lines = table({"time": time, "cuts": cuts, "copies": copies}, workers=2).splitlines()
    assert "| 2 photos, 3 videos, s (median) | 4.0 | 4.0 |" in lines
    assert "| one small photo, one process, s | 1.0 | 5.0 |" in lines
    assert "| planted cuts in 7 videos: f1 | 0.667 | 0.667 |" in lines
    assert "|   recall: dark | 0.250 | 0.250 |" in lines
    assert "| planted copies, images: recall | 0.500 | 0.500 |" in lines
