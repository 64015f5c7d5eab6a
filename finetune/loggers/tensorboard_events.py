"""A run -> TensorBoard's event files."""

import io
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from finetune.loggers.run_logger import Film, RunLogger

GIF_FRAMES = 40
"""TensorBoard plays GIFs only, which are large: longer videos are thinned out to so many frames."""


class TensorBoardEvents(RunLogger):
    """Events lie in `save_dir`/`folder`.

    Raises:
        ValueError: tensorboard is not installed.
    """

    def __init__(self, save_dir: str, folder: str = "tensorboard") -> None:
        super().__init__()
        self.folder = Path(save_dir) / folder
        try:
            import tensorboard  # noqa: F401  # pyright: ignore[reportMissingImports]  (only to see whether it is there)
        except ModuleNotFoundError as error:
            raise ValueError("logger=tensorboard needs the package: pip install 'pawtrait[tensorboard]'") from error

    @property
    def name(self) -> str:
        """The folder's."""
        return self.folder.name

    @cached_property
    def writer(self) -> Any:  # noqa: ANN401  (tensorboard is imported only when something is written)
        """Opened when the first thing is sent."""
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(self.folder))

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Curves over steps of the networks."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def pictures(self, pictures: Mapping[str, UInt8[np.ndarray, "H W 3"]], step: int) -> None:
        """The images tab."""
        for name, image in pictures.items():
            self.writer.add_image(name, image, step, dataformats="HWC")

    def videos(self, films: Mapping[str, Film], step: int) -> None:
        """GIFs in the images tab; `add_video` would need moviepy."""
        from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportMissingImports]

        for name, film in films.items():
            height, width = film.frames.shape[1:3]
            image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=gif(film))
            self.writer._get_file_writer().add_summary(Summary(value=[Summary.Value(tag=name, image=image)]), step)

    def texts(self, texts: Mapping[str, str]) -> None:
        """The text tab, unformatted."""
        for name, text in texts.items():
            self.writer.add_text(name, "\n".join(f"    {line}" for line in text.splitlines()), 0)

    def finalize(self, status: str) -> None:
        """Write what is left, if anything was."""
        if "writer" in self.__dict__:
            self.writer.close()
            del self.writer


def gif(film: Film) -> bytes:
    """A film -> an animated GIF of at most GIF_FRAMES frames that plays as long."""
    from PIL import Image

    every = -(-len(film.frames) // GIF_FRAMES)
    images = [Image.fromarray(frame) for frame in film.frames[::every]]
    buffer = io.BytesIO()
    images[0].save(buffer, "GIF", save_all=True, append_images=images[1:], duration=1000 * every / film.fps, loop=0)
    return buffer.getvalue()
