"""lp-benchmark as a user calls it."""

import json
import sys
from pathlib import Path

import pytest

from evaluation import benchmark_cli
from evaluation.curation_speed import GOALS

pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated by PEP 585")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["lp-benchmark", *arguments])
    try:
        benchmark_cli.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_a_run_leaves_a_table_and_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("evaluation.speed.peak_memory_mib", lambda *_: 123.0)
    out = tmp_path / "speed" / "tiny.json"
    assert run(monkeypatch, "inference", "model=tiny", f"out={out}", "repeats=1", "clip=false") == 0
    found = json.loads(out.read_text())
    assert found["frame"]["rows"][0]["name"] == "plain float32"
    assert found["frame"]["rows"][0]["psnr_db"] is None
    assert found["frame"]["tricks"]
    assert found["provenance"]["code"].startswith("pawtrait")
    assert found["command"].startswith("lp-benchmark action=inference model=tiny")
    assert found["load"]["load_before"] >= 0
    printed = capsys.readouterr().out
    assert "fast bfloat16" in printed
    assert f"made {out}" in printed
    assert [path.name for path in out.parent.iterdir()] == ["tiny.json"]


def test_an_unknown_action_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "cooking", f"out={tmp_path / 'x.json'}") == 1
    assert "the action cooking is unknown; say lp-benchmark inference|curation" in capsys.readouterr().err


def test_curation_is_measured_with_its_options_and_told_beside_the_goals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"x")
    asked = {}

    def measured(setup, folder, workers, repeats, memory_s):
        asked.update(every=setup.worker.curation.detect_every, crf=setup.worker.crf, folder=folder, workers=workers)
        asked["files"] = [file.path.name for file in setup.source()]
        span = {"median": 1.25, "least": 1.0, "most": 1.5}
        rate = {"media_s_per_s": 3.0, "files_per_s": 2.0, "cores": 1.0, "seconds": 4.0}
        memory = [{"clip_s": s, "memory_mib": 100 + s, "samples": 1} for s in (memory_s, 4 * memory_s)]
        stage = {"stage": "encode", "seconds": 2.0, "floor_s": 0.0, "extra_s": 2.0}
        return {"ratios": {"curation / floor": span}, "rates": {"1": rate}, "memory": memory, "stages": [stage],
                "goals": GOALS}  # fmt: skip

    monkeypatch.setattr("evaluation.curation_speed.measured", measured)
    out = tmp_path / "curation.json"
    words = (f"media={tmp_path}", f"out={out}", "repeats=2", "curation.memory_s=2", "curation.workers=3")
    assert run(monkeypatch, "curation", *words, 'curation.options=["curation.detect_every=2","video.crf=20"]') == 0
    assert asked == {"every": 2, "crf": 20, "folder": tmp_path, "workers": 3, "files": ["photo.jpg"]}
    found = json.loads(out.read_text())
    assert found["curation"]["ratios"]["curation / floor"]["most"] == 1.5
    assert "frame" not in found
    printed = capsys.readouterr().out
    assert "1.25 (1.00-1.50)" in printed
    assert "<= 1.35" in printed
    assert "encode" in printed


@pytest.mark.slow
def test_curation_of_a_real_clip_gives_numbers_for_every_goal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from evaluation.curation_media import puppet_media

    media, out = puppet_media(tmp_path, seconds=0.6, size_px=192, species=("cat",)), tmp_path / "curation.json"
    assert run(monkeypatch, "curation", f"media={media}", f"out={out}", "repeats=1", "curation.memory_s=0.5") == 0
    found = json.loads(out.read_text())["curation"]
    assert found["files"] == 4
    assert all(one["median"] > 0 for one in found["ratios"].values())
    assert [row["clip_s"] for row in found["memory"]] == [0.5, 2.0]
    assert all(row["memory_mib"] > 50 for row in found["memory"])
    assert found["rounds"]["severals"][0]["start_up_s"] > 0
