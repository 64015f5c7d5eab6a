import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from data_pipeline.candidates import read_candidates, write_candidates
from data_pipeline.file_worker import REJECTED
from data_pipeline.requalify import funnel_lines, gate_of, requalify, what_if
from data_pipeline.shards import ShardError, read_manifest, read_samples, shard_paths, write_tar
from tests.data_pipeline.candidate_folder import GATE, line, sample, worked, write_folder


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Four samples in two shards, two candidates left out, their members in .work."""
    return write_folder(tmp_path / "shards", [sample(i) for i in range(4)], [sample(4), sample(5)])


def keys(folder: Path) -> list[int]:
    return [int(one.source_id, 16) for one in read_samples(folder)]


def is_whole(folder: Path) -> bool:
    """Whether the manifest tells the truth about the files."""
    manifest = read_manifest(folder)
    sums = [hashlib.sha256((folder / s["name"]).read_bytes()).hexdigest() == s["sha256"] for s in manifest["shards"]]
    files = sorted(path.name for path in folder.glob("*.tar"))
    named = [shard["name"] for shard in manifest["shards"]]
    return all(sums) and files == named and manifest["samples"] == len(keys(folder))


def test_candidates_survive_their_file(made: Path) -> None:
    assert read_candidates(made) == [line(sample(i)) for i in range(6)]
    assert [one.reasons for one in read_candidates(made)][3:] == [(), ("too blurred",), ("too blurred",)]


def test_the_same_gate_changes_no_byte(made: Path, tmp_path: Path) -> None:
    done = requalify(made, tmp_path / "new", GATE)
    assert (done.dropped, done.admitted, done.missing, done.rewritten) == ((), (), (), ())
    for path in shard_paths(made):
        assert (tmp_path / "new" / path.name).read_bytes() == path.read_bytes()
    assert read_candidates(tmp_path / "new") == read_candidates(made)
    assert read_manifest(tmp_path / "new") == read_manifest(made)


def test_a_tighter_gate_rewrites_only_the_shards_it_touches(made: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in shard_paths(made)}
    done = requalify(made, tmp_path / "new", replace(GATE, min_sharpness=30.0))
    assert done.dropped == (sample(0).key,)
    assert done.rewritten == ("train-00000.tar",)
    assert keys(tmp_path / "new") == [1, 2, 3]
    assert (tmp_path / "new" / "train-00001.tar").read_bytes() == before["train-00001.tar"]
    assert {path.name: path.read_bytes() for path in shard_paths(made)} == before, "the old folder is untouched"
    assert is_whole(tmp_path / "new")
    assert read_manifest(tmp_path / "new")["config"]["curation"]["gate"]["min_sharpness"] == 30.0


def test_a_shard_that_loses_all_goes_and_the_folder_itself_can_change(made: Path) -> None:
    requalify(made, made, replace(GATE, min_sharpness=50.0))
    assert keys(made) == [2, 3]
    assert is_whole(made)
    assert [path.name for path in shard_paths(made)] == ["train-00001.tar"]
    requalify(made, made, replace(GATE, min_sharpness=70.0))
    assert keys(made) == [3]
    assert is_whole(made)


def test_a_looser_gate_admits_from_work_without_decoding(made: Path, tmp_path: Path) -> None:
    done = requalify(made, tmp_path / "new", replace(GATE, min_sharpness=11.0))
    assert done.admitted == (sample(5).key,)
    assert keys(tmp_path / "new") == [0, 1, 2, 3, 5]
    assert is_whole(tmp_path / "new")
    assert done.funnel["all"] == {"candidates": 6, "kept": 5, "too blurred": 1}


def test_without_work_the_candidates_are_named(made: Path, tmp_path: Path) -> None:
    (made / ".work" / f"x{REJECTED}").unlink()
    done = requalify(made, tmp_path / "new", replace(GATE, min_sharpness=11.0))
    assert [one.place for one in done.missing] == ["pets/5.jpg#frame0"]
    assert keys(tmp_path / "new") == [0, 1, 2, 3]
    again = requalify(tmp_path / "new", tmp_path / "third", replace(GATE, min_sharpness=11.0))
    assert [one.place for one in again.missing] == ["pets/5.jpg#frame0"], "still known, still not at hand"


def test_an_admitted_sample_joins_the_split_of_its_animal(made: Path, tmp_path: Path) -> None:
    astray = replace(sample(5), split="test", identity="animal-1")
    write_tar(made / ".work" / f"x{REJECTED}", [(astray.key, worked(astray))])
    requalify(made, tmp_path / "new", replace(GATE, min_sharpness=11.0))
    assert {one.key: one.split for one in read_samples(tmp_path / "new")}[astray.key] == "train"
    assert list((tmp_path / "new").glob("test-*")) == []


def test_what_was_taken_down_does_not_come_back(made: Path, tmp_path: Path) -> None:
    entry = {"id_sha256": hashlib.sha256(b"animal-5").hexdigest(), "date": "2026-01-01", "reason": "asked"}
    (made / "takedowns.jsonl").write_text(json.dumps(entry) + "\n")
    done = requalify(made, tmp_path / "new", replace(GATE, min_sharpness=5.0))
    assert done.admitted == (sample(4).key,)
    assert (tmp_path / "new" / "takedowns.jsonl").exists()


def test_a_near_duplicate_stays_left_out(made: Path, tmp_path: Path) -> None:
    twin = replace(line(sample(5)), scores=sample(3).quality, reasons=("near-duplicate",))
    write_candidates(made, [*(line(sample(i)) for i in range(5)), twin])
    done = requalify(made, tmp_path / "new", GATE)
    assert (done.admitted, done.missing) == ((), ())
    assert done.funnel["all"]["near-duplicate"] == 1


def test_what_if_counts_by_species_and_writes_nothing(made: Path) -> None:
    files = {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}
    before, after = what_if(made, replace(GATE, min_sharpness=50.0))
    assert before["all"] == {"candidates": 6, "kept": 4, "too blurred": 2}
    assert after["all"] == {"candidates": 6, "kept": 2, "too blurred": 4}
    assert after["dog"] == {"candidates": 3, "kept": 1, "too blurred": 2}
    assert {path: path.read_bytes() for path in made.rglob("*") if path.is_file()} == files
    text = funnel_lines(after, before)
    assert "2 (-2)" in text
    assert "too blurred" in text


def test_the_gate_is_that_of_the_shards_but_for_what_is_given(made: Path) -> None:
    assert gate_of(made, {}) == GATE
    assert gate_of(made, {"min_sharpness": 7, "min_frames": 9}) == replace(GATE, min_sharpness=7.0, min_frames=9)


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda made: gate_of(made, {"min_beauty": 1.0}), "min_beauty is not a threshold"),
        (lambda made: gate_of(made, {"min_score": "high"}), "not a number"),
        (lambda made: (made / "scores.jsonl").unlink() or what_if(made, GATE), "run lp-curate again"),
        (lambda made: (made / "scores.jsonl").write_text("{}\n") and what_if(made, GATE), "line 1 is damaged"),
        (
            lambda made: requalify(made, made.parent / "new", GATE) and requalify(made, made.parent / "new", GATE),
            "already",
        ),
    ],
)
def test_mistakes_are_told(made: Path, act: Callable[[Path], object], said: str) -> None:
    with pytest.raises(ShardError, match=said):
        act(made)
