"""lp-benchmark as a user calls it."""

import json
import sys
from pathlib import Path

import pytest

from evaluation import benchmark_cli

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
    printed = capsys.readouterr().out
    assert "fast bfloat16" in printed
    assert f"made {out}" in printed
    assert [path.name for path in out.parent.iterdir()] == ["tiny.json"]


def test_an_unknown_action_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "cooking", f"out={tmp_path / 'x.json'}") == 1
    assert "the action cooking is unknown; say lp-benchmark inference" in capsys.readouterr().err
