"""Training state <-> numbered files: written whole, read newest first, a damaged one makes way for the one before."""

import contextlib
import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from data_pipeline.whole_file import write_text
from finetune.settings import first_difference, settings_hash

FORMAT = 1
BEST = "best.ckpt"


class CheckpointError(ValueError):
    """No checkpoint can be used or written; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoints:
    """The `checkpoints` folder of one run.

    Raises:
        ValueError: `keep` is below 1.
    """

    folder: Path
    keep: int = 2
    """Newest files that stay."""

    def __post_init__(self) -> None:
        if self.keep < 1:
            raise ValueError(f"keep_last is {self.keep}; give 1 or more (2 survive a damaged newest one)")

    def path(self, step: int) -> Path:
        """File of one step."""
        return self.folder / f"step-{step:07d}.ckpt"

    def found(self) -> list[Path]:
        """Complete files, newest first."""
        files = self.folder.glob("step-*.ckpt") if self.folder.is_dir() else ()
        return sorted((p for p in files if re.fullmatch(r"step-\d+\.ckpt", p.name)), reverse=True)

    def save(self, step: int, state: Mapping[str, Any]) -> Path:
        """Write one; older ones than the last `keep` go only when it is there.

        Raises:
            CheckpointError: the disk is full or not writable; former files are untouched.
        """
        path = self.path(step)
        part = path.with_name(path.name + ".part")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                torch.save({"format": FORMAT, "step": step, **state}, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)  # noqa: PTH105  (house rule: write, then os.replace)
        except (OSError, RuntimeError) as error:
            with contextlib.suppress(OSError):
                part.unlink()
            # torch's writer tells of the system's complaint in its own words; the system's own is its cause.
            reason = error.__context__ if isinstance(error.__context__, OSError) else error
            raise CheckpointError(
                f"{path} could not be written ({' '.join(str(reason).split())[:120]}); free some space and run the "
                f"same command again: it goes on from {self._before(step)}"
            ) from error
        for old in self.found()[self.keep :]:
            old.unlink()
        return path

    def _before(self, step: int) -> str:
        rest = [path for path in self.found() if path != self.path(step)]
        return f"the checkpoint before ({rest[0].name})" if rest else "the beginning"

    def latest(self) -> dict[str, Any] | None:
        """The newest usable state, or None in a fresh folder.

        Raises:
            CheckpointError: there are files, and none can be read.
        """
        files = self.found()
        for path in files:
            try:
                state = torch.load(path, map_location="cpu", weights_only=True)
                if state["format"] != FORMAT:
                    raise ValueError(f"format {state['format']}")
            except Exception as error:  # torch raises many kinds for a damaged file
                reason = " ".join(str(error).split())[:80]
                print(f"checkpoint {path} cannot be read ({reason}); trying the one before", file=sys.stderr)  # noqa: T201
                continue
            return state
        if files:
            raise CheckpointError(f"no checkpoint in {self.folder} can be read; delete the folder to start again")
        return None

    def set_aside_newer(self, step: int) -> None:
        """Give files of later steps, which could not be read, the ending `.damaged`: they must not count as kept."""
        for path in self.found():
            if path > self.path(step):
                os.replace(path, path.with_name(path.name + ".damaged"))  # noqa: PTH105  (a rename, whole or not)

    def mark_best(self, step: int, term: str, score: float) -> bool:
        """Keep a step's file as best.ckpt too, if no step before had a lower score; says whether it is.

        Raises:
            CheckpointError: best.json was changed by hand.
        """
        note = self.folder / "best.json"
        if note.is_file():
            try:
                former = json.loads(note.read_text())
                if former["term"] == term and float(former["score"]) <= score:
                    return False
            except (ValueError, KeyError, TypeError) as error:
                raise CheckpointError(f"{note} cannot be read ({error}); delete it and run again") from error
        part = self.folder / f"{BEST}.part"
        part.unlink(missing_ok=True)
        try:
            os.link(self.path(step), part)
        except OSError:  # some file systems have no links
            import shutil

            shutil.copyfile(self.path(step), part)
        os.replace(part, self.folder / BEST)  # noqa: PTH105  (house rule: write, then os.replace)
        write_text(note, json.dumps({"step": step, "term": term, "score": score}))
        return True


def refuse_other_settings(state: Mapping[str, Any], settings: Mapping[str, str], path: Path) -> None:
    """Compare what a checkpoint was made with and what is asked for now.

    Raises:
        CheckpointError: an option that steps depend on has another value; names the first one.
    """
    before = state.get("settings")
    if not before or settings_hash(before) == settings_hash(settings):
        return
    raise CheckpointError(
        f"{path} cannot be gone on from: {first_difference(before, settings)}; change it back, choose another out=, or "
        "add resume=force to go on all the same"
    )
