import datetime
import hashlib
import json
from pathlib import Path

import pytest

from data_pipeline.doctor import doctor
from data_pipeline.run_lock import RunLockError, run_lock
from data_pipeline.shards import ShardError, read_manifest, read_samples, to_members, write_tar
from data_pipeline.takedown import JOURNAL, takedown, takedown_action
from tests.data_pipeline.killed import killed_at
from tests.data_pipeline.shard_folder import contents, sample, write

TODAY = datetime.date(2026, 11, 25)


def folder_of_six(folder: Path) -> Path:
    """Three train shards of two; momo is in the first two, alone in the second."""
    names = ["momo", "nana", "momo", "momo", "otto", "pit"]
    write(folder, [sample(i, 1 + i % 2 * 3, identity=name) for i, name in enumerate(names)], max_samples=2)
    (folder / "report.html").write_text("<img>")
    (folder / "scores.jsonl").write_text("".join(json.dumps({"key": f"{i:016x}-000000-0"}) + "\n" for i in range(6)))
    return folder


def keys(folder: Path) -> set[int]:
    return {int(one.key[:16], 16) for one in read_samples(folder)}


def test_only_the_shards_touched_change(tmp_path: Path) -> None:
    folder = folder_of_six(tmp_path / "s")
    before = contents(folder)
    done = takedown(folder, ["momo"], "asked by the owner", TODAY)
    after = contents(folder)
    assert keys(folder) == {1, 4, 5}
    assert (done.samples, done.frames, done.by_species) == (3, 6, {"panda": 3})
    assert (done.rewritten, done.deleted) == (("train-00000.tar", "scores.jsonl"), ("train-00001.tar",))
    assert done.other_files == ("report.html",)
    assert after["train-00002.tar"] == before["train-00002.tar"]
    assert after.keys() == before.keys() - {"train-00001.tar", "report.html"} | {"takedowns.jsonl"}
    assert [f for f in doctor(folder, decode="all") if f.severity == "error"] == []


def test_what_is_left_is_what_packing_without_it_makes(tmp_path: Path) -> None:
    write(tmp_path / "a", [sample(i) for i in range(3)], max_samples=3)
    takedown(tmp_path / "a", [f"{1:016x}"], "wrong animal", TODAY)
    write(tmp_path / "b", [sample(0), sample(2)], max_samples=3)
    left = contents(tmp_path / "a")
    del left["takedowns.jsonl"]
    assert left == contents(tmp_path / "b")


def test_the_record_holds_a_hash_and_no_name(tmp_path: Path) -> None:
    folder = folder_of_six(tmp_path / "s")
    takedown(folder, ["pit"], "asked by the owner", TODAY)
    digest = hashlib.sha256(b"pit").hexdigest()
    assert json.loads((folder / "takedowns.jsonl").read_text()) == {
        "id_sha256": digest, "date": "2026-11-25", "reason": "asked by the owner"
    }  # fmt: skip


@pytest.mark.parametrize("one", [f"{1:016x}-000000-0", f"{1:016x}", "nana"])
def test_key_source_and_identity_all_name_a_sample(tmp_path: Path, one: str) -> None:
    folder = folder_of_six(tmp_path / "s")
    takedown(folder, [one], "r", TODAY)
    assert keys(folder) == {0, 2, 3, 4, 5}


def test_an_id_that_nothing_has_changes_nothing(tmp_path: Path) -> None:
    folder = folder_of_six(tmp_path / "s")
    before = contents(folder)
    with pytest.raises(ShardError, match=r"nobody.*nothing was changed"):
        takedown(folder, ["momo", "nobody"], "r", TODAY)
    for ids, reason in (([], "r"), ([" "], "r"), (["momo"], " ")):
        with pytest.raises(ShardError, match="at least one id"):
            takedown(folder, ids, reason)
    assert contents(folder) == before


