"""Places in media files, and samples in shards -> small pictures, without decoding more than a few frames each."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from data_pipeline.candidates import Candidate
from data_pipeline.crop import warp_crop
from data_pipeline.media import MediaError, read_frames
from data_pipeline.photo import decode_jpeg
from data_pipeline.report_numbers import Tile, file_of
from data_pipeline.shards import read_group
from data_pipeline.video import read_frames as read_video

Picture = UInt8[np.ndarray, "H W 3"]


def of_sample(tile: Tile) -> Picture:
    """First frame of a packed sample."""
    members = read_group(tile.shard, tile.offset).members
    return decode_jpeg(members["jpg"]) if "jpg" in members else next(read_video(members["mp4"]))


def of_candidate(one: Candidate, side_px: int) -> Picture | None:
    """First frame of a crop that was measured, cut out of its file again; None where the file is gone."""
    frame = of_place(one.place)
    if frame is None or not one.square:
        return frame
    square = np.array(one.square, np.float32).reshape(2, 3)
    zoom = one.side_px / side_px
    square[:, 2] += square[:, :2] @ np.full(2, (zoom - 1) / 2, np.float32)  # pixel centres
    square[:, :2] *= zoom
    return warp_crop(frame, square, side_px)


def of_place(place: str) -> Picture | None:
    """The frame at path#frame12, or the first one; None where the file is gone or cannot be read."""
    path = Path(file_of(place))
    number = int(place.rpartition("#frame")[2]) if "#frame" in place else 0
    try:
        return next(read_frames(path, number, number + 1), None)
    except (MediaError, OSError):
        return None
