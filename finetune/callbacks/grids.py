"""The same rows again and again -> pictures: frames, keypoints on them, and how the warping network bends space."""

from dataclasses import dataclass
from pathlib import Path

import lightning
import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from finetune.callbacks.on_time import OnTime
from finetune.drawings import marked, occlusion_map, warped_grid
from finetune.insight import Insight, look, on
from finetune.loggers import loggers_of
from finetune.pairs import Annotation, Batch
from finetune.picture_files import below_each_other, save_png, side_by_side, to_bytes
from finetune.recipe import Recipe

SIDE_PX = 192
CLOSE_PX = 256
"""Of pictures with drawings on them."""


@dataclass(kw_only=True, eq=False)
class Grids(OnTime):
    """Each `every` steps, as PNG and to the loggers; 0 for never.

    step-N.png: source | driving | output | target. step-N-keypoints.png: the first three, with keypoints and landmarks.
    step-N-warp.png: output | the source's square grid as the flow moves it | occlusion.
    """

    folder: Path
    batch: Batch
    close_rows: int = 6
    """So many rows have keypoints and warps."""

    def look(self, trainer: lightning.Trainer, step: int) -> None:
        """Draw."""
        pictures = self.draw()
        for name, picture in pictures.items():
            suffix = "" if name == "grid" else f"-{name}"
            save_png(self.folder / f"step-{step:07d}{suffix}.png", picture)
        for logger in loggers_of(trainer):
            logger.pictures({f"samples/{name}": picture for name, picture in pictures.items()}, step)

    def draw(self) -> dict[str, UInt8[np.ndarray, "H W 3"]]:
        """The pictures by name."""
        output = self.module.preview(on(self.batch, self.module.device)).cpu()
        seen = look(self.module, self.batch)
        guided = guided_keypoints(self.module)
        return {
            "grid": grid(self.batch, output),
            "keypoints": keypoint_picture(self.batch, seen, guided, self.close_rows),
            "warp": warp_picture(seen, self.close_rows),
        }


def grid(batch: Batch, output: Tensor, side_px: int = SIDE_PX) -> UInt8[np.ndarray, "H W 3"]:
    """Rows of source, driving, output, target."""
    columns = [to_bytes(images, side_px) for images in (batch.source, batch.driving, output, batch.target)]
    return below_each_other(side_by_side(columns))


def keypoint_picture(
    batch: Batch, seen: Insight, guided: list[int], num_rows: int
) -> UInt8[np.ndarray, "H W 3"]:  # fmt: skip
    """Keypoints and known landmarks on source, driving and output; the output's landmarks are those of the target."""
    columns = (
        (batch.source, seen.kp_source, batch.source_truth),
        (batch.driving, seen.kp_driving_own, batch.driving_truth),
        (seen.image, seen.kp_output, batch.target_truth),
    )
    drawn = []
    for images, keypoints, truth in columns:
        pixels = to_bytes(images[:num_rows], CLOSE_PX)
        cells = [
            marked(image, keypoints[i].numpy(), known_marks(truth, i, bool(batch.has_truth[i])), guided)
            for i, image in enumerate(pixels)
        ]
        drawn.append(np.stack(cells))
    return below_each_other(side_by_side(drawn))


def known_marks(truth: Annotation, row: int, is_exact: bool) -> np.ndarray:
    """The landmarks of a row where they are exact, else the five points."""
    return (truth.landmarks if is_exact else truth.points)[row].cpu().numpy()


def warp_picture(seen: Insight, num_rows: int) -> UInt8[np.ndarray, "H W 3"]:
    """Output | grid | occlusion."""
    pixels = to_bytes(seen.image[:num_rows], CLOSE_PX)
    bent = np.stack([warped_grid(image, seen.flow[i].numpy()) for i, image in enumerate(pixels)])
    hidden = np.stack([occlusion_map(seen.occlusion[i, 0].numpy(), CLOSE_PX) for i in range(len(pixels))])
    return below_each_other(side_by_side([pixels, bent, hidden]))


def guided_keypoints(module: Recipe) -> list[int]:
    """Those that the recipe ties to landmarks; none where it does not say."""
    guidance = getattr(getattr(module, "objective", None), "guidance", None)
    return [] if guidance is None else guidance.keypoints
