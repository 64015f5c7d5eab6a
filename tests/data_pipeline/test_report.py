import json
import re
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_pipeline.candidates import Candidate, candidate, read_candidates, write_candidates
from data_pipeline.curate import Summary
from data_pipeline.photo import write_photo
from data_pipeline.quality import QualityGate
from data_pipeline.records import Drop, Quality
from data_pipeline.report import write_report
from data_pipeline.report_numbers import Tile, file_of, funnel, gather
from data_pipeline.report_pictures import of_candidate, of_place, of_sample
from data_pipeline.report_scores import SCORES, thresholds
from data_pipeline.shards import read_manifest, shard_paths
from data_pipeline.video import read_frames, write_video
from tests.data_pipeline.shard_folder import QUALITY, sample, write

GATE = QualityGate()


def kept(number: int, place: str, **fields) -> Candidate:
    return candidate(sample(number), place, False) if not fields else replace(kept(number, place), **fields)


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """Five photos of one colour each, with a bright square in the middle; 9.jpg is not there."""
    folder = tmp_path / "media"
    for number in range(5):
        image = np.full((80, 100, 3), 40 * number, np.uint8)
        image[30:50, 40:60] = 255
        write_photo(folder / f"{number}.jpg", image)
    return folder


@pytest.fixture
def made(media: Path, tmp_path: Path) -> tuple[Path, Summary]:
    """Three samples; dropped: two crops, a near-duplicate, a file and a shot."""
    out = tmp_path / "out"
    manifest = write(out, [sample(0), sample(1, 3), sample(2, split="val", species="cat")])
    dark = replace(kept(5, f"{media}/3.jpg#frame0"), reasons=("too dark", "too blurred"))
    square = (1.0, 0.0, 40.0, 0.0, 1.0, 30.0)
    blurred = replace(kept(6, f"{media}/4.jpg#frame0"), reasons=("too blurred",), square=square, side_px=20)
    twin = replace(kept(7, f"{media}/1.jpg#frame0"), reasons=("near-duplicate",))
    write_candidates(out, [*(kept(i, f"{media}/{i}.jpg#frame0") for i in range(3)), dark, blurred, twin])
    drops = [
        Drop(key=dark.place, stage="quality", reason="too dark"),
        Drop(key=blurred.place, stage="quality", reason="too blurred"),
        Drop(key=twin.place, stage="dedup", reason="near-duplicate", detail=f"kept {media}/0.jpg#frame0"),
        Drop(key=f"{media}/<9>.jpg", stage="probe", reason="unreadable", detail="it is empty"),
        Drop(key=f"{media}/x.mp4#shot0", stage="detect", reason="no head found"),
    ]
    about = read_manifest(out) | {"inputs": 7, "duplicates": manifest.get("duplicates", {})}
    return out, Summary(manifest=about, drops=drops, num_files=7)


def test_the_page_stands_alone_and_shows_what_was_left_out(made: tuple[Path, Summary]) -> None:
    page = write_report(*made, GATE).read_text()
    assert not re.search(r"https?://|<script|src='(?!data:)", page)
    for reason in ("too dark", "too blurred", "near-duplicate", "unreadable", "no head found"):
        assert reason in page
    for name in ("3.jpg", "4.jpg", "&lt;9&gt;.jpg"):
        assert name in page
    assert "<9>" not in page, "a file name is no markup"
    assert page.count("<img") == 3 + 2 + 2, "samples, dropped crops, a copy beside what was kept"
    assert "not measured" in page, "there is no files.jsonl"
    assert all(title in page for title, _ in SCORES.values() if "'" not in title)


