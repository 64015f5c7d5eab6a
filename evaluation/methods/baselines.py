"""A pair -> frames without any network: what a network must beat."""

from typing import Any

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from evaluation.protocols.pairs import PairFrames
from evaluation.similarity import similarity


class CopySource:
    """Does nothing: the source, again and again. What does not beat it has learnt nothing."""

    name = "copy source"
    about: dict[str, Any] = {"kind": "baseline"}  # noqa: RUF012 - a constant

    def __call__(self, pair: PairFrames) -> UInt8[np.ndarray, "T S S 3"]:
        """The source for every frame."""
        return np.repeat(pair.source[None], len(pair.driving), axis=0)


class SimilarityWarp:
    """Moves the whole source picture as the driver's five points move: shift, turn and zoom, no expression."""

    name = "similarity warp"
    about: dict[str, Any] = {"kind": "baseline"}  # noqa: RUF012

    def __call__(self, pair: PairFrames) -> UInt8[np.ndarray, "T S S 3"]:
        """Warped sources; the source itself where points are unknown."""
        if pair.source_points is None or pair.driving_points is None:
            return CopySource()(pair)
        frames = []
        for wanted in transferred(pair.source_points, pair.driving_points):
            warped = cv2.warpAffine(
                pair.source, similarity(pair.source_points, wanted), pair.source.shape[1::-1],
                flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE,
            )  # fmt: skip
            frames.append(warped)
        return np.stack(frames)


def transferred(
    source: Float32[np.ndarray, "L 2"], driving: Float32[np.ndarray, "T L 2"]
) -> Float32[np.ndarray, "T L 2"]:
    """Where the source's points go: the driver's motion since its first frame, in units of the face's size."""
    rest = driving[0]
    ratio = _spread(source) / max(1e-6, _spread(rest))
    return (source + (driving - rest) * np.float32(ratio)).astype(np.float32)


def _spread(points: np.ndarray) -> float:
    return float(np.linalg.norm(points - points.mean(axis=0)))
