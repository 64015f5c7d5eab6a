"""Metrics -> the question that each answers, which orders the tables."""

from collections.abc import Sequence

from evaluation.metrics.metric import Metric

GROUPS: dict[str, tuple[str, tuple[str, ...]]] = {
    "picture": (
        "Is it the right picture?",
        ("l1*", "psnr*", "ssim*", "ms_ssim*", "lpips*", "grad_distance*", "fid*", "kid*", "broken"),
    ),
    "motion": (
        "Does the motion arrive?",
        ("motion_gain", "*_corr", "*_lag", "pose_error_deg", "eye_error", "lip_error", "aed", "apd", "gaze_mae",
         "point_error", "nme", "delta_corr", "commanded*", "detected"),
    ),
    "identity": ("Is it still the same one?", ("csim*", "gallery_rank*")),
    "steadiness": ("Is it steady?", ("flicker*", "warp_error", "*_drift")),
}  # fmt: skip
"""Group -> its question and the metrics in it, `*` at an end standing for anything."""
OTHER = ("Other", ())
MAIN = (
    ("lpips", "grad_distance"), ("l1_face", "l1"), ("l1_eyes",), ("l1_mouth",), ("pose_error_deg", "point_error"),
    ("yaw_corr",), ("eyes_corr", "commanded_corr"), ("lips_corr",), ("csim", "csim_stand_in"),
    ("flicker", "flicker_excess"),
)  # fmt: skip
"""The numbers that are looked at first and tested together: the first of each that was measured."""
_REGIONS = ("face", "eyes", "mouth", "background")
DETAILS = (*(f"{kind}_{region}" for kind in ("psnr", "ssim") for region in _REGIONS), "*_lag", "broken")
"""Numbers for a second look."""


def main_of(measured: Sequence[str]) -> list[str]:
    """The main ones among these, in order."""
    found = (next((name for name in names if name in measured), "") for names in MAIN)
    return [name for name in found if name] or list(measured)


def is_detail(name: str) -> bool:
    """Whether a number is shown only to who asks for it."""
    return any(_fits(name, one) for one in DETAILS)


def group_of(name: str) -> str:
    """Name of the group of a metric; "other" when nobody has placed it."""
    return next((group for group, (_, names) in GROUPS.items() if any(_fits(name, one) for one in names)), "other")


def grouped(metrics: Sequence[Metric]) -> list[tuple[str, list[Metric]]]:
    """Metrics in groups, with the question of each group; empty groups are left out."""
    found = []
    for group, (question, _) in {**GROUPS, "other": OTHER}.items():
        members = [metric for metric in metrics if group_of(metric.name) == group]
        if members:
            found.append((question, members))
    return found


def _fits(name: str, pattern: str) -> bool:
    if pattern.endswith("*"):
        stem = pattern[:-1]
        return name == stem or name.startswith(f"{stem}_")
    return name.endswith(pattern[1:]) if pattern.startswith("*") else name == pattern
