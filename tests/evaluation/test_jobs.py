import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from data_pipeline.photo import encode_jpeg
from data_pipeline.video import read_info
from evaluation import animate_cli
from evaluation.jobs import part_of, read_jobs
from tests.evaluation.stand_ins import BOXES

# beartype warns of a type inside DictConfig, which is not ours.
pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated by PEP 585")
REPO = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path, picture, driving_video) -> Path:
    """A photo and a driver."""
    (tmp_path / "cat.jpg").write_bytes(encode_jpeg(picture(120, 90)))
    driving_video(3, sound=False).rename(tmp_path / "me.mp4")
    return tmp_path


@pytest.fixture
def listed(folder):
    """Writes the rows of a list, and gives the option that names it."""

    def write(*rows: dict[str, object], name: str = "list.csv") -> str:
        columns = list(dict.fromkeys(key for row in rows for key in row))
        with (folder / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)
        return f"jobs={name}"

    return write


@pytest.fixture
def work(run, folder, lively_weights):
    """Run lp-animate on a list."""

    def call(*args: object):
        return run("animate", f"weights={lively_weights}", "precision=float32", "out=made", "side_by_side=false",
                   "source=cat.jpg", "driving=me.mp4", *BOXES, *args)  # fmt: skip

    return call


@pytest.fixture
def config():
    GlobalHydra.instance().clear()
    with initialize_config_module(version_base="1.3", config_module="conf"):
        return compose("animate", ["out=made", "jobs=list.csv"])


def records(folder: Path, name: str = "jobs.jsonl") -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "made" / name).read_text().splitlines()]


def made_at(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (folder / "made").glob("*.mp4")}


def test_every_row_is_made_with_its_own_options(work, listed, folder) -> None:
    option = listed(
        {"out": "a.mp4"},
        {"out": "b.mp4", "multiplier": "0.5", "edit.smile": "1", "head": "0", "source_box": "[70,40,170,140]"},
        {"out": "deep/c.png", "driving": "cat.jpg"},
        {"out": "", "crf": "30"},
    )
    done = work(option)
    assert done.code == 0, done.err
    assert "4 jobs: 4 done, 0 failed; made/jobs.jsonl tells each" in done.out
    beside = {path.name for path in (folder / "made").iterdir() if path.suffix != ".yaml"}
    assert beside == {"a.mp4", "b.mp4", "cat--me.mp4", "deep", "jobs.jsonl"}
    assert (folder / "made" / "deep" / "c.png").is_file()
    saved = OmegaConf.load(folder / "made" / "b.config.yaml")
    assert (saved.multiplier, saved.edit.smile, saved.head, saved.source_box) == (0.5, 1, 0, [70, 40, 170, 140])
    assert [record["result"] for record in records(folder)] == ["made"] * 4
    assert [record["row"] for record in records(folder)] == [2, 3, 4, 5]
    assert read_info(folder / "made" / "a.mp4").num_frames == 3


def test_what_is_there_is_not_made_again(work, listed, folder) -> None:
    rows = [{"out": f"{name}.mp4", "multiplier": "1.0", "save_template": "true"} for name in "abc"]
    assert work(listed(*rows)).code == 0
    first = made_at(folder)
    assert work(listed(*rows)).code == 0
    assert made_at(folder) == first
    assert [record["result"] for record in records(folder)][3:] == ["was there"] * 3

    def again() -> list[str]:
        before = made_at(folder)
        done = work(listed(*rows))
        assert done.code == 0, done.err
        after = made_at(folder)
        return sorted(name for name in after if after[name] != before.get(name))

    rows[1]["multiplier"] = "2"
    assert again() == ["b.mp4"]
    (folder / "made" / "c.mp4").unlink()
    assert again() == ["c.mp4"]
    (folder / "made" / "a.motion.npz").unlink()  # also a file beside the result
    assert again() == ["a.mp4"]
    (folder / "made" / "a.config.yaml").write_text("{half a fi")
    assert again() == ["a.mp4"]
    assert again() == []
    # How it is computed changes nothing.
    assert work(listed(*rows), "batch_frames=1", "device=cpu").code == 0
    assert again() == []


