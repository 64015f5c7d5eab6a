"""Counts, values and pictures -> charts and sheets as HTML that needs neither scripts nor other files."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from data_pipeline.html import jpeg_url, text

STYLE = """<style>
.funnel { display: grid; grid-template-columns: 15rem 1fr; gap: .35rem 1rem; align-items: center; margin: 1rem 0; }
.funnel .name { text-align: right; } .funnel .lost { grid-column: 2; font-size: .85em; opacity: .8;
  margin: -.25rem 0 .3rem; }
.level { display: flex; align-items: center; gap: .6rem; } .level b { font-variant-numeric: tabular-nums; }
.level i { display: block; height: 1.5rem; background: var(--ink); border-radius: 3px; min-width: 2px; }
.level.pieces i { background: #2a9d8f; } .minus { color: var(--gone); }
.stack { display: flex; height: 1.1rem; border-radius: 3px; overflow: hidden; min-width: 14rem; }
.stack i { display: block; } .key i { display: inline-block; width: .8em; height: .8em; border-radius: 2px;
  margin: 0 .35em 0 1em; }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(7.6rem, 1fr)); gap: .6rem; margin: .6rem 0; }
.tile { min-width: 0; font-size: .74rem; line-height: 1.25; }
.tile img { width: 100%; aspect-ratio: 1; object-fit: cover; display: block; border-radius: 4px; margin-bottom: .2rem; }
.tile .none { aspect-ratio: 1; background: var(--soft); border-radius: 4px; display: grid; place-items: center;
  margin-bottom: .2rem; }
