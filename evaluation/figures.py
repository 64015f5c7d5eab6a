"""Numbers -> inline SVG figures that read on light and dark pages."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from data_pipeline.html import text

PALETTE = ("#8a8f98", "#c08a3e", "#4f7cac", "#2a9d8f", "#d1495b", "#7b5ea7", "#6a994e", "#e07a5f")
"""One colour per method, of a lightness that stands out on white and on black."""
LABEL_WIDTH, BAR_WIDTH, BAR_HEIGHT = 140, 300, 13
LONGEST = 2.5
"""Bars end at this many times the mark, so that one failure does not flatten the rest; their numbers stay."""
MOST_FILLED = 4
"""Shapes of a radar that are filled."""
DOT = 3.2
"""Radius of a value's dot on a radar; dots of one axis that would hide each other lie side by side."""


class Bar(NamedTuple):
    """A value with its interval."""

    value: float
    low: float | None = None
    high: float | None = None


class Place(NamedTuple):
    """A point of a curve, with what most pairs lie between."""

    x: float
    y: float
    low: float
    high: float


def colour(index: int) -> str:
    """Colour of the n-th method."""
    return PALETTE[index % len(PALETTE)]


def grouped_bars(
    groups: Mapping[str, Mapping[str, Bar]],
    methods: Sequence[str],
    *,
    unit: str = "",
    digits: int = 0,
    mark: float | int | None = None,
) -> str:
    """One group of horizontal bars per title, one bar with its interval per method.

    Args:
        groups: title -> method -> value; negative values get no bar, only their number.
        methods: fixes order and colour.
        unit: behind each value.
        digits: after the point.
        mark: a value to mark with a line, such as 100 %.
    """
    bars = [bar for values in groups.values() for bar in values.values()]
    top = max([*(max(bar.value, bar.high or bar.value) for bar in bars), mark or 0, 1e-9])
    top = min(top, LONGEST * mark) if mark else top
    y, parts = 4.0, []
    for title, values in groups.items():
        height = BAR_HEIGHT * len(values)
        parts.append(_text(LABEL_WIDTH - 8, y + height / 2 + 4, title, anchor="end"))
        for i, method in enumerate(m for m in methods if m in values):
            at, bar = y + i * BAR_HEIGHT, values[method]
            parts += _bar(bar, top, at, colour(methods.index(method)), f"{method}: {bar.value:.{digits}f}{unit}")
            number = f"{'» ' if bar.value > top else ''}{bar.value:.{digits}f}{unit}"
            end = BAR_WIDTH * min(1.0, max(0.0, bar.value, bar.high or 0.0) / top)
            parts.append(_text(LABEL_WIDTH + end + 5, at + BAR_HEIGHT - 4, number, size=10))
        y += height + 10
    if mark is not None:
        x = LABEL_WIDTH + BAR_WIDTH * mark / top
        parts.append(_line(x, 0, x, y, "stroke-dasharray='3 3' opacity='.6'"))
    return _svg(LABEL_WIDTH + BAR_WIDTH + 62, y, parts)


def _bar(bar: Bar, top: float, at: float, fill: str, title: str) -> list[str]:
    def x(value: float | int) -> float | int:
        return LABEL_WIDTH + BAR_WIDTH * min(1.0, max(0.0, value) / top)

    parts = [
        f"<rect x='{LABEL_WIDTH}' y='{at:.1f}' width='{x(bar.value) - LABEL_WIDTH:.1f}' height='{BAR_HEIGHT - 3}' "
        f"rx='2' fill='{fill}'><title>{text(title)}</title></rect>"
    ]
    if bar.low is not None and bar.high is not None and bar.high > bar.low:
        middle = at + (BAR_HEIGHT - 3) / 2
        parts.append(_line(x(bar.low), middle, x(bar.high), middle, "opacity='.55' stroke-width='1.5'"))
    return parts


