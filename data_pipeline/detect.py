"""Frames -> heads: species, box, five points and scores, from the shipped ONNX model or from a file of boxes."""

import csv
import functools
import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from data_pipeline.records import FLIPPED_POINTS, SPECIES, Detection, Species

if TYPE_CHECKING:
    import onnxruntime

Frame = UInt8[np.ndarray, "_ _ 3"]
"""RGB; the frames of one list may differ in size."""
PAD_GREY = 114
"""Grey level around a letterboxed frame; training pads with the same."""
STARTER = Path(__file__).parent / "starter" / "head_detector.onnx"


class DetectorError(ValueError):
    """A detector that cannot run: names the file, what is wrong with it and what to do."""


@runtime_checkable
class HeadDetector(Protocol):
    """What curation, cropping and driving need of a detector."""

    def __call__(self, frames: list[Frame], first_frame: int = 0) -> list[list[Detection]]:
        """Heads of each frame, best first; `Detection.frame` counts from first_frame."""
        ...


class Letterbox(NamedTuple):
    """A frame scaled into the middle of a square, and the way back: source = (square - pad) / scale."""

    square: UInt8[np.ndarray, "S S 3"]
    scale_xy: Float32[np.ndarray, "2"]
    pad_xy: Float32[np.ndarray, "2"]

    def to_source(self, points_xy: Float32[np.ndarray, "*N 2"]) -> Float32[np.ndarray, "*N 2"]:
        """Square pixels -> frame pixels."""
        return ((points_xy - self.pad_xy) / self.scale_xy).astype(np.float32)

    def from_source(self, points_xy: Float32[np.ndarray, "*N 2"]) -> Float32[np.ndarray, "*N 2"]:
        """Frame pixels -> square pixels."""
        return (points_xy * self.scale_xy + self.pad_xy).astype(np.float32)


def letterbox(frame: Frame, side_px: int) -> Letterbox:
    """Scale the frame's longer side to side_px and pad the shorter one evenly with grey."""
    height, width = frame.shape[:2]
    if height == 0 or width == 0:
        raise DetectorError(f"a frame of {width}x{height} pixels has nothing to detect")
    scale = side_px / max(height, width)
    new_w, new_h = max(1, round(width * scale)), max(1, round(height * scale))
    area = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    square = np.full((side_px, side_px, 3), PAD_GREY, np.uint8)
    left, top = (side_px - new_w) // 2, (side_px - new_h) // 2
    square[top : top + new_h, left : left + new_w] = cv2.resize(frame, (new_w, new_h), interpolation=area)
    scale_xy = np.array([new_w / width, new_h / height], np.float32)
    return Letterbox(square, scale_xy, np.array([left, top], np.float32))


