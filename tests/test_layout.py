"""The promises of docs/architecture.md that a machine can check: file names, imports, start-up cost."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent
PACKAGES = ("conf", "data_pipeline", "lp_models", "finetune", "evaluation")
VAGUE = {"utils", "util", "helpers", "helper", "common", "base", "misc"}
HEAVY = ("ultralytics", "albumentations", "wandb", "mediapipe", "gradio", "lightning", "matplotlib")


def modules() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (REPO / package).rglob("*.py"))


def test_no_file_has_a_vague_name() -> None:
    assert [path for path in modules() if path.stem in VAGUE] == []


def test_every_module_says_what_it_is() -> None:
    silent = [path for path in modules() if not path.read_text().lstrip().startswith('"""')]
    assert silent == []


def test_import_contracts_hold() -> None:
    done = subprocess.run([Path(sys.executable).with_name("lint-imports")], cwd=REPO, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("package", ["lp_models", "data_pipeline", "finetune", "evaluation"])
def test_importing_a_package_loads_nothing_heavy(package: str) -> None:
    code = f"import sys, {package}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_ultralytics_is_imported_in_one_file_only() -> None:
    users = [
        path.relative_to(REPO).as_posix()
        for path in modules()
        if "import ultralytics" in (text := path.read_text()) or "from ultralytics" in text
    ]
    assert set(users) <= {"data_pipeline/yolo.py"}


def test_albumentations_is_imported_in_one_file_only() -> None:
    users = [path.relative_to(REPO).as_posix() for path in modules() if "import albumentations" in path.read_text()]
    assert set(users) <= {"finetune/augment.py"}


def test_every_program_has_its_function() -> None:
    scripts = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["scripts"]
    for program, target in scripts.items():
        module, function = target.split(":")
        source = (REPO / Path(*module.split("."))).with_suffix(".py")
        assert source.exists(), f"{program} names {source}, which is not there"
        assert f"def {function}(" in source.read_text(), f"{source} has no function {function}"


def test_constraints_hold_no_address() -> None:
    assert "://" not in (REPO / "constraints.txt").read_text()