def radar(
    axes: Sequence[str], scores: Mapping[str, Sequence[float | int | None]], *, lowest: float | int = -1.0
) -> str:
    """A radar of scores from `lowest` (centre) to 1 (rim), with a dashed ring at 0.

    Args:
        axes: titles, at least three.
        scores: method -> one score per axis; values outside are drawn at the border, unknown ones leave a gap.
        lowest: score of the centre, 0 or less.
    """
    radius = 150
    # Titles stand beside the rim; a letter of the font is about 6.5 px wide.
    size = max(500, 2 * (1.09 * radius + 6.5 * max(map(len, axes), default=0)))
    middle_x, middle_y = size / 2, 180

    def share(score: float | int) -> float | int:
        return (min(1.0, max(lowest, score)) - lowest) / (1 - lowest)

    def at(axis: int, score: float | int, aside: float | int = 0) -> tuple[float | int, float | int]:
        angle = 2 * math.pi * axis / len(axes) - math.pi / 2
        cos, sin, out = math.cos(angle), math.sin(angle), radius * share(score)
        return middle_x + out * cos - aside * sin, middle_y + out * sin + aside * cos

    parts = []
    for ring in [0.0, 0.5, 1.0] if lowest < 0 else [0.5, 1.0]:
        dash = "stroke-dasharray='4 3' opacity='.8'" if ring == 0 else "opacity='.3'"
        parts.append(_shape([at(i, ring) for i in range(len(axes))], f"fill='none' stroke='currentColor' {dash}"))
    for i, title in enumerate(axes):
        x, y = at(i, 1.0)
        parts.append(_line(middle_x, middle_y, x, y, "opacity='.2'"))
        out_x, out_y = middle_x + (x - middle_x) * 1.09, middle_y + (y - middle_y) * 1.09
        anchor = "middle" if abs(out_x - middle_x) < 20 else ("start" if out_x > middle_x else "end")
        parts.append(_text(out_x, out_y + 4, title, anchor=anchor))
    for ring in (0.0, 0.5, 1.0):
        parts.append(_text(middle_x + 4, at(0, ring)[1] + (11 if ring > lowest else 4), f"{ring:g}", size=10))
    for i, (name, values) in enumerate(scores.items()):
        points = [at(axis, value) for axis, value in enumerate(values) if value is not None]
        style = f"stroke='{colour(i)}' stroke-width='2' stroke-linejoin='round'"
        is_whole = len(points) == len(axes)
        # Many veils over each other are a grey fog.
        inner = f"fill='{colour(i)}' fill-opacity='.1'" if is_whole and len(scores) <= MOST_FILLED else "fill='none'"
        parts.append(_shape(points, f"{inner} {style}", title=name, is_closed=is_whole))
    for axis in range(len(axes)):
        known = {i: value for i, values in enumerate(scores.values()) if (value := values[axis]) is not None}
        places = side_by_side([radius * share(value) for value in known.values()], 2 * DOT)
        for (i, value), aside in zip(known.items(), places, strict=True):
            x, y = at(axis, value, aside)
            name = f"{list(scores)[i]}, {axes[axis]}: {value:.2f}"
            parts.append(
                f"<circle cx='{x:.1f}' cy='{y:.1f}' r='{DOT}' fill='{colour(i)}'><title>{text(name)}</title></circle>"
            )
    return _svg(size, 355, parts)


def side_by_side(places: Sequence[float | int], width: float | int) -> list[float]:
    """Places along an axis -> how far aside each mark of that width goes, so that none hides its neighbours."""
    found, row = [0.0] * len(places), []
    for i in sorted(range(len(places)), key=lambda i: (places[i], i)):
        row = [*row, i] if row and places[i] - places[row[-1]] < width else [i]
        for k, member in enumerate(row):
            found[member] = (k - (len(row) - 1) / 2) * width
    return found


