"""A pair -> frames that somebody else's method made before: one video for each pair in a folder."""

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from data_pipeline import video
from evaluation.pair_folder import file_name
from evaluation.protocols.pairs import PairFrames
from evaluation.side_by_side import resized

SUFFIX = ".mp4"
NOT_METHODS = ("pairs", "truth")
"""Folders beside the predictions that hold what was asked and what is right."""
FPS_TOLERANCE = 0.01
"""Relative; containers round rates."""


class External:
    """Reads `<folder>/<pair>.mp4`.

    Args:
        folder: of one method.
        name: in tables; None takes the folder's.
        resize: accept squares of another size, and scale them.

    Raises:
        ValueError: there is no such folder.
    """

    def __init__(self, folder: Path, name: str | None = None, *, resize: bool = False) -> None:
        if not folder.is_dir():
            raise ValueError(f"{folder} is not a folder; give the predictions of a method, one <pair>{SUFFIX} each")
        self.folder = folder
        self.name = name or folder.name
        self.resize = resize
        count = sum(1 for _ in folder.glob(f"*{SUFFIX}"))
        self.about: dict[str, Any] = {"kind": "external", "folder": str(folder), "files": count, "resize": resize}

    @staticmethod
    def all_in(folder: Path, *, resize: bool = False) -> "list[External]":
        """The methods of `<folder>/<method>/<pair>.mp4`, by name, or the one whose predictions lie in it.

        Raises:
            ValueError: there is no prediction.
        """
        if not folder.is_dir():
            raise ValueError(f"methods.external={folder} is not a folder; give one that holds <method>/<pair>{SUFFIX}")
        if any(folder.glob(f"*{SUFFIX}")):
            return [External(folder, resize=resize)]
        found = [one for one in sorted(folder.iterdir()) if one.is_dir() and one.name not in NOT_METHODS]
        methods = [External(one, resize=resize) for one in found if any(one.glob(f"*{SUFFIX}"))]
        if not methods:
            raise ValueError(f"methods.external={folder} holds no prediction; put them at <method>/<pair>{SUFFIX}")
        return methods

    def path(self, pair_id: str) -> Path:
        """Where the prediction of a pair must lie."""
        return self.folder / f"{file_name(pair_id)}{SUFFIX}"

    def __call__(self, pair: PairFrames) -> UInt8[np.ndarray, "T S S 3"]:
        """The predicted frames.

        Raises:
            ValueError: the video is missing, cannot be read, or is of another length, rate or size.
        """
        path, count, side_px = self.path(pair.pair_id), len(pair.driving), pair.source.shape[0]
        if not path.is_file():
            raise ValueError(f"{path} is missing; a prediction must be there for every pair")
        frames = list(islice(video.read_frames(path), count + 1))
        if len(frames) != count:
            has = "more" if len(frames) > count else f"only {len(frames)}"
            raise ValueError(f"{path} has {has} frames, the driver has {count}; make one for each of the driver's")
        fps = float(video.read_info(path).fps)
        if pair.fps and abs(fps - pair.fps) > FPS_TOLERANCE * pair.fps:
            raise ValueError(f"{path} plays at {fps:g} frames a second, the driver at {pair.fps:g}; make them equal")
        height, width, _ = frames[0].shape
        if (height, width) != (side_px, side_px):
            if not self.resize or height != width:
                raise ValueError(
                    f"{path} is {width}x{height} px, the pair {side_px}x{side_px}; make squares of that size"
                    + (", or accept others with methods.external_resize=true" if height == width else "")
                )
            frames = [resized(frame, side_px) for frame in frames]
        return np.stack(frames)
