"""Labelled head photos in memory -> endless augmented training squares (zooms, turns, mosaics, pasted heads).

A few hundred photos train a detector only if hardly any square repeats: each is a canvas (plain colour, procedural
texture or a photo without heads) on which one to four photos are placed by a random similarity with a little shear.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float32, Int64, UInt8

from data_pipeline.records import FLIPPED_POINTS, SPECIES

MIN_VISIBLE_FRAC = 0.35
"""A head that shows less than this share of its box after placing is painted over instead of being taught."""
PAD_GREY = 114


class LabelledImage(NamedTuple):
    """One photo with its heads, in pixels; points carry x, y and 0 (unknown) or 2 (labelled)."""

    image: UInt8[np.ndarray, "H W 3"]
    classes: Int64[np.ndarray, " N"]
    boxes: Float32[np.ndarray, "N 4"]
    points: Float32[np.ndarray, "N 5 3"]


def transformed_boxes(
    boxes: Float32[np.ndarray, "N 4"], matrix: Float32[np.ndarray, "2 3"]
) -> Float32[np.ndarray, "N 4"]:
    """Boxes of heads after an affine map.

    The corners of a turned box overstate the head inside it, so the box of the inscribed ellipse and the box of the
    corners are averaged, 7 : 3 (a head with ears is closer to an ellipse).
    """
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2 @ matrix[:, :2].T + matrix[:, 2]
    half = (boxes[:, 2:] - boxes[:, :2]) / 2
    ellipse = np.sqrt(half**2 @ (matrix[:, :2] ** 2).T)
    corners = half @ np.abs(matrix[:, :2]).T
    extent = 0.7 * ellipse + 0.3 * corners
    return np.concatenate([centre - extent, centre + extent], axis=1).astype(np.float32)


def flipped(sample: LabelledImage) -> LabelledImage:
    """Mirror image with left and right points exchanged."""
    width = sample.image.shape[1]
    boxes = sample.boxes.copy()
    boxes[:, [0, 2]] = width - sample.boxes[:, [2, 0]]
    points = sample.points[:, list(FLIPPED_POINTS)].copy()
    points[..., 0] = width - points[..., 0]
    return LabelledImage(np.ascontiguousarray(sample.image[:, ::-1]), sample.classes, boxes, points)


@dataclass(kw_only=True)
class HeadAugmenter:
    """Draws training squares from labelled photos; one generator, so the draws follow from the seed."""

    photos: list[LabelledImage]
    puppets: list[LabelledImage] = field(default_factory=list)
    puppet_prob: float = 0.15
    """Share of draws that take a rendered head, whatever its species."""
    seed: int = 0
    species_weights: dict[str, float] = field(
        default_factory=lambda: {"human": 0.2, "cat": 0.27, "dog": 0.3, "panda": 0.16, "none": 0.07}
    )
    turn_deg: float = 25.0
    mosaic_prob: float = 0.25
    paste_prob: float = 0.15

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.groups: dict[str, list[int]] = {}
        for index, photo in enumerate(self.photos):
            name = SPECIES[int(photo.classes[0])] if len(photo.classes) else "none"
            self.groups.setdefault(name, []).append(index)
        if not set(self.groups) - {"none"}:
            raise ValueError("the training split holds no head: check data.root and the split column")
        names = [name for name in self.groups if self.species_weights.get(name, 0) > 0]
        weights = np.array([self.species_weights[name] for name in names])
        self._names, self._weights = names, weights / weights.sum()

    def square(self, side_px: int, mosaic: bool = True) -> LabelledImage:
        """One augmented training square of side_px."""
        canvas = self._background(side_px)
        kind = self.rng.random()
        if mosaic and kind < self.mosaic_prob:
            sample = self._mosaic(canvas)
        elif kind < self.mosaic_prob + self.paste_prob:
            sample = self._pasted(canvas)
        else:
            sample = self._single(canvas)
        return LabelledImage(self._recoloured(sample.image), *sample[1:])

    def _draw(self) -> LabelledImage:
        if self.puppets and self.rng.random() < self.puppet_prob:
            photo = self.puppets[self.rng.integers(len(self.puppets))]
            return flipped(photo) if self.rng.random() < 0.5 else photo
        group = self.groups[self._names[self.rng.choice(len(self._names), p=self._weights)]]
        photo = self.photos[group[self.rng.integers(len(group))]]
        return flipped(photo) if self.rng.random() < 0.5 else photo

    def _background(self, side: int) -> LabelledImage:
        kind = self.rng.random()
        if kind < 0.35:
            image = np.full((side, side, 3), PAD_GREY, np.uint8)
        elif kind < 0.43:
            image = np.full((side, side, 3), self.rng.integers(0, 256, 3), np.uint8)
        elif kind < 0.68:
            image = self._headless(side)
        elif kind < 0.8 and "none" in self.groups:
            photo = self.photos[self.groups["none"][self.rng.integers(len(self.groups["none"]))]].image
            image = _cover(photo, side, self.rng)
        elif kind < 0.88:
            coarse = self.rng.integers(0, 256, (int(self.rng.integers(2, 12)),) * 2 + (3,), np.uint8)
            image = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
        else:  # any photo, blurred until no head can be made out
            photo = _cover(self._draw().image, side, self.rng)
            small = cv2.resize(photo, (7, 7), interpolation=cv2.INTER_AREA)
            image = cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC)
        empty = np.zeros((0, 4), np.float32), np.zeros((0, 5, 3), np.float32)
        return LabelledImage(image, np.zeros(0, np.int64), *empty)

    def _headless(self, side: int) -> np.ndarray:
        """A part of a labelled photo that shows no head: bodies, hands, grass; grey when none is found."""
        photo = self._draw()
        height, width = photo.image.shape[:2]
        for _ in range(8):
            cut = int(min(height, width) * self.rng.uniform(0.2, 0.7))
            x, y = int(self.rng.integers(0, width - cut + 1)), int(self.rng.integers(0, height - cut + 1))
            apart = (photo.boxes[:, :2] >= (x + cut, y + cut)) | (photo.boxes[:, 2:] <= (x, y))
            if cut >= 32 and apart.any(axis=1).all():
                return cv2.resize(photo.image[y : y + cut, x : x + cut], (side, side), interpolation=cv2.INTER_LINEAR)
        return np.full((side, side, 3), PAD_GREY, np.uint8)

    def _turn(self) -> float:
        turn = self.rng.uniform(-1, 1) * self.turn_deg
        return turn if self.rng.random() < 0.5 else turn * 0.35

    def _matrix(self, photo: LabelledImage, scale: float, target_xy: np.ndarray, pivot: np.ndarray) -> np.ndarray:
        """Affine map that turns, scales and slightly shears a photo, taking pivot to target_xy."""
        angle = np.deg2rad(self._turn())
        stretch = np.exp(self.rng.uniform(-0.12, 0.12))
        shear = self.rng.uniform(-0.08, 0.08)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        linear = scale * turn @ np.array([[stretch, shear], [0, 1 / stretch]])
        return np.concatenate([linear, (target_xy - linear @ pivot)[:, None]], axis=1).astype(np.float32)

    def _pivot(self, photo: LabelledImage) -> tuple[np.ndarray, float]:
        """A head's centre and its side; the photo's centre and half its side when it has no head."""
        if not len(photo.boxes):
            size = np.array(photo.image.shape[1::-1], np.float64)
            return size / 2, float(size.mean() / 2)
        x0, y0, x1, y1 = photo.boxes[self.rng.integers(len(photo.boxes))]
        return np.array([(x0 + x1) / 2, (y0 + y1) / 2]), float(np.sqrt((x1 - x0) * (y1 - y0)))

    def _single(self, canvas: LabelledImage) -> LabelledImage:
        side = canvas.image.shape[0]
        photo = self._draw()
        pivot, head = self._pivot(photo)
        fit = side / max(photo.image.shape[:2])
        if self.rng.random() < 0.5:  # near the photo's own framing: what inference sees
            scale = fit * np.exp(self.rng.uniform(-0.35, 0.35))
            middle = np.array(photo.image.shape[1::-1]) / 2
            offset = (pivot - middle) * scale
            target = side / 2 + offset + self.rng.uniform(-0.15, 0.15, 2) * side
        else:
            scale = np.exp(self.rng.uniform(np.log(0.13), np.log(0.95))) * side / head
            scale = min(scale, fit * 2.2)
            reach = max(0.0, side / 2 - 0.45 * head * scale)
            target = side / 2 + self.rng.uniform(-1, 1, 2) * reach
        target = np.clip(target, 0.1 * side, 0.9 * side)
        return _placed(canvas, photo, self._matrix(photo, float(scale), target, pivot), None)

    def _mosaic(self, canvas: LabelledImage) -> LabelledImage:
        side = canvas.image.shape[0]
        cut_x, cut_y = (self.rng.uniform(0.35, 0.65, 2) * side).astype(int).tolist()
        for x0, y0, x1, y1 in (
            (0, 0, cut_x, cut_y),
            (cut_x, 0, side, cut_y),
            (0, cut_y, cut_x, side),
            (cut_x, cut_y, side, side),
        ):
            photo = self._draw()
            pivot, head = self._pivot(photo)
            room = min(x1 - x0, y1 - y0)
            scale = float(self.rng.uniform(0.4, 1.05) * room / head)
            target = np.array([(x0 + x1) / 2, (y0 + y1) / 2]) + self.rng.uniform(-0.15, 0.15, 2) * room
            canvas = _placed(canvas, photo, self._matrix(photo, scale, target, pivot), (x0, y0, x1, y1))
        return canvas

    def _pasted(self, canvas: LabelledImage) -> LabelledImage:
        """One to three small photos laid over a background, hard edges and all."""
        side = canvas.image.shape[0]
        for _ in range(self.rng.integers(1, 4)):
            photo = self._draw()
            pivot, head = self._pivot(photo)
            scale = float(np.exp(self.rng.uniform(np.log(0.1), np.log(0.4))) * side / head)
            room = (self.rng.uniform(1.1, 2.6) * head * scale) / 2
            target = self.rng.uniform(0.15, 0.85, 2) * side
            x0, y0 = np.maximum(target - room, 0).astype(int).tolist()
            x1, y1 = np.minimum(target + room, side).astype(int).tolist()
            canvas = _placed(canvas, photo, self._matrix(photo, scale, target, pivot), (x0, y0, x1, y1))
        return canvas

    def _recoloured(self, image: np.ndarray) -> np.ndarray:
        rng = self.rng
        gain = np.exp(rng.normal(0, 0.08, 3)) * np.exp(rng.normal(0, 0.18))
        lift = rng.normal(0, 12)
        ramp = np.arange(256, dtype=np.float32)[:, None]
        gamma = np.exp(rng.normal(0, 0.2))
        table = np.clip((ramp / 255) ** gamma * 255 * gain + lift, 0, 255).astype(np.uint8)
        image = cv2.LUT(image, table[None])
        kind = rng.random()
        if kind < 0.6:  # saturation, down to grey
            grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None]
            keep = 0.0 if kind < 0.08 else float(rng.uniform(0.4, 1.4))
            image = np.clip(grey + (image.astype(np.float32) - grey) * keep, 0, 255).astype(np.uint8)
        extra = rng.random()
        if extra < 0.1:
            image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.6)))
        elif extra < 0.2:
            quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 75))]
            image = np.asarray(cv2.imdecode(cv2.imencode(".jpg", image, quality)[1], cv2.IMREAD_COLOR))
        elif extra < 0.3:
            noise = rng.normal(0, rng.uniform(2, 12), image.shape).astype(np.float32)
            image = np.clip(image + noise, 0, 255).astype(np.uint8)
        if rng.random() < 0.15:  # a plain patch over some part: heads behind hands, leaves, frames
            side = image.shape[0]
            w, h = (rng.uniform(0.05, 0.25, 2) * side).astype(int)
            x, y = int(rng.integers(0, side - w)), int(rng.integers(0, side - h))
            image = image.copy()
            image[y : y + h, x : x + w] = rng.integers(0, 256, 3)
        return image


def _cover(image: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """A random square part of the image, scaled to side."""
    cut = int(min(image.shape[:2]) * rng.uniform(0.5, 1.0))
    y, x = int(rng.integers(0, image.shape[0] - cut + 1)), int(rng.integers(0, image.shape[1] - cut + 1))
    part = image[y : y + cut, x : x + cut]
    return cv2.resize(part if rng.random() < 0.5 else part[:, ::-1], (side, side), interpolation=cv2.INTER_LINEAR)


def _placed(
    canvas: LabelledImage, photo: LabelledImage, matrix: np.ndarray, window: tuple[int, int, int, int] | None
) -> LabelledImage:
    """The canvas with the photo drawn on it through the map, only inside the window; labels follow.

    A head that is cut to less than MIN_VISIBLE_FRAC is painted over with the canvas' mean colour.
    """
    side = canvas.image.shape[0]
    x0, y0, x1, y1 = window or (0, 0, side, side)
    if x1 - x0 < 8 or y1 - y0 < 8:
        return canvas
    shifted = matrix.copy()
    shifted[:, 2] -= (x0, y0)
    shrink = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    source = photo.image
    if shrink < 0.5:  # average first: sampling alone would alias
        factor = 1 / (2 ** np.floor(np.log2(1 / shrink)))
        source = cv2.resize(source, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        shifted[:, :2] /= np.array(source.shape[1::-1]) / np.array(photo.image.shape[1::-1])
    image = canvas.image.copy()
    part = np.ascontiguousarray(image[y0:y1, x0:x1])
    size = (int(x1 - x0), int(y1 - y0))
    cv2.warpAffine(source, shifted, size, dst=part, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_TRANSPARENT)
    boxes = transformed_boxes(photo.boxes, matrix)
    low, high = np.array([x0, y0, x0, y0], np.float32), np.array([x1, y1, x1, y1], np.float32)
    clipped = np.clip(boxes, low, high)
    area = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-6), axis=1)
    size_px = clipped[:, 2:] - clipped[:, :2]
    shown = np.prod(np.maximum(size_px, 0), axis=1) / area
    keep = (shown >= MIN_VISIBLE_FRAC) & (size_px.min(axis=1, initial=side) >= 6) if len(boxes) else np.zeros(0, bool)
    for box in clipped[~keep & (shown > 0.02)]:
        left, top, right, bottom = (box - low).astype(int)
        part[max(0, top - 2) : bottom + 2, max(0, left - 2) : right + 2] = part.reshape(-1, 3).mean(axis=0)
    image[y0:y1, x0:x1] = part
    points = photo.points.copy()
    points[..., :2] = points[..., :2] @ matrix[:, :2].T + matrix[:, 2]
    inside = ((points[..., :2] >= (x0, y0)) & (points[..., :2] < (x1, y1))).all(axis=-1)
    points[..., 2] *= inside
    old_boxes, old_points, old_classes = canvas.boxes, canvas.points, canvas.classes
    if window is not None and len(old_boxes):  # pasted windows hide what lies below them
        kept = _uncovered(old_boxes, np.array(window, np.float32))
        old_boxes, old_points, old_classes = old_boxes[kept], old_points[kept], old_classes[kept]
    return LabelledImage(
        image,
        np.concatenate([old_classes, photo.classes[keep]]),
        np.concatenate([old_boxes, clipped[keep]]).astype(np.float32),
        np.concatenate([old_points, points[keep]]).astype(np.float32),
    )


def _uncovered(boxes: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Boxes of which at least half stays visible under a window laid over them."""
    overlap = np.minimum(boxes[:, 2:], window[2:]) - np.maximum(boxes[:, :2], window[:2])
    covered = np.prod(np.maximum(overlap, 0), axis=1) / np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return covered < 0.5
