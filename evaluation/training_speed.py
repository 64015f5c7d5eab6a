"""Shards -> how quick training is: the table of `python -m finetune.step_benchmark`, run as a program of its own.

This package may not import finetune (they meet in weights directories), and a fresh process measures memory better.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PROGRAM = (sys.executable, "-m", "finetune.step_benchmark")


def measured_training(shards: Path | None, options: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Run the program, which prints its tables, and return its numbers.

    Args:
        shards: what lp-curate wrote; None renders and curates a few puppets.
        options: of the program.
        folder: for files that are not kept.

    Raises:
        ValueError: a program failed; its own message is already on the screen.
    """
    given = shards or puppet_shards(folder)
    out = folder / "training.json"
    words = [f"{name}={value}" for name, value in options.items()]
    _run([*PROGRAM, f"shards={given}", f"out={out}", *words])
    return json.loads(out.read_text())


def puppet_shards(folder: Path) -> Path:
    """A few clips and stills of puppets of two species, in pairs that play the same, as shards of 256 px."""
    bin_dir, media, shards = Path(sys.executable).parent, folder / "puppets", folder / "shards"
    _run([
        str(bin_dir / "lp-puppets"), f"out={media}", "identities=2", "clips=2", "stills=1", "seconds=1.6",
        "species=[human,cat]", "seed=5",
    ])  # fmt: skip
    _run([
        str(bin_dir / "lp-curate"), f"source.path={media}", f"out={shards}", "curation.cropper.side_px=256",
        "duplicates.drop=false",
    ])  # fmt: skip
    return shards


def _run(command: Sequence[str]) -> None:
    # What was printed so far comes first on the screen.
    sys.stdout.flush()
    code = subprocess.run(list(command), check=False).returncode
    if code:
        raise ValueError(f"{' '.join(command)} failed with exit code {code}; its message is above")
