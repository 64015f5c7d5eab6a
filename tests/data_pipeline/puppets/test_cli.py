"""`lp-puppets` writes a set from options and names wrong ones in a sentence."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(sys.executable).with_name("lp-puppets")


def run(*options: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run([PROGRAM, *options], cwd=cwd, capture_output=True, text=True, env=env, timeout=120)


def test_options_make_a_set_from_any_folder(tmp_path: Path) -> None:
    done = run("out=set", "identities=1", "seconds=0.4", "species=[cat]", "size_px=64", "workers=1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "next: lp-curate" in done.stdout
    manifest = json.loads((tmp_path / "set" / "manifest.json").read_text())
    assert [entry["identity"] for entry in manifest["files"]] == ["cat-0000"]
    assert (tmp_path / "set" / "config.yaml").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set"], "nothing but out is written"


@pytest.mark.parametrize(
    ("options", "word"), [((), "out"), (("out=x", "species=[cow]"), "cow"), (("out=x", "size_px=9"), "size_px")]
)
def test_wrong_options_are_one_sentence(tmp_path: Path, options: tuple[str, ...], word: str) -> None:
    done = run(*options, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert word in done.stderr
    assert "Traceback" not in done.stderr
