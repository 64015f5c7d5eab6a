import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import pytest

from data_pipeline.candidates import Candidate, write_candidates
from data_pipeline.quality import QualityGate
from data_pipeline.records import Quality
from data_pipeline.shards import ShardWriter


class Done(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys):
    from hydra.core.global_hydra import GlobalHydra

    from data_pipeline.cli import curate

    def start(*words: str) -> Done:
        GlobalHydra.instance().clear()
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["lp-curate", *words])
        code = 0
        try:
            curate()
        except SystemExit as end:
            code = int(end.code or 0)
        return Done(code, *capsys.readouterr())

    return start


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """No samples, two candidates that were too blurred."""
    out = tmp_path / "shards"
    out.mkdir()
    ShardWriter()(out, [], {"config": {"curation": {"gate": asdict(QualityGate())}}})
    quality = Quality(
        min_side_px=99.0, sharpness=12.0, luminance=99.0, contrast=40.0, motion_px=0.0, coverage_frac=1.0, score=0.9
    )
    found = [
        Candidate(
            key=str(i), place=f"{i}.jpg#frame0", species="cat", kind="image", num_frames=1, side_px=512,
            scores=quality, reasons=("too blurred",),
        )
        for i in range(2)
    ]  # fmt: skip
    write_candidates(out, found)
    return out


def test_what_if_prints_the_funnel_and_writes_nothing(run, shards: Path) -> None:
    before = sorted(path.name for path in shards.iterdir())
    done = run("what-if", "shards=shards", "curation.gate.min_sharpness=10")
    assert (done.code, done.err) == (0, "")
    assert "2 (+2)" in done.out
    assert "next: lp-curate requalify shards=shards out=DIR curation.gate.min_sharpness=10" in done.out
    assert sorted(path.name for path in shards.iterdir()) == before


def test_requalify_names_what_a_rerun_would_admit(run, shards: Path, tmp_path: Path) -> None:
    done = run("requalify", "shards=shards", "out=new", "curation.gate.min_sharpness=10")
    assert (done.code, done.err) == (0, "")
    assert "not at hand: 0.jpg#frame0" in done.out
    assert "keep_work=true" in done.out
    gate = json.loads((tmp_path / "new" / "manifest.json").read_text())["config"]["curation"]["gate"]
    assert gate == asdict(QualityGate(min_sharpness=10.0))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["curation.gate.min_sharpnes=3"], "did you mean curation.gate.min_sharpness"),
        (["min_sharpness=3"], "did you mean curation.gate.min_sharpness"),
        (["sourc.path=x"], "the option sourc.path is unknown; did you mean source.path"),
        (["source.only.ship=1"], "give all of source.only at once: 'source.only={ship: VALUE}'"),
        (
            ["dataset=table", "source.columns={path: a}", "source.columns={bogus: b}"],
            "the option source.columns.bogus is unknown; give all of source.columns at once",
        ),
        (["source={paht: b}"], "the option source.paht is unknown; did you mean source.path"),
        (["curation.gate={min_sharpnes: 1}"], "did you mean curation.gate.min_sharpness"),
        (["executor.worker=3"], "did you mean executor.workers"),
        (["executor=rai"], "executor=rai does not exist; choose from local, ray"),
        (["executor.workers=-1", "source.path=.", "out=../x"], "executor.workers=-1 must be 1 or more"),
        (["source.path=.", "out=shards"], "out=shards lies inside source.path=."),
        (["qqqqqq=1"], "--help lists the options"),
        (["detector=startr"], "detector=startr does not exist; did you mean starter"),
        (["source.path=[a"], "source.path=[a is not name=value"),
        (["nonsense"], "the action nonsense is unknown; say lp-curate curate|requalify|what-if"),
        (["what-if", "shards"], "shards is no option"),
        (["what-if"], "the option shards is required"),
        (["what-if", "shards=nowhere"], "nowhere holds no manifest.json"),
        (["what-if", "shards=shards", "curation.gate.min_sharpness=low"], "is not a number"),
        ([], "the option out is required"),
    ],
)
def test_a_mistake_is_one_sentence(run, shards: Path, words: list[str], said: str) -> None:
    done = run(*words)
    assert done.code == 1
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert said in done.err


def test_two_runs_in_one_folder_are_refused(run, tmp_path: Path, shards: Path) -> None:
    from data_pipeline.run_lock import run_lock

    with run_lock(tmp_path / "new"):
        done = run("requalify", "shards=shards", "out=new")
    assert done.code == 1
    assert "in use by another run" in done.err
