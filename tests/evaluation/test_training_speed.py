"""What the program is called with; its own numbers are tested with finetune."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from evaluation import benchmark_cli
from evaluation.training_speed import PROGRAM, measured_training

pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated by PEP 585")
FOUND = {"step": {"ratio": {"median": 1.6}}}


class Programs:
    """Stands in for subprocess.run: notes the commands and writes the result."""

    def __init__(self, fails: bool = False) -> None:
        self.commands: list[list[str]] = []
        self.fails = fails

    def __call__(self, command: list[str], check: bool) -> SimpleNamespace:
        assert not check
        self.commands.append(command)
        for word in command:
            if word.startswith("out=") and word.endswith("training.json"):
                Path(word.removeprefix("out=")).write_text(json.dumps(FOUND))
        return SimpleNamespace(returncode=int(self.fails))


def test_given_shards_are_measured_with_the_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = Programs()
    monkeypatch.setattr(subprocess, "run", programs)
    assert measured_training(tmp_path / "shards", {"rounds": 3, "parts": "ratio"}, tmp_path) == FOUND
    (command,) = programs.commands
    assert tuple(command[:3]) == PROGRAM
    assert command[3:] == [
        f"shards={tmp_path / 'shards'}",
        f"out={tmp_path / 'training.json'}",
        "rounds=3",
        "parts=ratio",
    ]


def test_without_shards_puppets_are_rendered_and_curated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = Programs()
    monkeypatch.setattr(subprocess, "run", programs)
    measured_training(None, {}, tmp_path)
    assert [Path(command[0]).name for command in programs.commands[:2]] == ["lp-puppets", "lp-curate"]
    assert f"shards={tmp_path / 'shards'}" in programs.commands[2]


def test_a_failing_program_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", Programs(fails=True))
    with pytest.raises(ValueError, match="failed with exit code 1"):
        measured_training(tmp_path, {}, tmp_path)


def test_the_action_hands_its_options_over_and_keeps_the_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = {}

    def measured(shards: Path | None, options: dict[str, object], folder: Path) -> dict[str, object]:
        asked.update(options, shards=shards)
        return FOUND

    monkeypatch.setattr("evaluation.training_speed.measured_training", measured)
    out = tmp_path / "training.json"
    words = [
        "training",
        "model=tiny",
        "repeats=2",
        "training.parts=[ratio,loader]",
        "training.shards=there",
        f"out={out}",
    ]
    monkeypatch.setattr(sys, "argv", ["lp-benchmark", *words])
    benchmark_cli.main()
    assert asked["shards"] == Path("there")
    assert (asked["parts"], asked["model"], asked["rounds"]) == ("ratio,loader", "tiny", 2)
    assert json.loads(out.read_text())["training"] == FOUND
    assert f"made {out}" in capsys.readouterr().out
