"""Frames of a crop -> whether they repeat, and whether anything happens beside a moving camera."""

import cv2
import numpy as np
from jaxtyping import UInt8

_STEP_PX = 8
_SAME_GREY = 0.25
_COMPARED_PX = 128
"""A quarter of the time of 256, and grain averages out."""
_FEATURES = 60
_FEWEST = 8


def frozen_frac(frames: UInt8[np.ndarray, "T S S 3"]) -> float:
    """Share of neighbouring frames that are the same picture.

    Source: the definition, on every 8th pixel of the green channel; "same" is a mean difference below 0.25 grey
    levels, which skipped blocks of a video codec stay under and film grain does not.

    Returns:
        0 to 1; 0 for a still.
    """
    if len(frames) < 2:
        return 0.0
    small = frames[:, ::_STEP_PX, ::_STEP_PX, 1].astype(np.int16)
    return float((np.abs(np.diff(small, axis=0)).mean(axis=(1, 2)) < _SAME_GREY).mean())


def change_grey(greys: list[np.ndarray]) -> float:
    """How much the picture changes beyond pan, zoom and rotation.

    Every picture is laid over the first by the similarity that most tracked corners agree on (Lucas-Kanade, RANSAC);
    a photo shown as a clip, with or without a moving camera, then leaves only noise and what resampling blurs.

    Args:
        greys: u8[H,W], evenly spread over the clip.

    Returns:
        Mean absolute grey levels of the most different one of every other picture, 0 to 255; 0 for a still.
    """
    if len(greys) < 2:
        return 0.0
    size = (_COMPARED_PX, _COMPARED_PX)
    few = [*greys[:-1:2], greys[-1]]
    greys = [cv2.resize(grey, size, interpolation=cv2.INTER_AREA) for grey in few]
    first = greys[0]
    corners = cv2.goodFeaturesToTrack(first, _FEATURES, 0.02, 3)
    return max(_left_over(first, other, corners) for other in greys[1:])


def _left_over(first: np.ndarray, other: np.ndarray, corners: np.ndarray | None) -> float:
    plain = float(cv2.absdiff(first, other).mean())
    if corners is None or len(corners) < _FEWEST:
        return plain
    moved, found, _ = cv2.calcOpticalFlowPyrLK(first, other, corners, None)  # pyright: ignore[reportCallIssue, reportArgumentType]
    good = found[:, 0] == 1
    if good.sum() < _FEWEST:
        return plain
    similarity, _ = cv2.estimateAffinePartial2D(corners[good], moved[good], ransacReprojThreshold=0.7)
    if similarity is None:
        return plain
    height, width = first.shape
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    back = cv2.warpAffine(other, similarity, (width, height), flags=flags)
    inside = cv2.erode(cv2.warpAffine(np.full_like(other, 255), similarity, (width, height), flags=flags), None) == 255  # pyright: ignore[reportCallIssue, reportArgumentType]
    # A tenth is cut away on each side: what enters the picture from outside is no change.
    inside[: height // 10] = inside[-height // 10 :] = False
    return min(plain, float(cv2.absdiff(first, back)[inside].mean())) if inside.any() else plain
