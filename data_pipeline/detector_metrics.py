"""Labelled head photos + detections -> recall, precision, point error and false heads, per species and subset."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from data_pipeline.detect import box_iou
from data_pipeline.head_labels import Head, HeadPhoto
from data_pipeline.records import SPECIES, Detection

MATCH_IOU = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadOutcome:
    """What became of one labelled head."""

    species: str
    subset: str
    found: bool
    """A detection of the right species overlaps it by MATCH_IOU."""
    found_any: bool
    """A detection of any species does."""
    named: str
    """The species of the detection that overlaps, when found_any; else empty."""
    iou: float
    """Of that detection; 0 when there is none."""
    point_errors: tuple[float, ...]
    """Distance of each labelled point to its prediction, over the head box's side; empty when not found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoOutcome:
    """What became of one photo."""

    heads: tuple[HeadOutcome, ...]
    detections: tuple[tuple[str, bool], ...]
    """Species of every detection that counts, and whether it is right."""
    false_heads: int | None
    """Detections on a photo without any head; None when the photo has heads or may have."""


def match(
    boxes: Float32[np.ndarray, "N 4"], scores: Sequence[float], targets: Float32[np.ndarray, "M 4"]
) -> dict[int, int]:
    """Target index -> detection index: the best-scored detection chooses first, each takes its best free target."""
    overlap = box_iou(boxes, targets)
    taken: dict[int, int] = {}
    for index in np.argsort(-np.asarray(scores), kind="stable"):
        free = [j for j in range(len(targets)) if j not in taken and overlap[index, j] >= MATCH_IOU]
        if free:
            taken[max(free, key=lambda j, i=index: overlap[i, j])] = int(index)
    return taken


def point_errors(head: Head, detection: Detection) -> tuple[float, ...]:
    """Errors of the labelled points as shares of the head's side, sqrt(width · height) of the labelled box.

    A head whose mouth corners could not be made out has one mouth point: the middle, compared with the middle of the
    predicted corners.
    """
    width, height = head.box_xyxy[2:] - head.box_xyxy[:2]
    truth, predicted = head.points_xy.astype(np.float64), detection.points_xy.astype(np.float64)
    if head.mouth_is_centre:
        truth = np.concatenate([truth[:3], truth[3:].mean(axis=0, keepdims=True)])
        predicted = np.concatenate([predicted[:3], predicted[3:].mean(axis=0, keepdims=True)])
    known = np.isfinite(truth).all(axis=1)
    distances = np.linalg.norm(predicted[known] - truth[known], axis=1) / math.sqrt(float(width) * float(height))
    return tuple(float(value) for value in distances)


def judge(photo: HeadPhoto, detections: list[Detection]) -> PhotoOutcome:
    """Compare the detections of one photo with its labels."""
    boxes = np.array([d.box_xyxy for d in detections], np.float32).reshape(-1, 4)
    targets = np.array([h.box_xyxy for h in photo.heads], np.float32).reshape(-1, 4)
    scores = [d.score for d in detections]
    any_species = match(boxes, scores, targets)
    same: dict[int, int] = {}
    for species in SPECIES:
        mine = [i for i, d in enumerate(detections) if d.species == species]
        theirs = [j for j, h in enumerate(photo.heads) if h.species == species]
        pairs = match(boxes[mine], [scores[i] for i in mine], targets[theirs])
        same |= {theirs[j]: mine[i] for j, i in pairs.items()}
    heads = []
    for j, head in enumerate(photo.heads):
        # the pair of the right species says more about a head that has one
        index = same.get(j, any_species.get(j))
        seen = None if index is None else detections[index]
        overlap = 0.0 if index is None else float(box_iou(boxes[index : index + 1], targets[j : j + 1])[0, 0])
        heads.append(
            HeadOutcome(
                species=head.species,
                subset=photo.subset,
                found=j in same,
                found_any=j in any_species,
                named=seen.species if seen else "",
                iou=overlap,
                point_errors=point_errors(head, detections[same[j]]) if j in same else (),
            )
        )
    right = set(same.values())
    counted = tuple((d.species, i in right) for i, d in enumerate(detections)) if photo.complete else ()
    return PhotoOutcome(
        heads=tuple(heads), detections=counted, false_heads=len(detections) if photo.is_negative else None
    )


def _mean(values: Iterable[float | bool]) -> float | None:
    numbers = list(values)
    return round(float(np.mean(numbers)), 4) if numbers else None


def head_scores(heads: list[HeadOutcome], detections: list[bool] | None) -> dict[str, float | int | None]:
    """The numbers of one group of heads; `detections` says of each detection in the group whether it is right.

    recall50, precision50: box at IoU 0.5 and the right species. recall50_any_species: box alone. species_accuracy:
    among the heads whose box is found. point_error_frac: mean over heads of the mean over their labelled points.
    """
    pointed = [h for h in heads if h.point_errors]
    boxed = [h for h in heads if h.found_any]
    errors = [float(np.mean(h.point_errors)) for h in pointed]
    scores: dict[str, float | int | None] = {
        "heads": len(heads),
        "recall50": _mean(h.found for h in heads),
        "recall50_any_species": _mean(h.found_any for h in heads),
    }
    if detections is not None:
        scores |= {"detections": len(detections), "precision50": _mean(detections)}
    return scores | {
        "species_accuracy": _mean(h.named == h.species for h in boxed),
        "mean_iou": _mean(h.iou for h in boxed),
        "point_error_frac": _mean(errors),
        "point_error_median_frac": round(float(np.median(errors)), 4) if errors else None,
        "heads_with_points": len(pointed),
    }


def summarise(outcomes: Iterable[PhotoOutcome]) -> dict[str, object]:
    """All numbers of a split: overall, per species, per species and subset, confusions, and false heads."""
    photos = list(outcomes)
    heads = [head for photo in photos for head in photo.heads]
    detections = [detection for photo in photos for detection in photo.detections]
    false = [photo.false_heads for photo in photos if photo.false_heads is not None]
    species: dict[str, object] = {}
    subsets: dict[str, object] = {}
    confusion: dict[str, dict[str, int]] = {}
    for name in SPECIES:
        mine = [h for h in heads if h.species == name]
        if not mine:
            continue
        species[name] = head_scores(mine, [right for s, right in detections if s == name])
        named = [h.named or "missed" for h in mine]
        confusion[name] = {other: named.count(other) for other in (*SPECIES, "missed") if other in named}
        for subset in sorted({h.subset for h in mine}):
            subsets[f"{name}/{subset or 'unnamed'}"] = head_scores([h for h in mine if h.subset == subset], None)
    return {
        "overall": head_scores(heads, [right for _, right in detections]),
        "species": species,
        "subsets": subsets,
        "confusion": confusion,
        "negative_photos": len(false),
        "false_heads_count": sum(false),
        "false_heads": round(10 * sum(false) / len(false), 3) if false else None,
    }


def sweep(
    photos: list[HeadPhoto], detections: list[list[Detection]], thresholds: Iterable[float]
) -> list[dict[str, float | None]]:
    """Recall, precision and false heads at several thresholds, from detections made at a lower one."""
    rows = []
    for threshold in thresholds:
        kept = [[d for d in found if d.score >= threshold] for found in detections]
        summary = summarise(judge(photo, found) for photo, found in zip(photos, kept, strict=True))
        overall = summary["overall"]
        assert isinstance(overall, dict)
        rows.append(
            {
                "threshold": round(float(threshold), 4),
                "recall50": overall["recall50"],
                "precision50": overall["precision50"],
                "point_error_frac": overall["point_error_frac"],
                "false_heads": summary["false_heads"],
            }
        )
    return rows
