"""A model and held-out faces -> how still stitching holds shoulders, how well openings obey, what else changes."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from finetune.drivers import Drawn, driven_keypoints
from finetune.keypoint_openings import EYES, MOUTH
from finetune.landmarks import OpeningRuler
from finetune.recipe import has_bf16
from finetune.shoulders import HEAD, SHOULDERS, eyes_mask, grown, lips_mask, masked_mean
from finetune.stage_two_faces import Face, Performance
from lp_models import LivePortrait, source_keypoints
from lp_models.geometry import Motion

COMMANDS = tuple(round(0.1 * n, 1) for n in range(9))
"""Commanded openings."""
WIDEST = {"eyes": 0.2, "lips": 0.3}
"""How far apart edges are moved by hand, from where they meet, in units of the frame from -1 to 1."""
MARGIN_FRAC = 0.06


class Prepared(NamedTuple):
    """One face, read once."""

    face: Face
    volume: Tensor
    motion: Motion
    keypoints: Float[Tensor, "1 K 3"]
    kept: Float[Tensor, "1 3 S S"]
    """From its own keypoints."""


class Stillness(NamedTuple):
    """One driven frame without and with stitching; motion is against the undriven picture."""

    species: str
    driver: str
    absolute: bool
    shoulders: tuple[float, float]
    """Mean |difference| on exact shoulder labels, 0-1."""
    far_shoulders: tuple[float, float]
    """The same on shoulders that the head, as it moves, does not cover or uncover."""
    flow_px: tuple[float, float]
    """Mean optical flow on exact shoulder labels."""
    turn_deg: float
    """How far the head was asked to turn."""
    turn_error_deg: tuple[float, float]
    """How far the turn that the motion network reads from the picture is from that."""


class Sweep(NamedTuple):
    """One face, one part (eyes or lips), openings commanded from 0 to 0.8."""

    species: str
    part: str
    ruler: list[float]
    """Read by the ruler that trained the modules."""
    judge: list[float]
    """Read by a ruler of another seed and other puppets."""
    by_hand: list[float]
    """Read by the judge when the guided keypoints are moved by hand: what the generator can do."""
    beside: float
    """Mean change of the head outside the part that was set."""
    background: float
    reconstruction: tuple[float, float]
    """|undriven output - photo| in the same two places: the level without retargeting."""


class Stage:
    """Runs a model on held-out faces without gradients."""

    def __init__(self, model: LivePortrait, batch_size: int = 6) -> None:
        self.model, self.batch_size = model.eval().requires_grad_(False), batch_size
        self.bf16 = has_bf16(torch.device("cpu"))

    @torch.no_grad()
    def motion(self, images: Float[Tensor, "T 3 S S"]) -> Motion:
        """Read by the motion network."""
        return Motion(*(torch.cat(v) for v in zip(*map(self.model.motion, images.split(self.batch_size)), strict=True)))

    @torch.no_grad()
    def prepare(self, face: Face) -> Prepared:
        """Read a face."""
        motion = self.motion(face.image)
        points = source_keypoints(motion)
        volume = self.model.appearance(face.image)
        return Prepared(face, volume, motion, points, self._drive(face.image, volume, points, points))

    def images(self, one: Prepared, driven: Float[Tensor, "T K 3"]) -> Float[Tensor, "T 3 S S"]:
        """The face at other keypoints."""
        return torch.cat(
            [self._drive(one.face.image, one.volume, one.keypoints, part) for part in driven.split(self.batch_size)]
        )

    @torch.no_grad()
    def _drive(self, picture: Tensor, volume: Tensor, source: Tensor, driven: Tensor) -> Tensor:
        num = len(driven)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            volume, source = volume.expand(num, -1, -1, -1, -1), source.expand(num, -1, -1)
            image = self.model.drive(volume, source, driven, picture.expand(num, -1, -1, -1))
        return image.float()

    @torch.no_grad()
    def stillness(self, one: Prepared, driver: Performance, absolute: bool) -> tuple[list[Stillness], Tensor, Tensor]:
        """Every frame of a performance, driven and stitched; and the pictures without and with stitching."""
        num = len(driver.frames)
        source, first = (
            Motion(*(v.expand(num, *v.shape[1:]) for v in m)) for m in (one.motion, self.motion(driver.first))
        )
        now = self.motion(driver.frames)
        rule = Drawn(
            torch.arange(num), torch.full((num,), absolute), torch.ones(num), torch.zeros(num, dtype=torch.bool)
        )
        human = torch.full((num,), one.face.species == "human")
        driven = driven_keypoints(source, first, now, human, rule)
        wanted = now.rotation() if absolute else now.rotation() @ first.rotation().mT @ source.rotation()
        x_s = one.keypoints.expand(num, -1, -1)
        moved, held = self.images(one, driven), self.images(one, self.model.stitching.stitch(x_s, driven))
        side = moved.shape[-1]
        shoulders = _labels(one.face, side, SHOULDERS)
        far = shoulders * (1 - grown(_labels_from(one.face, side, HEAD), MARGIN_FRAC))
        turn = angle_deg(source.rotation(), wanted)
        errors = [angle_deg(self.motion(_to_input(v, one.face)).rotation(), wanted) for v in (moved, held)]
        near, away, flow = (
            [[measure(image, mask) for image in pictures.split(1)] for pictures in (moved, held)]
            for measure, mask in (
                (_against(one.kept), shoulders),
                (_against(one.kept), far),
                (_flow(one.kept), shoulders),
            )
        )
        rows = [
            Stillness(
                one.face.species, driver.species, absolute, (near[0][n], near[1][n]), (away[0][n], away[1][n]),
                (flow[0][n], flow[1][n]), float(turn[n]), (float(errors[0][n]), float(errors[1][n])),
            )
            for n in range(num)
        ]  # fmt: skip
        return rows, moved, held

    @torch.no_grad()
    def sweep(self, one: Prepared, part: str, ruler: OpeningRuler, judge: OpeningRuler) -> tuple[Sweep, Tensor]:
        """Openings commanded from 0 to 0.8, and the pictures."""
        num, face, corrections = len(COMMANDS), one.face, self.model.stitching
        x_s = one.keypoints.expand(num, -1, -1)
        commands = torch.tensor(COMMANDS)[:, None]
        if part == "eyes":
            delta = corrections.retarget_eyes(x_s, torch.cat((face.eyes.expand(num, -1), commands), dim=1))
        else:
            delta = corrections.retarget_lips(x_s, torch.cat((face.lips.expand(num, -1), commands), dim=1))
        pictures = self.images(one, x_s + delta)
        by_hand = self.images(one, x_s + moved_by_hand(one.keypoints, part))
        side = pictures.shape[-1]
        here = (eyes_mask if part == "eyes" else lips_mask)(face.points, side)
        head = _labels_from(face, side, HEAD) * (1 - here)
        # Far from the head: its edge is background that hair and fur shine through.
        background = _labels(face, side, 0) * (1 - grown(_labels_from(face, side, HEAD), 0.02))
        change = (pictures - one.kept).abs().mean(dim=0, keepdim=True)
        photo = torch.nn.functional.interpolate(face.image, (side, side), mode="bilinear", antialias=True)
        repaint = (one.kept - photo).abs()
        result = Sweep(
            face.species, part, _read(ruler, pictures, face, part), _read(judge, pictures, face, part),
            _read(judge, by_hand, face, part), float(masked_mean(change, head)), float(masked_mean(change, background)),
            (float(masked_mean(repaint, head)), float(masked_mean(repaint, background))),
        )  # fmt: skip
        return result, pictures


def moved_by_hand(keypoints: Float[Tensor, "1 K 3"], part: str, num: int = len(COMMANDS)) -> Float[Tensor, "T K 3"]:
    """Changes that bring upper and lower edge together until they meet, and apart; never past each other."""
    delta = torch.zeros(num, *keypoints.shape[1:])
    for edges in EYES if part == "eyes" else MOUTH:
        now = keypoints[:, edges.lower, 1] - keypoints[:, edges.upper, 1]
        change = torch.linspace(0, WIDEST[part], num) - now
        delta[:, edges.upper, 1] = -edges.upper_share * change
        delta[:, edges.lower, 1] = (1 - edges.upper_share) * change
    return delta


def angle_deg(a: Float[Tensor, "T 3 3"], b: Float[Tensor, "T 3 3"]) -> Float[Tensor, " T"]:
    """Angle of the rotation between two."""
    trace = (a.mT @ b).diagonal(dim1=1, dim2=2).sum(dim=1)
    return torch.rad2deg(((trace - 1) / 2).clamp(-1, 1).acos())


def _against(kept: Tensor) -> Callable[[Tensor, Tensor], float]:
    return lambda image, mask: float(masked_mean((image - kept).abs(), mask))


def _flow(kept: Tensor) -> Callable[[Tensor, Tensor], float]:
    return lambda image, mask: flow_px(kept[0], image[0], mask[0, 0])


def flow_px(before: Float[Tensor, "3 S S"], after: Float[Tensor, "3 S S"], mask: Float[Tensor, "S S"]) -> float:
    """Mean length of Farneback's optical flow in a mask."""
    import cv2

    grey = [cv2.cvtColor(_bytes(image), cv2.COLOR_RGB2GRAY) for image in (before, after)]
    start = np.zeros((*grey[0].shape, 2), np.float32)
    flow = cv2.calcOpticalFlowFarneback(grey[0], grey[1], start, 0.5, 4, 21, 3, 7, 1.5, 0)
    inside = mask.numpy() > 0
    return float(np.linalg.norm(flow, axis=2)[inside].mean()) if inside.any() else 0.0


def _bytes(image: Float[Tensor, "3 S S"]) -> np.ndarray:
    return (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


def _read(ruler: OpeningRuler, pictures: Tensor, face: Face, part: str) -> list[float]:
    found = ruler(pictures, face.points.expand(len(pictures), -1, -1))
    return (found.eyes.mean(dim=1) if part == "eyes" else found.lips[:, 0]).tolist()


def _labels(face: Face, side: int, label: int) -> Float[Tensor, "1 1 S S"]:
    return torch.nn.functional.interpolate((face.labels == label).float()[:, None], (side, side), mode="nearest")


def _labels_from(face: Face, side: int, label: int) -> Float[Tensor, "1 1 S S"]:
    return torch.nn.functional.interpolate((face.labels >= label).float()[:, None], (side, side), mode="nearest")


def _to_input(images: Tensor, face: Face) -> Tensor:
    side = face.image.shape[-1]
    return images if images.shape[-1] == side else torch.nn.functional.interpolate(images, (side, side), mode="area")
