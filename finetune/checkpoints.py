"""Training state <-> numbered files: written whole, read newest first, a damaged one makes way for the one before."""

import contextlib
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

FORMAT = 1


class CheckpointError(ValueError):
    """No checkpoint can be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoints:
    """The `checkpoints` folder of one run."""

    folder: Path
    keep: int = 2

    def path(self, step: int) -> Path:
        """File of one step."""
        return self.folder / f"step-{step:07d}.ckpt"

    def found(self) -> list[Path]:
        """Complete files, newest first."""
        files = self.folder.glob("step-*.ckpt") if self.folder.is_dir() else ()
        return sorted((p for p in files if re.fullmatch(r"step-\d+\.ckpt", p.name)), reverse=True)

    def save(self, step: int, state: dict[str, Any]) -> Path:
        """Write one; older ones than the last `keep` go only when it is there.

        Raises:
            CheckpointError: the disk is full or not writable; former files are untouched.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.path(step)
        part = path.with_name(path.name + ".part")
        try:
            with part.open("wb") as file:
                torch.save({"format": FORMAT, "step": step, **state}, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)  # noqa: PTH105  (house rule: write, then os.replace)
        except (OSError, RuntimeError) as error:
            with contextlib.suppress(OSError):
                part.unlink()
            raise CheckpointError(
                f"{path} could not be written ({error}); free some space and run the same command again: it goes on "
                "from the checkpoint before"
            ) from error
        for old in self.found()[self.keep :]:
            old.unlink()
        return path

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