def test_the_slowest_files_come_first(made: tuple[Path, Summary]) -> None:
    rows = [
        {"key": f"a/{name}.mp4", "media_s": 2.0, "frames": 50, "seconds": seconds, "samples": 1, "drops": 0}
        for name, seconds in (("quick", 1.0), ("slow", 9.0))
    ]
    (made[0] / "files.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = write_report(*made, GATE).read_text()
    assert "not measured" not in page
    assert 0 < page.index("slow.mp4") < page.index("quick.mp4")
    assert "4.50" in page, "seconds of work for a second of media"


def test_the_funnel_loses_nothing_on_the_way(made: tuple[Path, Summary]) -> None:
    out, summary = made
    numbers = gather(out, summary.drops, 16)
    steps = funnel(numbers, summary.drops, summary.num_files, summary.manifest["samples"])
    assert [(step.num, step.unit) for step in steps] == [
        (7, "files"), (6, "files"), (5, "files"), (6, "pieces"), (4, "pieces"), (3, "pieces"), (3, "pieces")
    ]  # fmt: skip
    for before, after in pairwise(steps):
        if before.unit == after.unit:
            assert before.num - sum(after.lost.values()) == after.num
    assert dict(numbers.fails) == {"too dark": 1, "too blurred": 2, "near-duplicate": 1}
    assert dict(numbers.fails_only) == {"too blurred": 1, "near-duplicate": 1}


def test_balance_counts_owners_once(tmp_path: Path) -> None:
    same = [sample(i, 1 + i % 2 * 4, identity="momo", source_id=f"{i // 2:016x}") for i in range(6)]
    write(tmp_path, same)
    write_candidates(tmp_path, [])
    row = gather(tmp_path, [], 2).species["panda"]
    assert (row.splits["train"], row.clips, row.frames) == (6, 3, 18)
    assert (len(row.identities), len(row.sources)) == (1, 3)
    assert row.seconds == pytest.approx(3 * 5 / 25)


def test_few_tiles_are_remembered_and_always_the_same(tmp_path: Path) -> None:
    write(tmp_path, [sample(i) for i in range(30)])
    write_candidates(tmp_path, [replace(kept(i, f"{i}.jpg#frame0"), reasons=("too dark",)) for i in range(30)])
    numbers = gather(tmp_path, [], 3)
    assert len(numbers.species["panda"].tiles) <= 12
    assert len(numbers.shown["too dark"]) <= 12
    best = sorted(numbers.species["panda"].tiles)[:3]
    assert best == sorted(gather(tmp_path, [], 30).species["panda"].tiles)[:3]


def test_a_dropped_crop_is_cut_out_of_its_file(made: tuple[Path, Summary]) -> None:
    (blurred,) = [one for one in read_candidates(made[0]) if one.reasons == ("too blurred",)]
    picture = of_candidate(blurred, 40)
    assert picture is not None
    assert picture.shape == (40, 40, 3)
    assert picture[1:-1, 1:-1].min() > 240, "the bright square, enlarged"
    gone = replace(blurred, place="nowhere/9.jpg#frame0")
    assert of_candidate(gone, 40) is None


def test_a_frame_deep_in_a_video_is_sought(tmp_path: Path) -> None:
    grey = [np.full((64, 64, 3), i, np.uint8) for i in range(250)]
    write_video(tmp_path / "long.mp4", grey, Fraction(25))
    for number in (0, 60, 200, 249):
        picture = of_place(f"{tmp_path}/long.mp4#frame{number}")
        (exact,) = read_frames(tmp_path / "long.mp4", number, number + 1)
        assert picture is not None
        assert abs(float(picture.mean()) - float(exact.mean())) < 1.0


def test_the_first_frame_of_a_sample_is_read_from_its_shard(tmp_path: Path) -> None:
    write(tmp_path, [sample(0), sample(1, 3)])
    write_candidates(tmp_path, [])
    tiles = gather(tmp_path, [], 5).species["panda"].tiles
    assert [isinstance(tile, Tile) and tile.shard == shard_paths(tmp_path)[0] for tile in tiles] == [True, True]
    for tile in tiles:
        assert np.abs(of_sample(tile).astype(float) - sample(0).frames[0]).mean() < 6


def test_places_give_back_their_file() -> None:
    assert file_of("a/b#1.mp4#frame12") == "a/b#1.mp4"
    assert file_of("a/b.mp4#shot3") == "a/b.mp4"
    assert file_of("a/b#frame.mp4") == "a/b#frame.mp4"


def test_every_score_has_a_title_and_thresholds_lie_where_the_gate_decides() -> None:
    assert set(SCORES) == set(Quality.__dataclass_fields__)
    marks = thresholds(GATE, {512})
    assert "roll_deg" not in marks, "off by default"
    for name, drawn in marks.items():
        for value, said in drawn:
            beyond = value - 0.01 * abs(value) - 1e-6 if said.startswith("≥") else value + 0.01 * abs(value) + 1e-6
            bad, good = (replace(QUALITY, **{name: v}) for v in (beyond, value))
            extra = set(GATE.reasons(bad, 512, 9, True)) - set(GATE.reasons(good, 512, 9, True))
            assert len(extra) == 1, f"{name} {said}"
    assert len(marks) >= 14


def test_a_large_report_stays_small(tmp_path: Path) -> None:
    """Twenty-five reasons of forty noisy pictures each."""
    rng = np.random.default_rng(0)
    (tmp_path / "m").mkdir()
    for number in range(20):
        noise = Image.fromarray(rng.integers(0, 255, (160, 160, 3), np.uint8))
        noise.save(tmp_path / "m" / f"{number}.jpg", quality=80)
    found = [
        replace(kept(n, f"{tmp_path}/m/{n % 20}.jpg#frame0"), key=f"{n:016x}-000000-0", reasons=(f"reason {n % 25}",))
        for n in range(1000)
    ]
    out = tmp_path / "out"
    write(out, [sample(0)])
    write_candidates(out, found)
    drops = [Drop(key=one.place, stage="quality", reason=one.reasons[0]) for one in found]
    summary = Summary(manifest=read_manifest(out), drops=drops, num_files=20)
    path = write_report(out, summary, GATE)
    assert path.stat().st_size < 6_000_000
    assert path.read_text().count("<img") <= 1 + 320
    assert all(f"reason {n} (40" in path.read_text() for n in range(25))
