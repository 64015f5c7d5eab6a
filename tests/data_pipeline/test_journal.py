import json
from pathlib import Path

import pytest

from data_pipeline.journal import JOURNAL, Change, aside, make_change, resume_change
from data_pipeline.shards import ShardError
from tests.data_pipeline.killed import killed_at
from tests.data_pipeline.shard_folder import contents

CHANGE = Change(replace=["a.tar", "b.tar"], remove=["old.tar"], texts={"list.md": "two"}, manifest='{"new": 1}')


def folder(path: Path) -> Path:
    path.mkdir()
    for name in ("a.tar", "old.tar", "manifest.json", "other.txt"):
        (path / name).write_text("before")
    for name in CHANGE.replace:
        aside(path, name).write_text("after")
    return path


def test_a_change_is_made_and_leaves_nothing_behind(tmp_path: Path) -> None:
    made = folder(tmp_path / "f")
    make_change(made, CHANGE)
    assert contents(made) == {
        "a.tar": b"after", "b.tar": b"after", "list.md": b"two", "manifest.json": b'{"new": 1}', "other.txt": b"before"
    }  # fmt: skip


def test_killed_anywhere_it_was_not_begun_or_is_finished(tmp_path: Path) -> None:
    whole = folder(tmp_path / "whole")
    make_change(whole, CHANGE)
    untouched = contents(folder(tmp_path / "untouched"))
    for step in range(20):
        made = folder(tmp_path / str(step))
        if not killed_at(step, lambda made=made: make_change(made, CHANGE)):
            break
        if resume_change(made):
            assert contents(made) == contents(whole), f"killed at step {step}"
        else:
            kept = {name: data for name, data in untouched.items() if not name.endswith(".part")}
            assert contents(made) in (kept, contents(whole)), f"killed at step {step}"
    assert step >= 6
    assert not resume_change(made)


def test_a_journal_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    made = folder(tmp_path / "f")
    (tmp_path / "mine.txt").write_text("keep")
    for plan in (
        {"remove": ["../mine.txt"], "manifest": "", "manifest_before": ""},
        {"texts": {"/tmp/x": "y"}, "manifest": "", "manifest_before": ""},
        {"remove": 3},
    ):
        (made / JOURNAL).write_text(json.dumps(plan))
        with pytest.raises(ShardError, match="damaged"):
            resume_change(made)
    assert (tmp_path / "mine.txt").exists()


def test_a_journal_older_than_another_run_is_refused(tmp_path: Path) -> None:
    """What was curated since must not be overwritten by what was aside."""
    for step in range(9):
        made = folder(tmp_path / str(step))
        assert killed_at(step, lambda made=made: make_change(made, CHANGE))
        if (made / JOURNAL).exists():
            break
    (made / "manifest.json").write_text("curated anew")
    with pytest.raises(ShardError, match="written by another run"):
        resume_change(made)
    assert (made / "a.tar").read_text() == "before"
