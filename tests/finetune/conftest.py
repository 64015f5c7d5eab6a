"""Tiny shards written by hand (contract: docs/data.md) and tiny networks."""

import io
import json
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import webdataset as wds

from finetune.clips import NUM_LANDMARKS

SIDE = 64
FRAMES = 6


def face(species: str, shift: float, colour: int) -> np.ndarray:
    """A smooth picture with a bright head that moves with `shift` (fractions of the side)."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    head = np.exp(-((x - 0.5 - shift) ** 2 + (y - 0.5) ** 2) / 0.05)
    base = np.stack([x, y, np.full_like(x, colour / 255)], -1) * 0.4
    tint = {"human": (1.0, 0.7, 0.6), "cat": (0.5, 0.5, 0.5)}[species]
    return (np.clip(base + head[..., None] * np.array(tint) * 0.6, 0, 1) * 255).astype(np.uint8)


def points_at(shift: float) -> np.ndarray:
    base = np.array([[0.38, 0.42], [0.62, 0.42], [0.5, 0.55], [0.42, 0.68], [0.58, 0.68]])
    return ((base + np.array([shift, 0])) * SIDE).astype(np.float32)


def encode(frames: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(25))
        stream.height = stream.width = SIDE
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "15", "threads": "1", "g": "1"}
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


def truth(shifts: np.ndarray, labels: bool) -> dict[str, np.ndarray]:
    num = len(shifts)
    marks = np.full((num, NUM_LANDMARKS, 2), SIDE / 2, np.float32)
    marks[..., 0] += np.linspace(-10, 10, NUM_LANDMARKS, dtype=np.float32) + shifts[:, None] * SIDE
    arrays = {
        "points": np.stack([points_at(s) for s in shifts]),
        "landmarks": marks,
        "landmark_visible": np.ones((num, NUM_LANDMARKS), bool),
        "eye_open": np.tile(np.array([0.2, 0.4], np.float32), (num, 1)),
        "lip_open": np.linspace(0, 0.5, num, dtype=np.float32),
        # The yaw encodes the native frame, so that tests can tell which frame they were given.
        "pose_deg": np.stack([np.zeros(num), np.arange(num) * 2.0, np.zeros(num)], 1).astype(np.float32),
    }
    if labels:
        arrays["labels"] = np.zeros((num, SIDE, SIDE), np.uint8)
        arrays["labels"][:, 48:] = 1
        arrays["labels"][:, 16:48, 16:48] = 2
    return arrays


def sample(key: str, species: str, *, kind: str = "video", performance: str = "", start: int = 0, exact: bool = True,
           read: bool = False, split: str = "train", colour: int = 100, num: int = FRAMES) -> dict:  # fmt: skip
    num = num if kind == "video" else 1
    shifts = 0.02 * (np.arange(start, start + num) - 2)
    frames = np.stack([face(species, s, colour) for s in shifts])
    card = {
        "key": key, "split": split, "species": species, "kind": kind, "num_frames": num, "start": start, "fps": 25.0,
        "side_px": SIDE, "points": [points_at(s).tolist() for s in shifts],
        "source_from_crop": [[[1, 0, 0], [0, 1, 0]]] * num, "source_id": key, "identity": key, "licence": "",
        "performance": performance, "origin": "", "quality": {},
    }  # fmt: skip
    members = {"__key__": key, "json": json.dumps(card).encode()}
    if kind == "video":
        members["mp4"] = encode(frames)
    else:
        members["jpg"] = cv2.imencode(".jpg", frames[0][..., ::-1])[1].tobytes()
    if exact or read:
        buffer = io.BytesIO()
        arrays = truth(shifts, labels=True)
        arrays["pose_deg"][:, 1] = np.arange(start, start + num) * 2.0
        if read:  # by a landmark detector
            arrays = {name: array for name, array in arrays.items() if name not in ("pose_deg", "labels")}
        np.savez_compressed(buffer, **arrays)
        members["truth.npz"] = buffer.getvalue()
    return members


def write_shards(folder: Path, samples: list[dict], split: str = "train") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with wds.TarWriter(str(folder / f"{split}-00000.tar")) as writer:
        for members in samples:
            writer.write(members)
    return folder


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two puppets in one performance (one starts later), a real clip of each species, a still."""
    folder = tmp_path_factory.mktemp("shards")
    write_shards(folder, [
        sample("cat-1", "cat", performance="p", colour=40),
        sample("human-1", "human", performance="p", start=2, colour=200),
        sample("cat-real", "cat", exact=False, colour=90),
        sample("human-real", "human", exact=False, colour=150),
        sample("cat-still", "cat", kind="image"),
        sample("human-still", "human", kind="image", exact=False),
    ])  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps({"format": 1, "counts": {"split": {"train": 6}}, "seed": 0}))
    return folder