.tile span { display: block; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; opacity: .85; }
.tile.kept img { outline: 3px solid #2a9d8f; outline-offset: -3px; }
.tile.gone img { outline: 3px solid var(--gone); outline-offset: -3px; }
.two, .flow { display: flex; flex-wrap: wrap; align-items: flex-start; gap: 0 3rem; } .flow { gap: .2rem 1.4rem; }
.flow > details { flex: 0 0 100%; min-width: 0; }
.flow > details[style] .tiles { grid-template-columns: repeat(auto-fill, 7.7rem); } .two > div { min-width: 0; }
.group { border: 1px solid var(--line); border-radius: 6px; padding: .2rem .7rem; margin: .7rem 0; }
figure.small { margin: 0; padding: .5rem .6rem; border: 1px solid var(--line); border-radius: 6px; }
figure.small svg { width: 100%; height: auto; display: block; margin-top: .4rem; } figure.small b { font-weight: 600; }
@media (max-width: 40rem) { .funnel { grid-template-columns: 1fr; } .funnel .name { text-align: left; }
  .funnel .lost { grid-column: 1; } }
</style>"""
COLOURS = ("#2a6f97", "#e9a23b", "#2a9d8f", "#8d6cab", "#d1495b", "#7a7a7a")
_WIDTH, _HEIGHT, _BINS = 320, 84, 32
_TAIL_PERCENT = 0.5
"""Of values at each end are put into the outermost bars, so that one odd value does not flatten the rest."""


Values = Sequence[float] | np.ndarray


class Level(NamedTuple):
    """A bar of a funnel."""

    name: str
    unit: str
    num: int
    lost: Mapping[str, int]
    """What was lost on the way here, by reason."""


def funnel(levels: Sequence[Level]) -> str:
    """Bars below each other; each unit's first bar has the full width, and between bars stands what was lost."""
    first: dict[str, int] = {}
    parts = []
    for level in levels:
        most = first.setdefault(level.unit, max(level.num, 1))
        if level.lost:
            lost = sorted(level.lost.items(), key=lambda item: -item[1])
            said = ", ".join(f"<span class='minus'>−{n}</span> {text(reason)}" for reason, n in lost)
            parts.append(f"<div class='lost'>{said}</div>")
        parts.append(
            f"<div class='name'>{text(level.name)}</div><div class='level {text(level.unit)}'>"
            f"<i style='width:{80 * level.num / most:.2f}%'></i><b>{level.num}</b> {text(level.unit)}</div>"
        )
    return f"<div class='funnel'>{''.join(parts)}</div>"


def key(names: Sequence[str]) -> str:
    """Which colour is what."""
    marks = (f"<i style='background:{COLOURS[n % len(COLOURS)]}'></i>{text(name)}" for n, name in enumerate(names))
    return f"<p class='key note'>{''.join(marks)}</p>"


def stack(counts: Mapping[str, int], whole: int, names: Sequence[str]) -> str:
    """One bar of several colours; its length is its share of `whole`."""
    share = 100 / whole if whole else 0.0
    parts = (
        f"<i title='{text(name)}: {counts.get(name, 0):g}' "
        f"style='width:{counts.get(name, 0) * share:.2f}%;background:{COLOURS[n % len(COLOURS)]}'></i>"
        for n, name in enumerate(names)
    )
    return f"<div class='stack'>{''.join(parts)}</div>"


class Mark(NamedTuple):
    """A threshold of a histogram."""

    value: float
    said: str


def histogram(
    kept: Values, gone: Values, title: str, note: str = "", marks: Sequence[Mark] = (), is_log: bool = False
) -> str:
    """What was kept and, on top of it, what was dropped; thresholds are drawn as lines.

    A bar's height is the square root of its count, so that few can be seen beside many.

    Args:
        kept: values in blue.
        gone: values in red.
        title: what was measured.
        note: its unit.
        marks: those that lie within the values are drawn, all are told.
        is_log: lay values out by their logarithm.
    """
    bins = _BINS
    both = np.concatenate([np.asarray(kept, float), np.asarray(gone, float)])
    said = "".join(f" <span class='note'>· {text(mark.said)}</span>" for mark in marks)
    head = f"<figcaption><b>{text(title)}</b> {text(note)}{said}</figcaption>"
    if not len(both):
        return f"<figure class='small'>{head}<p class='note'>nothing measured</p></figure>"
    low, high = _span(both, [mark.value for mark in marks])
    is_log = is_log and low > 0

    def place(values: Values) -> np.ndarray:
        inside = np.clip(np.asarray(values, float), low, high)
        return np.log(inside / low) / np.log(high / low) if is_log else (inside - low) / (high - low)

    counts = [np.histogram(place(part), bins, (0, 1))[0] for part in (kept, gone)]
    total = counts[0] + counts[1]
    unit = _HEIGHT / np.sqrt(max(1, int(total.max())))
    step = _WIDTH / bins
    boxes = []
    for i in np.flatnonzero(total):
        tall = float(np.sqrt(total[i])) * unit
        blue = tall * counts[0][i] / total[i]
        for top, height, colour in ((_HEIGHT - blue, blue, "var(--ink)"), (_HEIGHT - tall, tall - blue, "var(--gone)")):
            if height:
                place_and_size = f"x='{i * step:.1f}' y='{top:.1f}' width='{step - 1:.1f}' height='{height:.1f}'"
                boxes.append(f"<rect {place_and_size} fill='{colour}'/>")
    lines = []
    for mark in marks:
        if low <= mark.value <= high:
            x = _WIDTH * float(place([mark.value])[0])
            lines.append(f"<line x1='{x:.1f}' x2='{x:.1f}' y1='0' y2='{_HEIGHT}' stroke='currentColor' "
                         "stroke-width='1.5' stroke-dasharray='4 3'/>")  # fmt: skip
    labels = (
        f"<text x='0' y='{_HEIGHT + 14}'>{_short(low, both.min())}</text>"
        f"<text x='{_WIDTH}' y='{_HEIGHT + 14}' text-anchor='end'>{_short(high, both.max())}</text>"
    )
    return (
        f"<figure class='small'>{head}<svg viewBox='0 0 {_WIDTH} {_HEIGHT + 18}' font-size='11' fill='currentColor'>"
        f"{''.join(boxes)}{''.join(lines)}{labels}</svg></figure>"
    )


def _span(values: np.ndarray, marks: Sequence[float]) -> tuple[float, float]:
    low, high = (float(v) for v in np.percentile(values, [_TAIL_PERCENT, 100 - _TAIL_PERCENT]))
    near = [m for m in marks if float(values.min()) <= m <= float(values.max())]
    low, high = min([low, *near]), max([high, *near])
    return (low, high) if high > low else (low, low + 1.0)


def _short(edge: float, extreme: float) -> str:
    """An edge's number; with the extreme value where that lies beyond."""
    beyond = f" ({extreme:.3g})" if abs(extreme - edge) > 1e-2 * max(abs(edge), 1e-3) else ""
    return f"{edge:.3g}{beyond}"


class Shown(NamedTuple):
    """A picture of a sheet; None: there is none to show."""

    image: UInt8[np.ndarray, "H W 3"] | None
    title: str
    note: str = ""
    mood: str = ""
    """kept, gone or nothing: the colour of its border."""


def tiles(shown: Sequence[Shown], tile_px: int, quality: int = 76) -> str:
    """A sheet of square pictures with their names."""
    return f"<div class='tiles'>{''.join(_tile(one, tile_px, quality) for one in shown)}</div>"


def _tile(one: Shown, tile_px: int, quality: int) -> str:
    import cv2

    if one.image is None:
        picture = "<div class='none'>no picture</div>"
    else:
        height, width = one.image.shape[:2]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = np.ascontiguousarray(one.image[top : top + side, left : left + side])
        small = cv2.resize(square, (tile_px, tile_px), interpolation=cv2.INTER_AREA)
        picture = f"<img alt='{text(one.title)}' src='{jpeg_url(small, quality)}'>"
    note = f"<span>{text(one.note)}</span>" if one.note else ""
    return (
        f"<div class='tile {text(one.mood)}' title='{text(one.title)} {text(one.note)}'>{picture}"
        f"<span>{text(one.title)}</span>{note}</div>"
    )
