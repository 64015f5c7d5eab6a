"""A run -> Weights & Biases, online or as an offline run to be sent later."""

import os
import uuid
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from finetune.loggers.run_logger import Film, RunLogger

MODES = ("auto", "online", "offline")


class WandbRun(RunLogger):
    """Offline runs lie in `save_dir`/wandb; `wandb sync` sends them. A resumed run goes on under its old id.

    Args:
        save_dir: the run's folder.
        project: on the server.
        run_name: on the server; null lets it choose.
        mode: online, offline, or auto: what WANDB_MODE says, else online where WANDB_API_KEY is set.

    Raises:
        ValueError: the mode is none of these.
    """

    def __init__(
        self, save_dir: str, project: str = "pawtrait", run_name: str | None = None, mode: str = "auto"
    ) -> None:
        super().__init__()
        if mode not in MODES:
            raise ValueError(f"logger.mode is {mode!r}; give {', '.join(MODES)}")
        self.folder, self.project, self.run_name = Path(save_dir), project, run_name
        self.mode = mode if mode != "auto" else os.environ.get("WANDB_MODE") or _by_key()

    @property
    def name(self) -> str:
        """The project's."""
        return self.project

    @cached_property
    def run(self) -> Any:  # noqa: ANN401  (wandb is imported only when a run begins)
        """The run, begun when the first thing is sent.

        Raises:
            ValueError: the server cannot be reached, or refuses.
        """
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        self.folder.mkdir(parents=True, exist_ok=True)
        quiet = wandb.Settings(quiet=True, silent=True, console="off", x_disable_stats=True)
        try:
            return wandb.init(
                project=self.project, name=self.run_name, id=self._run_id(), dir=str(self.folder), mode=self.mode,  # pyright: ignore[reportArgumentType]
                resume="allow" if self.mode == "online" else None, settings=quiet,
            )  # fmt: skip
        except wandb.Error as error:
            raise ValueError(f"logger=wandb: {error}; go on without a server with logger.mode=offline") from error

    def _run_id(self) -> str:
        path = self.folder / "wandb_run_id.txt"
        if not path.is_file():
            part = path.with_name(path.name + ".part")
            part.write_text(uuid.uuid4().hex[:12])
            part.replace(path)
        return path.read_text().strip()

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Curves over steps of the networks."""
        self.run.log(dict(values), step=step)

    def pictures(self, pictures: Mapping[str, UInt8[np.ndarray, "H W 3"]], step: int) -> None:
        """Media panels."""
        import wandb

        self.run.log({name: wandb.Image(image) for name, image in pictures.items()}, step=step)

    def videos(self, films: Mapping[str, Film], step: int) -> None:
        """The mp4 files themselves."""
        import wandb

        self.run.log({name: wandb.Video(str(film.path), format="mp4") for name, film in films.items()}, step=step)

    def texts(self, texts: Mapping[str, str]) -> None:
        """One artifact with the files."""
        import wandb

        artifact = wandb.Artifact(f"inputs-{self._run_id()}", type="inputs")
        for name, text in texts.items():
            with artifact.new_file(name, encoding="utf-8") as file:
                file.write(text)
        self.run.log_artifact(artifact)

    def finalize(self, status: str) -> None:
        """End the run, if it has begun."""
        if "run" in self.__dict__:
            self.run.finish(exit_code=0 if status == "success" else 1)
            del self.run


def _by_key() -> str:
    return "online" if os.environ.get("WANDB_API_KEY") else "offline"
