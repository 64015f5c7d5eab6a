"""A data set's own landmarks -> the five points, by a table of indices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from data_pipeline.adapters.folder import SourceError
from data_pipeline.crop import upright_axes
from data_pipeline.records import POINT_NAMES


@dataclass(frozen=True, slots=True, kw_only=True)
class PointMap:
    """Which landmarks make each of the five points (their mean), in the order of records.POINT_NAMES."""

    scheme: str
    num_landmarks: int
    right_eye: tuple[int, ...]
    left_eye: tuple[int, ...]
    nose: tuple[int, ...] = ()
    mouth_right: tuple[int, ...] = ()
    mouth_left: tuple[int, ...] = ()
    sides_by_position: bool = False
    """The set's names of the sides are not certain: the viewer's left in the upright face is the right side."""

    def five(self, landmarks: Float32[np.ndarray, "L 2"]) -> Float32[np.ndarray, "5 2"] | None:
        """The five points; None when the table lacks one, or when they make no face (mouth above the eyes)."""
        groups = [self.right_eye, self.left_eye, self.nose, self.mouth_right, self.mouth_left]
        if not all(groups):
            return None
        points = np.stack([landmarks[list(group)].mean(axis=0) for group in groups]).astype(np.float32)
        if not np.isfinite(points).all():
            return None
        across, down = upright_axes(points)
        if self.sides_by_position:
            for one, other in ((0, 1), (3, 4)):
                if (points[one] - points[other]) @ across > 0:
                    points[[one, other]] = points[[other, one]]
        eyes, mouth = points[:2].mean(axis=0), points[3:].mean(axis=0)
        nose, chin = float((points[2] - eyes) @ down), float((mouth - eyes) @ down)
        return points if 0 < nose <= chin * _NOSE_LIMIT else None

    def anchors(self, landmarks: Float32[np.ndarray, "L 2"]) -> Float32[np.ndarray, "A 2"] | None:
        """The landmarks of eyes, nose and mouth: they lie inside the head; None when there is none."""
        groups = (*self.right_eye, *self.left_eye, *self.nose, *self.mouth_right, *self.mouth_left)
        kept = landmarks[sorted(set(groups))]
        kept = kept[np.isfinite(kept).all(axis=1)].astype(np.float32)
        return kept if len(kept) else None

    def changed(self, table: Mapping[str, Sequence[int]] | None) -> "PointMap":
        """The same map with some of the five points made from other landmarks.

        Raises:
            SourceError: an unknown name of a point, or a landmark that the scheme does not have.
        """
        if not table:
            return self
        if unknown := set(table) - set(POINT_NAMES):
            raise SourceError(f"source.five_from names {sorted(unknown)}; the points are {', '.join(POINT_NAMES)}")
        wrong = [i for group in table.values() for i in group if not 0 <= i < self.num_landmarks]
        if wrong:
            raise SourceError(
                f"source.five_from names landmark {wrong[0]}; {self.scheme} has 0-{self.num_landmarks - 1}"
            )
        groups = {name: tuple(table.get(name, getattr(self, name))) for name in POINT_NAMES}
        return PointMap(
            scheme=self.scheme, num_landmarks=self.num_landmarks, sides_by_position=self.sides_by_position, **groups
        )


_NOSE_LIMIT = 1.25
"""How far below the mouth, in distances of eyes and mouth, a nose may seem to be in a raised head."""

ANIMALWEB = PointMap(
    scheme="animalweb9",
    num_landmarks=9,
    right_eye=(0, 1),
    left_eye=(2, 3),
    nose=(4,),
    mouth_right=(5,),
    mouth_left=(6,),
    sides_by_position=True,
)
"""Corners of both eyes, nose tip, mouth corners, upper and lower lip: the order that X-Pose's nine animal face points
state, and the flip pairs (0,3), (1,2), (5,6) that it trains AnimalWeb with."""

CATFLW = PointMap(
    scheme="catflw48",
    num_landmarks=48,
    right_eye=(4, 5, 6, 7, 36, 37, 38),
    left_eye=(8, 9, 10, 11, 39, 40, 41),
    nose=(42, 43),
    mouth_right=(46,),
    mouth_left=(47,),
    sides_by_position=True,
)
"""The data set publishes a drawing, no table. Indices: names and flip table of the cat_detection Dart package, which
was checked there against the 2,079 images for the eyes; nose and mouth corners rest on its names alone."""

DOGFLW = PointMap(
    scheme="dogflw46",
    num_landmarks=46,
    right_eye=(16, 18, 20, 22),
    left_eye=(17, 19, 21, 23),
    sides_by_position=True,
)
"""Only the eyes are certain: the public readers (dog_detection, dogface_landmark_estimation_hrcnn) agree on them and
contradict each other on nose and mouth. So heads of this set have a box and no five points, until source.five_from
says which landmarks they are."""

CAT = PointMap(
    scheme="cat9",
    num_landmarks=9,
    right_eye=(0,),
    left_eye=(1,),
    mouth_right=(2,),
    mouth_left=(2,),
    sides_by_position=True,
)
"""The set's readme: left eye, right eye, mouth, then three points of each ear. One mouth point and no nose: the five
points are not made from it, its eyes and mouth only tell which head is meant."""

AP10K = PointMap(scheme="ap10k17", num_landmarks=17, right_eye=(1,), left_eye=(0,), nose=(2,))
"""AP-10K's own list: left eye, right eye, nose, then the body. There is no mouth, so the five points are not made."""
