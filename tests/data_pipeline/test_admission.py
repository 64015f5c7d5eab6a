import json
from dataclasses import replace
from pathlib import Path

import pytest

from data_pipeline.candidates import NEAR_DUPLICATE, read_candidates, write_candidates
from data_pipeline.doctor import doctor
from data_pipeline.journal import JOURNAL
from data_pipeline.records import Sample
from data_pipeline.requalify import BETWEEN, requalify
from data_pipeline.shards import ShardError, read_manifest, read_records, read_samples, shard_paths, write_tar
from data_pipeline.takedown import takedown
from tests.data_pipeline.candidate_folder import GATE, like, line, sample, worked, write_folder
from tests.data_pipeline.killed import killed_at
from tests.data_pipeline.shard_folder import contents

LOOSE = replace(GATE, min_sharpness=1.0)
KEEP_ALL = {"duplicates": {"_target_": "x", "drop": False}}
EVEN = {"curation": {"splitter": {"_target_": "x", "val_frac": 0.3, "test_frac": 0.4}}}


def split_of(folder: Path) -> dict[str, str]:
    return {one.key: one.split for one in read_samples(folder)}


def cluster_of(folder: Path) -> dict[str, str]:
    return {record["key"]: record["cluster"] for path in shard_paths(folder) for record in read_records(path)}


def errors(folder: Path) -> list[str]:
    return [finding.message for finding in doctor(folder, decode="all") if finding.severity == "error"]


def reasons(folder: Path, one: Sample) -> tuple[str, ...]:
    return {found.key: found.reasons for found in read_candidates(folder)}[one.key]


@pytest.mark.parametrize("has_work", [False, True])
def test_a_copy_of_what_is_packed_stays_out(tmp_path: Path, has_work: bool) -> None:
    packed, copy, other = [sample(i) for i in range(4)], like(5, sample(2)), sample(6)
    made = write_folder(tmp_path / "a", packed, [copy, other])
    if has_work:
        write_tar(made / ".work" / "kept.tar", [(one.key, worked(one)) for one in packed])
    done = requalify(made, tmp_path / "b", LOOSE)
    assert (done.admitted, done.copies, done.missing) == ((other.key,), (copy.key,), ())
    assert reasons(tmp_path / "b", copy) == (NEAR_DUPLICATE,)
    assert read_manifest(tmp_path / "b")["duplicates"] == {"clusters": 1, "samples_in_clusters": 2, "dropped": 1}
    assert errors(tmp_path / "b") == []


def test_a_copy_that_is_kept_shares_split_and_cluster(tmp_path: Path) -> None:
    """By its own name it would be in train."""
    one = sample(0)
    made = write_folder(tmp_path / "a", [replace(one, split="test"), sample(1)], [like(5, one)], KEEP_ALL)
    done = requalify(made, tmp_path / "b", LOOSE)
    assert done.admitted == (like(5, one).key,)
    assert split_of(tmp_path / "b")[like(5, one).key] == "test"
    assert cluster_of(tmp_path / "b")[like(5, one).key] == one.key
    assert errors(tmp_path / "b") == []


def test_of_two_newcomers_that_are_copies_the_better_comes_in(tmp_path: Path) -> None:
    worse = like(5, sample(4), quality=replace(sample(5).quality, min_side_px=85.0))
    made = write_folder(tmp_path / "a", [sample(0)], [sample(4), worse])
    done = requalify(made, tmp_path / "b", LOOSE)
    assert (done.admitted, done.copies) == ((sample(4).key,), (worse.key,))


def test_newcomers_that_are_copies_go_where_their_smallest_identity_goes(tmp_path: Path) -> None:
    pairs = [(sample(n), like(n + 1, sample(n))) for n in range(10, 40, 2)]
    made = write_folder(tmp_path / "a", [sample(0)], [one for pair in pairs for one in pair], EVEN | KEEP_ALL)
    requalify(made, tmp_path / "b", LOOSE)
    splits = split_of(tmp_path / "b")
    assert len(splits) == 31
    assert set(splits.values()) == {"train", "val", "test"}
    assert all(splits[a.key] == splits[b.key] for a, b in pairs)
    assert errors(tmp_path / "b") == []


@pytest.mark.parametrize("options", [KEEP_ALL, {}])
def test_what_would_tie_two_splits_stays_out(tmp_path: Path, options: dict) -> None:
    """The same animal as a sample of test, in the picture (or, with a copy between, beside one) of train."""
    one, two = sample(0), replace(sample(1), split="test")
    bridge = like(5, one, identity=two.identity)
    third = replace(sample(6), identity=two.identity)
    made = write_folder(tmp_path / "a", [one, two], [bridge, third], options)
    done = requalify(made, tmp_path / "b", LOOSE)
    assert done.admitted == (third.key,)
    assert split_of(tmp_path / "b")[third.key] == "test"
    assert done.between == ((bridge.key,) if options else ())
    assert reasons(tmp_path / "b", bridge) == ((BETWEEN,) if options else (NEAR_DUPLICATE,))
    assert errors(tmp_path / "b") == []