def curves(series: Mapping[str, Sequence[Place]], methods: Sequence[str], *, x_title: str, y_title: str) -> str:
    """What was asked for (across) against what came out (up), a line per method; the dashed diagonal obeys exactly.

    Args:
        series: method -> places in order of x, with a band.
        methods: fixes colours.
        x_title: below.
        y_title: above.
    """
    width, height, left, top = 300, 220, 42, 24
    places = [place for line in series.values() for place in line]
    highest = max([*(place.x for place in places), *(place.high for place in places), 1e-6])
    lowest = min([0.0, *(place.x for place in places), *(place.low for place in places)])

    def at(x: float | int, y: float | int) -> tuple[float | int, float | int]:
        share = 1 / (highest - lowest)
        return left + width * (x - lowest) * share, top + height * (1 - (y - lowest) * share)

    parts = [f"<rect x='{left}' y='{top}' width='{width}' height='{height}' fill='none' stroke='currentColor' "
             "opacity='.25'/>"]  # fmt: skip
    parts.append(_line(*at(lowest, lowest), *at(highest, highest), "stroke-dasharray='4 3' opacity='.6'"))
    for method in (m for m in methods if m in series):
        fill = colour(methods.index(method))
        band = [at(p.x, p.high) for p in series[method]] + [at(p.x, p.low) for p in reversed(series[method])]
        parts.append(_shape(band, f"fill='{fill}' fill-opacity='.13' stroke='none'"))
        parts.append(
            _shape([at(p.x, p.y) for p in series[method]], f"fill='none' stroke='{fill}' stroke-width='2'",
                   title=method, is_closed=False)
        )  # fmt: skip
    for value in (lowest, (lowest + highest) / 2, highest):
        x, y = at(value, value)
        parts.append(_text(x, top + height + 14, f"{value:.2f}", anchor="middle", size=10))
        parts.append(_text(left - 5, y + 4, f"{value:.2f}", anchor="end", size=10))
    parts.append(_text(left + width / 2, top + height + 30, x_title, anchor="middle"))
    parts.append(_text(left, top - 9, y_title))
    return _svg(left + width + 24, top + height + 36, parts)


def legend(methods: Sequence[str]) -> str:
    """Colour patches and names."""
    return " &ensp; ".join(
        f"<span class='bar' style='width:.8em;background:{colour(i)}'></span> {text(name)}"
        for i, name in enumerate(methods)
    )


def _svg(width: float | int, height: float | int, parts: Sequence[str]) -> str:
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width:.0f} {height:.0f}' width='{width:.0f}' "
        f"style='max-width:100%;height:auto' role='img' font-family='system-ui, sans-serif' fill='currentColor'>"
        f"{''.join(parts)}</svg>"
    )


def _text(x: float | int, y: float | int, value: str, *, anchor: str = "start", size: float | int = 12) -> str:
    return f"<text x='{x:.1f}' y='{y:.1f}' font-size='{size}' text-anchor='{anchor}'>{text(value)}</text>"


def _line(x1: float | int, y1: float | int, x2: float | int, y2: float | int, style: str) -> str:
    return f"<line x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}' stroke='currentColor' {style}/>"


def _shape(
    points: Sequence[tuple[float | int, float | int]], style: str, *, title: str = "", is_closed: bool = True
) -> str:
    corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    kind = "polygon" if is_closed else "polyline"
    return f"<{kind} points='{corners}' {style}>{f'<title>{text(title)}</title>' if title else ''}</{kind}>"


def legend_svg(methods: Sequence[str]) -> str:
    """The same as a drawing of its own."""
    parts, x = [], 4.0
    for i, name in enumerate(methods):
        parts.append(f"<rect x='{x:.0f}' y='5' width='12' height='12' rx='2' fill='{colour(i)}'/>")
        parts.append(_text(x + 17, 15, name))
        x += 34 + 7.2 * len(name)
    return _svg(x, 22, parts)