def test_taking_down_twice_is_no_mistake_and_is_listed_once(tmp_path: Path) -> None:
    folder = folder_of_six(tmp_path / "s")
    takedown(folder, ["momo"], "r", TODAY)
    before = contents(folder)
    assert takedown(folder, ["momo"], "again", TODAY).samples == 0
    assert contents(folder) == before


def test_everything_can_go(tmp_path: Path) -> None:
    folder = folder_of_six(tmp_path / "s")
    takedown(folder, ["momo", "nana", "otto", "pit"], "r", TODAY)
    assert list(folder.glob("*.tar")) == []
    assert read_manifest(folder)["samples"] == 0


def test_curating_again_does_not_bring_it_back(tmp_path: Path) -> None:
    folder = folder_of_six(tmp_path / "s")
    takedown(folder, ["momo"], "r", TODAY)
    manifest = write(folder, [sample(0, identity="momo"), sample(1, identity="nana")])
    assert keys(folder) == {1}
    assert manifest["left_out"] == {"taken down": 1}


def test_stored_results_of_the_file_go_too(tmp_path: Path) -> None:
    folder = folder_of_six(tmp_path / "s")
    (folder / ".work").mkdir()
    for number, name in ((0, "momo"), (1, "nana")):
        one = to_members(sample(number, identity=name))
        write_tar(folder / ".work" / f"{number}.tar", [("k", one), ("drops", {"json": b"[]"})])
    assert ".work/0.tar" in takedown(folder, ["momo"], "r", TODAY).other_files
    assert [path.name for path in (folder / ".work").iterdir()] == ["1.tar"]


def test_scores_of_what_goes_are_removed(tmp_path: Path) -> None:
    folder = folder_of_six(tmp_path / "s")
    lines = [json.dumps({"key": f"{i:016x}-000000-0"}) + "\n" for i in range(6)]
    rejected = json.dumps({"key": f"{5:016x}-000100-0"}) + "\n"
    (folder / "scores.jsonl").write_text("".join(lines) + rejected)
    takedown(folder, ["momo"], "r", TODAY)
    assert (folder / "scores.jsonl").read_text() == lines[1] + lines[4] + lines[5] + rejected
    takedown(folder, [f"{5:016x}"], "r", TODAY)
    assert (folder / "scores.jsonl").read_text() == lines[1] + lines[4]
    assert not list(folder.glob("*.takedown"))


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    folder = folder_of_six(tmp_path / "s")
    with run_lock(folder), pytest.raises(RunLockError, match="in use"):
        takedown(folder, ["momo"], "r", TODAY)
    assert keys(folder) == set(range(6))


def test_a_killed_takedown_is_finished_by_the_same_command(tmp_path: Path) -> None:
    whole = folder_of_six(tmp_path / "whole")
    takedown(whole, ["momo"], "asked", TODAY)
    had_journal = 0
    for step in range(30):
        folder = folder_of_six(tmp_path / f"killed-{step}")
        untouched = (folder / "train-00002.tar").read_bytes()
        if not killed_at(step, lambda folder=folder: takedown(folder, ["momo"], "asked", TODAY)):
            break
        had_journal += (folder / JOURNAL).exists()
        assert (folder / "train-00002.tar").read_bytes() == untouched
        if (folder / JOURNAL).exists():
            assert "change unfinished" in {finding.kind for finding in doctor(folder, decode="none")}
        takedown(folder, ["momo"], "asked", TODAY)
        assert contents(folder) == contents(whole), f"killed at step {step}"
    else:
        pytest.fail("the takedown never came to its end")
    assert step >= 8
    assert had_journal >= 5


def test_the_action_reads_a_list_and_tells_what_went(tmp_path: Path, capsys) -> None:
    folder = folder_of_six(tmp_path / "s")
    (tmp_path / "ids.txt").write_text("momo\n\npit\n")
    takedown_action(folder, str(tmp_path / "ids.txt"), "asked")
    told = capsys.readouterr().out
    assert "4 samples" in told
    assert "deleted: train-00001.tar" in told
    assert "momo" not in told
