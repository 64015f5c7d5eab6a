"""A motion template file <-> the motion of a driver, checked: `.npz` is ours, `.pkl` is LivePortrait's.

A template is a driver without its pictures. What a file is, its content says, not its name; docs/templates.md has both
layouts. Nothing is ever unpickled.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from evaluation import template_layouts as layouts
from evaluation.driving import PosedMotion, posed
from evaluation.template_layouts import LayoutError, Stored
from evaluation.template_pickle import UnsafePickleError

MAX_BYTES = 128 * 2**20
MAX_PICKLE_FRAMES = 25_000
"""What fits into `template_pickle.MAX_STEPS` with everything that a `.pkl` can hold."""
MAX_VALUE = 1000.0
"""Keypoints live in [-1, 1]; a number beyond this is damage."""
MAX_SKEW = 0.05
"""How far R Rᵀ may be from the identity; upstream's templates hold half-precision numbers."""


class TemplateError(ValueError):
    """A template cannot be read or written; one sentence names the file, the fault and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionTemplate:
    """The motion of a driver, frame by frame."""

    motion: PosedMotion
    fps: Fraction
    eye_ratios: Float[Tensor, "T 2"] | None = None
    """How open the eyes are; the viewer's left eye first."""
    lip_ratios: Float[Tensor, "T 1"] | None = None
    canonical: Float[Tensor, "T K 3"] | None = None
    """The driver's own canonical keypoints; no driving rule needs them."""
    source: str = ""
    """Where the motion came from, for people to read."""
    model: str = ""
    """Which weights read it; "" when unknown. Other weights may give their keypoints another meaning."""

    @property
    def num_frames(self) -> int:
        """T."""
        return self.motion.delta.shape[0]

    @property
    def num_keypoints(self) -> int:
        """K."""
        return self.motion.delta.shape[1]

    @property
    def duration_s(self) -> float:
        """Length at the template's own rate."""
        return float(self.num_frames / self.fps)


def read_template(path: str | Path) -> MotionTemplate:
    """A template file -> its motion, every number checked.

    Raises:
        TemplateError: not a template, damaged, too large, or with values that no head can have.
    """
    template = unchecked_template(path)
    if found := faults(template):
        more = f" (and {len(found) - 1} more: see lp-template inspect)" if len(found) > 1 else ""
        raise TemplateError(f"{path}: {found[0]}{more}; use another template or make it again")
    return template


def unchecked_template(path: str | Path) -> MotionTemplate:
    """A template file -> its motion, for inspection: the layout is right, the values may be anything.

    Raises:
        TemplateError: not a template, damaged, or too large.
    """
    path = Path(path)
    content = _content(path)
    try:
        if content.startswith(b"PK"):
            return _template(layouts.from_npz(content))
        if content.startswith((b"\x80", b"}q", b"(d")):
            return _template(layouts.from_upstream(content, path.name))
    except UnsafePickleError as error:
        raise TemplateError(
            f"{path} was refused: {error}; use a template that LivePortrait or pawtrait wrote"
        ) from error
    except LayoutError as error:
        raise TemplateError(f"{path} is not a usable motion template: {error}; make it again") from error
    text = content[:64].lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise TemplateError(f"{path} is a web page, not a motion template; download it again")
    if text.startswith(b"version https://git-lfs"):
        raise TemplateError(
            f"{path} is a git-lfs pointer, not a motion template; fetch the real file with git lfs pull"
        )
    raise TemplateError(f"{path} is not a motion template; give a .npz of pawtrait or a .pkl of LivePortrait")


