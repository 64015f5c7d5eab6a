"""The benchmark's tables from a tiny run; speed itself is not tested."""

import json
import sys
from pathlib import Path

import pytest

from finetune import step_benchmark
from finetune.step_benchmark import GOALS, Options, lines, measured


@pytest.mark.slow
def test_every_part_gives_its_numbers(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep" / "step.json"
    words = [f"shards={shards}", "model=tiny", "batch_size=2", "rounds=1", "loader_steps=2", "threads=1", f"out={out}"]
    monkeypatch.setattr(sys, "argv", ["step_benchmark", *words])
    step_benchmark.main()
    found = json.loads(out.read_text())
    assert found["step"]["ratio"]["least"] > 0
    assert 0 < found["step"]["mfu_frac"] < 1.5
    for name, (fast, plain) in found["step"]["first_losses"].items():
        assert fast == pytest.approx(plain, rel=0.05, abs=0.02), name
    assert [part["workers"] for part in found["loader"]] == [0, 1]
    assert all(0 <= part["stall_frac"] < 1 for part in found["loader"])
    assert all(mib > 100 for mib in found["memory"].values())
    assert {trick["name"] for trick in found["tricks"]} >= {"one pass of the motion network", "Adam in one kernel"}
    printed = capsys.readouterr().out
    assert "| fast / plain |" in printed
    assert GOALS["loader"] in printed


def test_only_what_is_asked_for_is_measured(shards: Path) -> None:
    options = Options(shards=str(shards), model="tiny", batch_size=2, rounds=1, loader_steps=2, parts="loader")
    found = measured(options)
    assert set(found) == {"goals", "threads", "device", "loader"}
    assert [line for line in lines(found) if "data.workers=1" in line]


@pytest.mark.parametrize(
    ("given", "said"), [({"parts": "speed"}, "'speed'"), ({"rounds": 0}, "rounds"), ({"device": "tpu"}, "'tpu'")]
)
def test_mistakes_are_one_sentence(given: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Options(**given)  # pyright: ignore[reportArgumentType]
