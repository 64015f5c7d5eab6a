"""A held-out clip, driven again and again -> sample videos: source | driving | output | target."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import lightning
import numpy as np
from jaxtyping import UInt8

from data_pipeline.video_writer import write_video
from finetune.callbacks.on_time import OnTime
from finetune.held_out_clip import HeldOutClip
from finetune.insight import CHUNK_ROWS, on
from finetune.loggers import Film, loggers_of
from finetune.micro_batches import rows
from finetune.picture_files import side_by_side, to_bytes

SIDE_PX = 256


@dataclass(kw_only=True, eq=False)
class Samples(OnTime):
    """Each `every` steps an mp4 in `folder`, and to the loggers; 0 for never."""

    folder: Path
    clip: HeldOutClip

    def look(self, trainer: lightning.Trainer, step: int) -> None:
        """Film."""
        film = Film(self.folder / f"step-{step:07d}.mp4", self.frames(), self.clip.fps)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_video(film.path, film.frames, Fraction(film.fps).limit_denominator(1000), crf=20)
        for logger in loggers_of(trainer):
            logger.videos({"samples/video": film}, step)

    def frames(self) -> UInt8[np.ndarray, "T H W 3"]:
        """The clip as the module drives it now."""
        found, batch = [], self.clip.batch
        for first in range(0, len(batch.source), CHUNK_ROWS):
            part = rows(batch, first, first + CHUNK_ROWS)
            output = self.module.preview(on(part, self.module.device))
            columns = [to_bytes(images, SIDE_PX) for images in (part.source, part.driving, output, part.target)]
            found.append(side_by_side(columns))
        return np.concatenate(found)
