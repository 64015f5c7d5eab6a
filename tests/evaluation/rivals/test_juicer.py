"""Data-Juicer as another program: its recipe file, its log, its failures; a stand-in plays dj-process."""

import json
import sys
from pathlib import Path

import pytest

from evaluation.rivals.juicer import Juicer, RivalError, curation_recipe, scenes_recipe, timed

STAND_IN = """#!{python}
import json, sys
from pathlib import Path
recipe = json.loads(Path(sys.argv[2]).read_text())
rows = [json.loads(line) for line in Path(recipe["dataset_path"]).read_text().splitlines()]
out = Path(recipe["export_path"])
if {works}:
    out.parent.mkdir()
    out.write_text("".join(json.dumps(row) + "\\n" for row in rows if row["videos"]))
print("INFO [1/2] OP [video_split_by_scene_mapper] Done in 1.25s. Left 2 samples.")
print("INFO [2/2] OP [video_deduplicator] Done in 0.5s. Left 1 samples.")
print(recipe["np"], "processes")
"""


def stand_in(folder: Path, works: bool = True) -> Juicer:
    folder.mkdir()
    program = folder / "dj-process"
    program.write_text(STAND_IN.format(python=sys.executable, works=works))
    program.chmod(0o755)
    return Juicer(python=folder / "python")


def test_a_run_hands_over_files_and_reads_what_is_left_and_how_long_it_took(tmp_path: Path) -> None:
    juicer = stand_in(tmp_path / "bin")
    clips = tmp_path / "clips"
    run = juicer.process([Path("/a.jpg")], [Path("/b.mp4")], scenes_recipe(clips), tmp_path / "run", workers=1)
    assert [row["file"] for row in run.rows] == ["/b.mp4"]
    assert run.op_seconds == {"video_split_by_scene_mapper": 1.25, "video_deduplicator": 0.5}
    assert run.seconds > 0
    written = json.loads((tmp_path / "run" / "recipe.yaml").read_text())
    assert written["np"] == 1
    assert written["process"][0]["video_split_by_scene_mapper"]["save_dir"] == str(clips)


def test_a_run_that_writes_nothing_is_told(tmp_path: Path) -> None:
    with pytest.raises(RivalError, match=r"wrote no .*out\.jsonl; its last line: 1 processes"):
        stand_in(tmp_path / "bin", works=False).process([], [], [], tmp_path / "run", workers=1)


def test_a_program_that_fails_is_told_by_its_last_line() -> None:
    with pytest.raises(RivalError, match="ended with an error: no luck"):
        timed([sys.executable, "-c", "print('so far'); print('no luck'); raise SystemExit(3)"], 1)


def test_a_python_without_it_says_how_to_install(tmp_path: Path) -> None:
    with pytest.raises(RivalError, match="pip install py-data-juicer"):
        Juicer(python=tmp_path / "python").versions()
    with pytest.raises(RivalError, match="is no Python with Data-Juicer"):
        Juicer(python=Path(sys.executable)).versions()


def test_optical_flow_is_computed_at_the_size_that_is_asked_for(tmp_path: Path) -> None:
    def motion(px: int) -> dict[str, object]:
        return next(op for op in curation_recipe(tmp_path, px) if "video_motion_score_filter" in op)

    assert motion(256)["video_motion_score_filter"]["size"] == 256  # type: ignore[index]
    assert "size" not in motion(0)["video_motion_score_filter"]  # type: ignore[operator]