def box_iou(boxes_a: Float32[np.ndarray, "N 4"], boxes_b: Float32[np.ndarray, "M 4"]) -> Float32[np.ndarray, "N M"]:
    """Intersection over union of xyxy boxes, every a with every b; 0 for empty boxes."""
    low = np.maximum(boxes_a[:, None, :2], boxes_b[None, :, :2])
    high = np.minimum(boxes_a[:, None, 2:], boxes_b[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=-1)
    area_a = np.prod(np.maximum(boxes_a[:, 2:] - boxes_a[:, :2], 0), axis=-1)
    area_b = np.prod(np.maximum(boxes_b[:, 2:] - boxes_b[:, :2], 0), axis=-1)
    union = area_a[:, None] + area_b[None] - shared
    return np.where(union > 0, shared / np.maximum(union, 1e-9), 0).astype(np.float32)


def suppress(boxes: Float32[np.ndarray, "N 4"], scores: Float32[np.ndarray, " N"], max_iou: float) -> list[int]:
    """Greedy non-maximum suppression over all species together (one head is one animal): kept indices, best first."""
    order = list(np.argsort(-scores, kind="stable"))
    kept: list[int] = []
    while order:
        best = int(order.pop(0))
        kept.append(best)
        if order:
            overlap = box_iou(boxes[best : best + 1], boxes[order])[0]
            order = [index for index, iou in zip(order, overlap, strict=True) if iou <= max_iou]
    return kept


class Heads(NamedTuple):
    """Decoded heads of one square, in its pixels, best first."""

    boxes: Float32[np.ndarray, "N 4"]
    scores: Float32[np.ndarray, "N C"]
    points: Float32[np.ndarray, "N 5 2"]
    point_scores: Float32[np.ndarray, "N 5"]


def decode(
    output: Float32[np.ndarray, "F A"], num_classes: int, threshold: float, max_iou: float, max_heads: int = 50
) -> Heads:
    """Raw output of a YOLO-pose network for one image -> heads above the threshold after suppression.

    Rows of `output`: centre x, centre y, width, height (pixels), one score per class, then x, y, score per point.
    """
    scores = output[4 : 4 + num_classes].T
    best = scores.max(axis=1)
    chosen = np.flatnonzero(best >= threshold)
    chosen = chosen[np.argsort(-best[chosen], kind="stable")][:1000]
    rows = output[:, chosen].T
    centre, size = rows[:, :2], rows[:, 2:4]
    boxes = np.concatenate([centre - size / 2, centre + size / 2], axis=1)
    kept = suppress(boxes, best[chosen], max_iou)[:max_heads]
    points = rows[kept, 4 + num_classes :].reshape(-1, 5, 3)
    return Heads(boxes[kept], scores[chosen][kept], points[..., :2], points[..., 2])


def mirrored(heads: Heads, side_px: int) -> Heads:
    """Heads found in the mirror image of a square, moved back onto the square itself."""
    boxes = heads.boxes.copy()
    boxes[:, [0, 2]] = side_px - heads.boxes[:, [2, 0]]
    order = list(FLIPPED_POINTS)
    points = heads.points[:, order].copy()
    points[..., 0] = side_px - points[..., 0]
    return Heads(boxes, heads.scores, points, heads.point_scores[:, order])


def merged(first: Heads, second: Heads, min_iou: float) -> Heads:
    """Two readings of the same square as one: matching heads are averaged, a head seen once keeps half its score."""
    overlap = box_iou(first.boxes, second.boxes)
    rows: list[tuple[np.ndarray, ...]] = []
    free = set(range(len(second.boxes)))
    for index in range(len(first.boxes)):
        partner = max(free, key=lambda j, i=index: overlap[i, j], default=None)
        if partner is not None and overlap[index, partner] >= min_iou:
            free.remove(partner)
            rows.append(tuple((a[index] + b[partner]) / 2 for a, b in zip(first, second, strict=True)))
        else:
            rows.append(_alone(first, index))
    rows += [_alone(second, index) for index in sorted(free)]
    if not rows:
        return first
    both = Heads(*(np.stack(parts).astype(np.float32) for parts in zip(*rows, strict=True)))
    order = np.argsort(-both.scores.max(axis=1), kind="stable")
    return Heads(*(part[order] for part in both))


def _alone(heads: Heads, index: int) -> tuple[np.ndarray, ...]:
    return heads.boxes[index], heads.scores[index] / 2, heads.points[index], heads.point_scores[index]


@dataclass(kw_only=True)
class OnnxHeadDetector:
    """The shipped detector: a YOLO-pose network in ONNX, run by onnxruntime alone.

    Args:
        path: the .onnx file, None for the shipped one; a .json of the same name beside it holds side_px, species,
            threshold and sha256.
        threshold: lowest score of a head; None takes the one of the .json.
        max_iou: of two heads that overlap more, the weaker one is dropped.
        flip: read every frame and its mirror image and average; twice the time, steadier points.
        threads: CPU threads of one run.
        batch_size: frames per run.

    Raises:
        DetectorError: at the first use, when a file is missing, damaged or does not fit.
    """

    path: str | Path | None = None
    threshold: float | None = None
    max_iou: float = 0.5
    flip: bool = True
    threads: int = 1
    batch_size: int = 8
    _loaded: tuple[Any, dict[str, Any]] | None = field(default=None, init=False, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        """Without the session, which cannot travel to another process; it is opened again there."""
        return {**self.__dict__, "_loaded": None}

    @property
    def card(self) -> dict[str, Any]:
        """What the model's .json says: side_px, species, threshold, sha256, training."""
        return self._load()[1]

    @property
    def used_threshold(self) -> float:
        """The threshold in force."""
        return float(self.card["threshold"] if self.threshold is None else self.threshold)

    def _load(self) -> tuple[Any, dict[str, Any]]:
        if self._loaded is None:
            self._loaded = open_model(Path(self.path or STARTER), self.threads)
        return self._loaded

    def __call__(self, frames: list[Frame], first_frame: int = 0) -> list[list[Detection]]:
        """Heads of each frame in its own pixels, best first."""
        found: list[list[Detection]] = []
        for start in range(0, len(frames), self.batch_size):
            found += self._batch(frames[start : start + self.batch_size], first_frame + start)
        return found

    def _batch(self, frames: list[Frame], first_frame: int) -> list[list[Detection]]:
        session, card = self._load()
        side = int(card["side_px"])
        boxed = [letterbox(frame, side) for frame in frames]
        squares = np.stack([b.square for b in boxed])
        outputs = self._run(session, squares)
        floor = self.used_threshold
        read = functools.partial(decode, num_classes=len(card["species"]), threshold=floor, max_iou=self.max_iou)
        readings = [read(output) for output in outputs]
        if self.flip:
            twins = [mirrored(read(output), side) for output in self._run(session, squares[:, :, ::-1])]
            readings = [merged(a, b, self.max_iou) for a, b in zip(readings, twins, strict=True)]
        return [
            [
                d
                for d in detections_of(heads, box, frame.shape, first_frame + index, card["species"])
                if d.score >= floor
            ]
            for index, (heads, box, frame) in enumerate(zip(readings, boxed, frames, strict=True))
        ]

    def _run(
        self, session: "onnxruntime.InferenceSession", squares: UInt8[np.ndarray, "B S S 3"]
    ) -> Float32[np.ndarray, "B F A"]:
        images = np.ascontiguousarray(squares.transpose(0, 3, 1, 2), dtype=np.float32) / 255
        return np.asarray(session.run(None, {session.get_inputs()[0].name: images})[0])


def detections_of(
    heads: Heads, box: Letterbox, shape: tuple[int, ...], frame: int, species: list[Species]
) -> list[Detection]:
    """Heads of a letterboxed frame as detections in the frame's own pixels, clipped to it."""
    limit = np.array([shape[1], shape[0]], np.float32)
    found = []
    for index in range(len(heads.boxes)):
        corners = np.clip(box.to_source(heads.boxes[index].reshape(2, 2)), 0, limit)
        if (corners[1] - corners[0]).min() < 1:
            continue
        found.append(
            Detection(
                frame=frame,
                species=species[int(heads.scores[index].argmax())],
                box_xyxy=corners.reshape(4).astype(np.float32),
                points_xy=box.to_source(heads.points[index]),
                point_scores=heads.point_scores[index].astype(np.float32),
                score=float(heads.scores[index].max()),
            )
        )
    return found


def open_model(path: Path, threads: int = 1) -> tuple[Any, dict[str, Any]]:
    """The onnxruntime session of a detector file and its .json card, both checked.

    Raises:
        DetectorError: a file is missing, its bytes are not those of the card, or the network does not fit the card.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    card_path = path.with_suffix(".json")
    for file in (path, card_path):
        if not file.is_file():
            raise DetectorError(f"the head detector needs {file}, which does not exist: give detector.path=FILE.onnx")
    try:
        card = json.loads(card_path.read_text())
        sha256, side = str(card["sha256"]), int(card["side_px"])
        unknown = set(card["species"]) - set(SPECIES)
        float(card["threshold"])
    except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise DetectorError(f"{card_path} is not a detector card ({error}): export the detector again") from error
    if unknown:
        raise DetectorError(f"{card_path} names species this version does not know: {', '.join(sorted(unknown))}")
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise DetectorError(f"{path} is damaged: its sha256 is not the one in {card_path.name}; get the file again")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no base class
        raise DetectorError(f"{path} is not a readable ONNX model: {error}") from error
    shape = session.get_inputs()[0].shape
    rows = session.get_outputs()[0].shape[1]
    if list(shape[1:]) != [3, side, side] or rows != 4 + len(card["species"]) + 15:
        raise DetectorError(f"{path} takes {shape} and gives {rows} rows, which does not fit {card_path.name}")
    return session, card


@dataclass(kw_only=True)
class BoxesDetector:
    """Heads given in a file: the same ones for every call, looked up by frame number.

    Args:
        path: CSV with the columns `frame, species, x0, y0, x1, y1` and, optionally, `score` and
            `reye_x … mouthr_y`; or JSON, a list of objects with the same names. Points that are not given are placed
            where they lie on an average face in the box, with point score 0.

    Raises:
        DetectorError: at the first use, when the file is missing or a row is wrong.
    """

    path: str | Path
    _heads: dict[int, list[Detection]] | None = field(default=None, init=False, repr=False, compare=False)

    def __call__(self, frames: list[Frame], first_frame: int = 0) -> list[list[Detection]]:
        """The file's heads of the frames that begin with number first_frame."""
        if self._heads is None:
            self._heads = read_boxes(Path(self.path))
        return [self._heads.get(first_frame + index, []) for index in range(len(frames))]


TYPICAL_POINTS = ((0.33, 0.51), (0.67, 0.51), (0.5, 0.75), (0.37, 0.88), (0.63, 0.88))
"""Where the five points lie in the box of a frontal head, as shares of its width and height (rounded means of the
labelled train heads of all species)."""


def read_boxes(path: Path) -> dict[int, list[Detection]]:
    """The heads of a CSV or JSON file by frame number; raises DetectorError naming the file and the row."""
    if not path.is_file():
        raise DetectorError(f"the boxes file {path} does not exist: give detector.path=FILE.csv or FILE.json")
    try:
        if path.suffix.lower() == ".json":
            rows = json.loads(path.read_text())
        else:
            with path.open(newline="", encoding="utf-8-sig") as lines:
                rows = list(csv.DictReader(lines))
    except (json.JSONDecodeError, UnicodeDecodeError, csv.Error) as error:
        raise DetectorError(f"{path} is neither CSV nor JSON: {error}") from error
    heads: dict[int, list[Detection]] = {}
    for number, row in enumerate(rows, start=1):
        try:
            detection = _given(row)
        except (KeyError, TypeError, ValueError) as error:
            raise DetectorError(f"head {number} of {path} cannot be used: {error!r}") from error
        heads.setdefault(detection.frame, []).append(detection)
    return heads


def _given(row: dict[str, Any]) -> Detection:
    species = row["species"]
    if species not in SPECIES:
        raise ValueError(f"species must be one of {', '.join(SPECIES)}, not {species}")
    x0, y0, x1, y1 = (float(row[name]) for name in ("x0", "y0", "x1", "y1"))
    if not (x1 > x0 and y1 > y0):
        raise ValueError(f"the box {x0, y0, x1, y1} is empty")
    points = np.array([(x0 + (x1 - x0) * x, y0 + (y1 - y0) * y) for x, y in TYPICAL_POINTS], np.float32)
    point_scores = np.zeros(5, np.float32)
    for index, name in enumerate(("reye", "leye", "nose", "mouthl", "mouthr")):
        if row.get(f"{name}_x") not in (None, "") and row.get(f"{name}_y") not in (None, ""):
            points[index] = float(row[f"{name}_x"]), float(row[f"{name}_y"])
            point_scores[index] = 1
    score = row.get("score")
    return Detection(
        frame=int(row.get("frame") or 0),
        species=species,
        box_xyxy=np.array([x0, y0, x1, y1], np.float32),
        points_xy=points,
        point_scores=point_scores,
        score=1.0 if score in (None, "") else float(score),
    )