def test_a_failing_row_is_told_and_the_others_are_made(work, listed, folder, monkeypatch) -> None:
    plain = animate_cli.animate_one

    def breaking(animator, config, *, show: bool = True) -> str:
        if config.crf == 30:
            raise RuntimeError("out of\nmemory")
        return plain(animator, config, show=show)

    monkeypatch.setattr(animate_cli, "animate_one", breaking)
    option = listed(
        {"out": "a.mp4", "source": "none.jpg"},
        {"out": "b.mp4"},
        {"out": "c.mp4", "multiplier": "-1"},
        {"out": "d.avi"},
        {"out": "e.mp4", "crf": "30"},
        {"out": "f.mp4", "edit": "3"},
        {"out": "g.mp4", "weights": "nowhere"},
        {"out": "h.mp4"},
    )
    done = work(option)
    assert done.code == 1
    told = done.err.splitlines()
    assert told[-1] == ("error: 6 of 8 jobs failed; see made/jobs.jsonl, mend them and run the same command again")
    assert "row 2 failed: source: none.jpg is not a file; give a photo or a video" in told
    assert "row 6 failed: RuntimeError: out of memory" in told
    assert sorted(path.name for path in (folder / "made").glob("*.mp4")) == ["b.mp4", "h.mp4"]
    results = {record["row"]: record["result"] for record in records(folder)}
    assert results == {2: "failed", 3: "made", 4: "failed", 5: "failed", 6: "failed", 7: "failed", 8: "failed",
                       9: "made"}  # fmt: skip
    assert not list(folder.rglob("*.part"))


def test_weights_are_loaded_once_for_all_rows_that_share_them(work, listed, monkeypatch) -> None:
    loaded = []
    plain = animate_cli.animator_of
    monkeypatch.setattr(animate_cli, "animator_of", lambda config: loaded.append(config.engine) or plain(config))
    option = listed(*({"out": f"{i}.mp4", "engine": engine} for i, engine in enumerate(["fast", "plain", "fast"])))
    assert work(option).code == 0
    assert loaded == ["fast", "plain"]


def test_parts_together_do_everything_once(work, listed, folder) -> None:
    option = listed(*({"out": f"{name}.mp4"} for name in "abcde"))
    assert work(option, "part=0/2").code == 0
    assert sorted(made_at(folder)) == ["a.mp4", "c.mp4", "e.mp4"]
    assert work(option, "part=1/2").code == 0
    assert sorted(made_at(folder)) == ["a.mp4", "b.mp4", "c.mp4", "d.mp4", "e.mp4"]
    assert [record["row"] for record in records(folder, "jobs-0-of-2.jsonl")] == [2, 4, 6]
    assert [record["row"] for record in records(folder, "jobs-1-of-2.jsonl")] == [3, 5]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [{"out": "a.mp4"}, {"out": "b.mp4"}, {"out": "a.mp4"}],
            "rows 2 and 4 both make made/a.mp4; give a column out",
        ),
        ([{"out": "a.mp4"}, {"out": "x/../a.mp4"}], "rows 2 and 3 both make"),
        ([{"out": "a.mp4"}, {"out": "a.gif"}], "rows 2 and 3 both make made/a.config.yaml"),
        ([{"crf": "20"}, {"crf": "21"}], "rows 2 and 3 both make made/cat--me.mp4; give a column out"),
        ([{"out": "a.mp4", "mulitplier": "2"}], "the column mulitplier is no option of lp-animate; see --help"),
        ([{"out": "a.mp4", "edit.smil": "2"}], "the column edit.smil is no option of lp-animate; see --help"),
        ([{"out": "a.mp4", "source_box": "[1,2"}], r"row 2: source_box=\[1,2 cannot be read; mend its brackets"),
        ([], "has no rows"),
    ],
)
def test_a_list_that_makes_no_sense_is_refused_whole(work, listed, folder, rows, message) -> None:
    option = listed(*rows)
    done = work(option)
    assert done.code == 1
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert re.search(message, done.err)
    assert not (folder / "made").exists()