def write_template(path: str | Path, template: MotionTemplate) -> None:
    """A template -> a file that is whole or absent.

    Args:
        path: FILE.npz keeps everything, and the same content gives the same bytes; FILE.pkl is what LivePortrait reads,
            with the rate rounded to whole frames a second and without `source` and `model`.
        template: what to write.

    Raises:
        TemplateError: another suffix, or a template that could not be read back.
    """
    path = Path(path)
    if path.suffix.lower() not in (".npz", ".pkl"):
        raise TemplateError(f"{path}: give a file name that ends in .npz or, for LivePortrait, in .pkl")
    is_pickle = path.suffix.lower() == ".pkl"
    if found := faults(template):
        raise TemplateError(f"{path} was not written: {found[0]}; correct the motion")
    if is_pickle and (found := pickle_faults(template)):
        raise TemplateError(f"{path} was not written: {found[0]}; write a .npz")
    parts = _parts(template)
    stored = Stored(
        {name: _float32(part) for name, part in parts.items()}, template.fps, template.source, template.model
    )
    if is_pickle:
        canonical = template.canonical
        content = layouts.to_upstream(
            stored, None if canonical is None else _float32(posed(canonical, template.motion))
        )
    else:
        content = layouts.to_npz(stored)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def faults(template: MotionTemplate) -> list[str]:
    """Why these numbers cannot be the motion of a head; empty when they can."""
    T, K = template.num_frames, template.num_keypoints
    if not 1 <= T <= layouts.MAX_FRAMES:
        return [f"it has {T} frames, and a template has from 1 to {layouts.MAX_FRAMES}"]
    if not K:
        return ["it has no keypoints"]
    found = [] if 0 < template.fps <= 1000 else [f"a rate of {template.fps} frames a second is out of range"]
    for name, values in _parts(template).items():
        if tuple(values.shape) != (wanted := layouts.shapes(T, K)[name]):
            found.append(f"{name} has the shape {list(values.shape)} instead of {list(wanted)}")
            continue
        flat = values.reshape(T, -1)
        is_finite = flat.isfinite().all(dim=1)
        found += _where(~is_finite, f"{name} is not finite")
        found += _where(is_finite & (flat.abs() > MAX_VALUE).any(dim=1), f"{name} is out of range")
        if name in ("eye_ratios", "lip_ratios"):
            found += _where((flat < 0).any(dim=1), f"{name} is negative")
    if not found:
        found += _where((template.motion.scale <= 0)[:, 0], "scale is not positive")
        found += _where(_skew(template.motion.rotation) > MAX_SKEW, "rotation is not a rotation matrix")
    return found


def pickle_faults(template: MotionTemplate) -> list[str]:
    """What keeps a template from being written for LivePortrait."""
    found = []
    if template.num_keypoints != layouts.UPSTREAM_KEYPOINTS:
        found.append(f"it has {template.num_keypoints} keypoints and LivePortrait knows {layouts.UPSTREAM_KEYPOINTS}")
    if template.num_frames > MAX_PICKLE_FRAMES:
        found.append(f"it has {template.num_frames} frames and a .pkl holds up to {MAX_PICKLE_FRAMES}")
    return found


def head_angles_deg(rotation: Float[Tensor, "T 3 3"]) -> Float[Tensor, "T 3"]:
    """Rotation matrices for row vectors -> pitch, yaw, roll: the inverse of `lp_models.geometry.rotation_matrix`."""
    m = rotation.mT
    pitch, yaw = torch.atan2(m[:, 2, 1], m[:, 2, 2]), torch.asin((-m[:, 2, 0]).clamp(-1, 1))
    return torch.rad2deg(torch.stack((pitch, yaw, torch.atan2(m[:, 1, 0], m[:, 0, 0])), dim=1))


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise TemplateError(f"{path} is not a file; give a motion template (.npz or .pkl)")
    size = path.stat().st_size
    if not size:
        raise TemplateError(f"{path} is empty; copy or download it again")
    if size > MAX_BYTES:
        raise TemplateError(f"{path} has {size} bytes and a template at most {MAX_BYTES}; cut it into shorter ones")
    return path.read_bytes()


def _template(stored: Stored) -> MotionTemplate:
    tensors = {name: torch.from_numpy(values) for name, values in stored.arrays.items()}
    motion = PosedMotion(*(tensors.pop(name) for name in layouts.MOTION))
    return MotionTemplate(motion=motion, fps=stored.fps, source=stored.source, model=stored.model, **tensors)


def _parts(template: MotionTemplate) -> dict[str, Tensor]:
    parts = [*template.motion, template.eye_ratios, template.lip_ratios, template.canonical]
    return {name: part for name, part in zip(layouts.PARTS, parts, strict=True) if part is not None}


def _where(bad: Tensor, what: str) -> list[str]:
    return [f"{what} in frame {int(bad.nonzero()[0])}"] if bool(bad.any()) else []


def _skew(rotation: Float[Tensor, "T 3 3"]) -> Float[Tensor, " T"]:
    """Distance from being a rotation; a mirror image is infinitely far."""
    r = rotation.double()
    distance = (r @ r.mT - torch.eye(3, dtype=r.dtype, device=r.device)).abs().amax(dim=(1, 2))
    return torch.where(torch.linalg.det(r) > 0, distance, math.inf).float()


def _float32(values: Tensor) -> Float32[np.ndarray, "..."]:
    return np.ascontiguousarray(values.detach().cpu().float().numpy())