def test_a_copy_that_was_left_out_ties_its_animal_to_what_it_copies(tmp_path: Path) -> None:
    """One is tom, as its dropped copy says; so a new picture of tom must not be in another split."""
    one = replace(sample(0), split="val")
    twin = like(7, one, identity="tom", quality=one.quality)
    tom = replace(sample(8), identity="tom")
    made = write_folder(tmp_path / "a", [one], [twin, tom])
    write_candidates(made, [line(one), replace(line(twin), reasons=(NEAR_DUPLICATE,)), line(tom)])
    done = requalify(made, tmp_path / "b", LOOSE)
    assert done.admitted == (tom.key,)
    assert split_of(tmp_path / "b")[tom.key] == "val"


def test_many_newcomers_fill_several_shards(tmp_path: Path) -> None:
    made = write_folder(
        tmp_path / "a",
        [sample(i) for i in range(3)],
        [sample(i) for i in range(4, 9)],
        {"writer": {"max_samples": 2}, "curation": {"splitter": {"val_frac": 0.0, "test_frac": 0.0}}},
    )
    requalify(made, made, LOOSE)
    sizes = {entry["name"]: entry["samples"] for entry in read_manifest(made)["shards"]}
    assert sizes == {"train-00000.tar": 2, "train-00001.tar": 1} | {
        "train-00002.tar": 2, "train-00003.tar": 2, "train-00004.tar": 1
    }  # fmt: skip
    assert errors(made) == []


def folder_to_change(path: Path) -> Path:
    """A gate of 30 to 90 drops all of the first shard, one of the second, and lets one of two in."""
    left_out = [replace(sample(n), quality=replace(sample(n).quality, sharpness=s)) for n, s in ((4, 14.0), (5, 12.0))]
    packed = [
        replace(sample(n), quality=replace(sample(n).quality, sharpness=s, min_side_px=side))
        for n, s, side in ((0, 99.0, 80.5), (1, 99.0, 80.5), (2, 99.0, 99.0), (3, 99.0, 80.5))
    ]
    made = write_folder(path, packed, left_out)
    (made / "report.html").write_text("<img>")
    (made / "drops.jsonl").write_text("")
    return made


CHANGED = replace(GATE, min_sharpness=13.0, min_side_px=90.0)


@pytest.mark.parametrize(("is_same", "next_command"), [(True, "requalify"), (False, "requalify"), (True, "takedown")])
def test_killed_anywhere_the_next_command_finishes_it(tmp_path: Path, is_same: bool, next_command: str) -> None:
    whole = folder_to_change(tmp_path / "whole")
    requalify(whole, whole if is_same else tmp_path / "whole-out", CHANGED)
    wanted = contents(whole if is_same else tmp_path / "whole-out")
    assert {"train-00001.tar", "train-00002.tar", "manifest.json"} <= wanted.keys()
    assert "train-00000.tar" not in wanted
    num_journals = 0
    for step in range(60):
        made = folder_to_change(tmp_path / f"{step}")
        before = contents(made)
        out = made if is_same else tmp_path / f"{step}-out"
        if not killed_at(step, lambda made=made, out=out: requalify(made, out, CHANGED)):
            break
        has_journal = (out / JOURNAL).exists()
        num_journals += has_journal
        if next_command == "takedown" and has_journal and (out / "manifest.json").exists():
            with pytest.raises(ShardError, match="nothing was changed"):
                takedown(out, ["nobody"], "r")
        elif next_command == "requalify":
            requalify(made, out, CHANGED)
        else:
            continue
        assert contents(out) == wanted, f"killed at step {step}"
        if not is_same:
            assert contents(made) == before
    else:
        pytest.fail("it never came to its end")
    assert num_journals >= 5


def test_a_journal_is_written_before_anything_changes(tmp_path: Path) -> None:
    made = folder_to_change(tmp_path / "a")
    before = contents(made)
    for step in range(20):
        assert killed_at(step, lambda: requalify(made, made, CHANGED))
        if (made / JOURNAL).exists():
            break
        now = {name: data for name, data in contents(made).items() if not name.endswith(".part")}
        assert now == before, f"killed at step {step}"
    assert json.loads((made / JOURNAL).read_text())["remove"] == ["train-00000.tar", "report.html"]
