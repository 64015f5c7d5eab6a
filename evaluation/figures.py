"""Numbers -> inline SVG figures that read on light and dark pages."""

import math
from collections.abc import Mapping, Sequence

from data_pipeline.html import text

PALETTE = ("#8a8f98", "#c08a3e", "#4f7cac", "#2a9d8f", "#d1495b", "#7b5ea7")
"""One colour per method, of a lightness that stands out on white and on black."""
LABEL_WIDTH, BAR_WIDTH, BAR_HEIGHT = 170, 420, 13
LONGEST = 2.5
"""Bars end at this many times the mark, so that one failure does not flatten the rest; their numbers stay."""


def colour(index: int) -> str:
    """Colour of the n-th method."""
    return PALETTE[index % len(PALETTE)]


def grouped_bars(
    groups: Mapping[str, Mapping[str, float | int]],
    methods: Sequence[str],
    *,
    unit: str = "%",
    mark: float | int | None = None,
) -> str:
    """One group of horizontal bars per metric, one bar per method.

    Args:
        groups: metric title -> method -> value.
        methods: fixes order and colour.
        unit: behind each value.
        mark: a value to mark with a line, such as 100 %.
    """
    top = max([*(v for values in groups.values() for v in values.values()), mark or 0, 1e-9])
    top = min(top, LONGEST * mark) if mark else top
    y, parts = 4.0, []
    for title, values in groups.items():
        height = BAR_HEIGHT * len(values)
        parts.append(_text(LABEL_WIDTH - 8, y + height / 2 + 4, title, anchor="end"))
        for i, method in enumerate(m for m in methods if m in values):
            width = BAR_WIDTH * min(1.0, max(0.0, values[method]) / top)
            at = y + i * BAR_HEIGHT
            parts.append(
                f"<rect x='{LABEL_WIDTH}' y='{at:.1f}' width='{width:.1f}' height='{BAR_HEIGHT - 2}' rx='2' "
                f"fill='{colour(methods.index(method))}'>"
                f"<title>{text(method)}: {values[method]:.3g}{unit}</title></rect>"
            )
            number = f"{'» ' if values[method] > top else ''}{values[method]:.0f}{unit}"
            parts.append(_text(LABEL_WIDTH + width + 4, at + BAR_HEIGHT - 4, number, size=9.5))
        y += height + 9
    if mark is not None:
        x = LABEL_WIDTH + BAR_WIDTH * mark / top
        parts.append(
            f"<line x1='{x:.1f}' x2='{x:.1f}' y1='0' y2='{y:.1f}' stroke='currentColor' stroke-dasharray='3 3' "
            "opacity='.6'/>"
        )
    return _svg(LABEL_WIDTH + BAR_WIDTH + 70, y, parts)


def radar(axes: Sequence[str], scores: Mapping[str, Sequence[float | int]], *, lowest: float | int = -0.5) -> str:
    """A radar of scores from `lowest` (centre) to 1 (rim), with a dashed ring at 0.

    Args:
        axes: titles, at least three.
        scores: method -> one score per axis; values outside are drawn at the border.
        lowest: score of the centre.
    """
    size, radius = 520, 150
    middle_x, middle_y = size / 2, 185

    def at(axis: int, score: float | int) -> tuple[float, float]:
        share = (min(1.0, max(lowest, score)) - lowest) / (1 - lowest)
        angle = 2 * math.pi * axis / len(axes) - math.pi / 2
        return middle_x + radius * share * math.cos(angle), middle_y + radius * share * math.sin(angle)

    parts = []
    for ring in (0.0, 0.5, 1.0):
        dash = "stroke-dasharray='4 3' opacity='.8'" if ring == 0 else "opacity='.3'"
        parts.append(_polygon([at(i, ring) for i in range(len(axes))], f"fill='none' stroke='currentColor' {dash}"))
    for i, title in enumerate(axes):
        x, y = at(i, 1.0)
        parts.append(
            f"<line x1='{middle_x}' y1='{middle_y}' x2='{x:.1f}' y2='{y:.1f}' stroke='currentColor' opacity='.2'/>"
        )
        out_x, out_y = middle_x + (x - middle_x) * 1.1, middle_y + (y - middle_y) * 1.1
        anchor = "middle" if abs(out_x - middle_x) < 20 else ("start" if out_x > middle_x else "end")
        parts.append(_text(out_x, out_y + 4, title, anchor=anchor))
    for i, (_, values) in enumerate(scores.items()):
        style = f"fill='{colour(i)}' fill-opacity='.13' stroke='{colour(i)}' stroke-width='2'"
        parts.append(_polygon([at(axis, value) for axis, value in enumerate(values)], style))
    return _svg(size, 370, parts)


def legend(methods: Sequence[str]) -> str:
    """Colour patches and names."""
    return " &ensp; ".join(
        f"<span class='bar' style='width:.8em;background:{colour(i)}'></span> {text(name)}"
        for i, name in enumerate(methods)
    )


def _svg(width: float | int, height: float | int, parts: Sequence[str]) -> str:
    return (
        f"<svg viewBox='0 0 {width:.0f} {height:.0f}' width='{width:.0f}' style='max-width:100%;height:auto' "
        f"role='img' font-family='system-ui, sans-serif' fill='currentColor'>{''.join(parts)}</svg>"
    )


def _text(x: float | int, y: float | int, value: str, *, anchor: str = "start", size: float | int = 12) -> str:
    return f"<text x='{x:.1f}' y='{y:.1f}' font-size='{size}' text-anchor='{anchor}'>{text(value)}</text>"


def _polygon(points: Sequence[tuple[float, float]], style: str) -> str:
    corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f"<polygon points='{corners}' {style}/>"