def test_files_that_all_rows_would_write_are_refused(work, listed) -> None:
    option = listed({"out": "a.mp4"}, {"out": "b.mp4"})
    assert "rows 2 and 3 both make same.gif" in work(option, "also=[same.gif]").err
    assert "jobs=none.csv cannot be read" in work("jobs=none.csv").err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("source,driving,source_box\ncat.jpg,me.mp4,[1,2,3,4]\n", "row 2 has more cells than the first line"),
        ("driving\nme.mp4\n", "row 2 has no source; give a column source or the option"),
        ("source,driving\n", "has no rows"),
        ('source,driving\n"cat.jpg,me.mp4\n', "cannot be read"),
        (b"\xff\xfe\x00\x01", "cannot be read"),
    ],
)
def test_a_list_that_cannot_be_read_is_told(config, tmp_path, text, message) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=message) as caught:
        read_jobs(path, config)
    assert str(path) in str(caught.value)


def test_a_list_from_a_spreadsheet_is_read(config, tmp_path) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes("\ufeffsource, driving ,eyes,reference\r\na b.jpg,0,driver,3\r\n\r\nc=d.jpg,e.pkl,,\r\n".encode())
    first, second = read_jobs(path, config)
    assert (first.config.source, first.config.driving, first.config.eyes, first.config.reference) == (
        "a b.jpg", "0", "driver", 3
    )  # fmt: skip
    assert (second.config.source, second.config.eyes, second.config.reference) == ("c=d.jpg", None, "first")
    assert [str(job.out) for job in (first, second)] == ["made/a b--0.mp4", "made/c=d--e.mp4"]
    assert config.eyes is None


@pytest.mark.parametrize("text", ["2/2", "1", "a/b", "-1/2", "0/0", ""])
def test_parts_are_numbers_below_a_number(text) -> None:
    assert part_of("1/4") == (1, 4)
    with pytest.raises(ValueError, match=f"part={text} is not i/n with i from 0 to n-1"):
        part_of(text)


def test_each_device_gets_its_part_of_this_machines_part(monkeypatch, config) -> None:
    from evaluation import jobs

    started = []

    class Process:
        def __init__(self, command: list[str], process_group: int) -> None:
            assert process_group == 0
            started.append(command[3:])

        def wait(self) -> int:
            return len(started) - 2

    monkeypatch.setattr(jobs.subprocess, "Popen", Process)
    config.devices, config.part = ["cuda:0", "cuda:1"], "1/3"
    words = ["jobs=list.csv", "devices=[cuda:0,cuda:1]", "part=1/3", "out=made"]
    jobs.run_jobs(config, words)
    assert [command[:2] for command in started] == [["jobs=list.csv", "out=made"]] * 2
    assert started[0][2:] == ["device=cuda:0", "devices=[]", "part=1/6"]
    assert started[1][2:] == ["device=cuda:1", "devices=[]", "part=4/6"]
    config.devices = "cuda:0"
    with pytest.raises(ValueError, match=r"1 of 1 processes had failures; see jobs-\*\.jsonl"):
        jobs.run_jobs(config, words)


@pytest.mark.slow
def test_two_devices_share_a_list(folder, listed, lively_weights) -> None:
    option = listed(*({"out": f"{name}.mp4", "source": "cat.jpg", "driving": "me.mp4"} for name in "abc"))
    command = [sys.executable, "-m", "evaluation.animate_cli", option, "out=made", f"weights={lively_weights}",
               "devices=[cpu,cpu]", "side_by_side=false", *BOXES]  # fmt: skip
    done = subprocess.run(
        command, cwd=folder, env=os.environ | {"PYTHONPATH": str(REPO)}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert sorted(made_at(folder)) == ["a.mp4", "b.mp4", "c.mp4"]
    assert [len(records(folder, f"jobs-{i}-of-2.jsonl")) for i in range(2)] == [2, 1]


@pytest.mark.slow
def test_ctrl_c_ends_all_devices_and_leaves_no_half_file(folder, listed, driving_video, lively_weights) -> None:
    rows = [{"out": f"{name}.mp4", "source": "cat.jpg", "driving": str(driving_video(3000, sound=False))}
            for name in "ab"]  # fmt: skip
    command = [sys.executable, "-m", "evaluation.animate_cli", listed(*rows), "out=made", "devices=[cpu,cpu]",
               f"weights={lively_weights}", *BOXES]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while len(list(folder.glob("made/*.part"))) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.count("stopped; run the same command again to go on") == 3
    assert sorted(path.name for path in (folder / "made").iterdir()) == ["jobs-0-of-2.jsonl", "jobs-1-of-2.jsonl"]
