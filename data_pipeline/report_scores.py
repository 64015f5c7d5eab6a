"""The names of scores -> what a reader of the report is told of them, and where the gate's thresholds lie."""

from collections.abc import Collection

from data_pipeline.quality import QualityGate

SCORES = {
    "min_side_px": ("head's shorter side", "px"),
    "resolved_px": ("head side that is resolved", "px"),
    "blur_px": ("blur", "px of the source"),
    "sharpness": ("sharpness", "variance of the Laplacian"),
    "luminance": ("brightness", "mean grey level"),
    "contrast": ("contrast", "deviation of grey"),
    "dark_frac": ("clipped to black", "share"),
    "light_frac": ("clipped to white", "share"),
    "score": ("detector score", ""),
    "coverage_frac": ("crop inside the picture", "share"),
    "cut_frac": ("frames cut by the edge", "share"),
    "frontalness": ("frontalness", "0 to 1"),
    "yaw_frac": ("turned sideways", "half eye distances"),
    "roll_deg": ("lean", "degrees"),
    "eye_ratio": ("eyes' distance / eyes to mouth", ""),
    "motion_px": ("motion of the points", "px a frame, clips"),
    "change_grey": ("change over time", "grey levels, clips"),
    "frozen_frac": ("repeated frames", "share, clips"),
    "blockiness": ("compression blocks", "1: none"),
    "text_frac": ("writing over the picture", "share"),
    "bars_frac": ("black bars", "share"),
    "people_frac": ("people in an animal's crop", "share"),
}
"""Score -> title and unit, in the order of the report."""
CLIPS_ONLY = ("motion_px", "change_grey", "frozen_frac")
"""A still has none of these."""
LOGARITHMIC = ("sharpness", "min_side_px", "resolved_px")
"""Their values span orders of magnitude."""
_OFF = {"max_roll_deg": 180.0, "max_cut_frac": 1.0}


def thresholds(gate: QualityGate, sides_px: Collection[int]) -> dict[str, list[tuple[float, str]]]:
    """Score -> where its thresholds lie, and in words; none where the gate does not look at it.

    Args:
        gate: the thresholds.
        sides_px: sides of the crops, for the one that is a share of it.
    """
    found: dict[str, list[tuple[float, str]]] = {}
    for name in SCORES:
        for low, sign in (("min_", "≥"), ("max_", "≤")):
            limit = name if name.startswith(low) else f"{low}{name}"
            value = getattr(gate, limit, None)
            if value is not None and _OFF.get(limit) != value:
                found.setdefault(name, []).append((float(value), f"{sign} {value:g}"))
    if len(sides_px) == 1:
        value = gate.max_motion_frac * next(iter(sides_px))
        found["motion_px"] = [(value, f"≤ {value:g}")]
    if "roll_deg" in found:
        value = gate.max_roll_deg
        found["roll_deg"] = [(-value, f"≥ {-value:g}"), (value, f"≤ {value:g}")]
    return found
