"""An evaluation -> its figures: share of the copy's error, radar, bars by species, curves of sweeps."""

import re
from collections.abc import Sequence
from itertools import zip_longest

import numpy as np

from evaluation.figures import Bar, Place, curves, grouped_bars, radar
from evaluation.metric_groups import grouped
from evaluation.metrics.catalog import BY_NAME
from evaluation.metrics.metric import Metric
from evaluation.report.blocks import Figure
from evaluation.report.scores import FEWEST_AXES, TINY, Axis, scores_of
from evaluation.report.tables import ARROWS
from evaluation.results import COPY, Evaluation
from evaluation.rows import PairRow
from evaluation.statistics import Mean

ERRORS = ("l1", "lpips", "grad_distance", "l1_face", "l1_eyes", "l1_mouth", "l1_background", "point_error",
          "pose_error_deg", "flicker")  # fmt: skip
"""Metrics that are errors against the truth, so that a share of the copy's error can be given."""
RADAR_CENTRES = (0.0, -0.25, -0.5, -1.0)
"""What the centre of a radar may mean: the first that no score is below."""
SWEEP_STEPS = 12
"""Places along a curve; the frames of all pairs near one are joined."""


def share_figure(result: Evaluation) -> Figure | None:
    """Errors in percent of copying the source; None where nobody copied it."""
    if COPY not in result.methods:
        return None
    groups = {}
    for name in (name for name in ERRORS if name in result.measured()):
        means = {method: mean for method in result.methods if (mean := result.mean(method, name))}
        base = means.get(COPY)
        # Without a copy that errs there is nothing to be a share of (flicker of a still, say).
        if base and base.mean > TINY and len(means) > 1:
            groups[BY_NAME[name].title] = {
                m: Bar(*(100 * v / base.mean for v in mean[:3])) for m, mean in means.items()
            }
    if not groups:
        return None
    svg = grouped_bars(groups, list(result.methods), unit="%", mark=100)
    caption = "Error in percent of copying the source (dashed: 100 %); shorter is better. Lines: 95 % intervals."
    return Figure(f"{result.protocol}_errors", svg, caption)


def radar_figure(result: Evaluation, axes: Sequence[Axis]) -> Figure | None:
    """All methods on all axes; None where there are too few for a shape."""
    if len(axes) < FEWEST_AXES:
        return None
    scores = scores_of(result, list(axes))
    known = [score for values in scores.values() for score in values if score is not None]
    lowest = next(centre for centre in RADAR_CENTRES if min(known) >= centre - TINY or centre == RADAR_CENTRES[-1])
    svg = radar([axis.metric.title for axis in axes], scores, lowest=lowest)
    below = f", the dashed ring the value that the table below calls 0, the centre {lowest:g}" if lowest else (
        ", the centre the value that the table below calls 0"
    )  # fmt: skip
    caption = (
        f"Outwards is better: the rim (1) is a perfect result{below}. Dots that would hide each other lie side "
        "by side. Different units share one drawing, so areas mean nothing: compare along one axis."
    )
    return Figure(f"{result.protocol}_radar", svg, caption)


def breakdown_figures(result: Evaluation, tag: str, limit: int = 4) -> list[Figure]:
    """Bars of every method per value of a tag, one drawing per metric, metrics of different questions first.

    Args:
        result: an evaluation.
        tag: "species", or one of its tags.
        limit: drawings at most.
    """
    values = result.species() if tag == "species" else result.tag_values()[tag]

    def mean(method: str, metric: Metric, value: str) -> Mean | None:
        if tag == "species":
            return result.mean(method, metric.name, value)  # pyright: ignore[reportArgumentType]
        return result.mean(method, metric.name, tags={tag: value})

    drawn = []
    for metric in _mixed(result.main):
        means = [found.mean for method in result.methods if (found := result.mean(method, metric.name))]
        if len(drawn) == limit or max(means) - min(means) < TINY:  # bars of one length show nothing
            continue
        groups = {
            value: {m: Bar(*found[:3]) for m in result.methods if (found := mean(m, metric, value))} for value in values
        }
        bars = {value.replace("_", " "): bars for value, bars in groups.items() if bars}
        svg = grouped_bars(bars, list(result.methods), digits=min(metric.digits, 3))
        drawn.append(Figure(f"{result.protocol}_{tag}_{metric.name}", svg, f"{metric.title} {ARROWS[metric.better]}"))
    return drawn


def _mixed(metrics: Sequence[Metric]) -> list[Metric]:
    """The first of every group, then the second of every group, ..."""
    turns = zip_longest(*(members for _, members in grouped(metrics)))
    return [metric for turn in turns for metric in turn if metric is not None]


def sweep_figures(result: Evaluation) -> list[Figure]:
    """Commanded against measured opening, a drawing per species and per what was commanded."""
    drawn = []
    for what in sorted({name for row in result.rows for name in row.curve if name != "commanded"}):
        for species in sorted({row.species for row in result.rows if what in row.curve}):
            series = {}
            for method in result.methods:
                rows = [r for r in result.rows if r.method == method and r.species == species and what in r.curve]
                if line := curve_of(rows, what):
                    series[method] = line
            if series:
                svg = curves(series, list(result.methods), x_title=f"{what}: asked for", y_title="came out")
                name = re.sub(r"\W+", "_", f"{result.protocol}_{what}_{species}")
                drawn.append(
                    Figure(
                        name,
                        svg,
                        f"{what} of a {species} (dashed: obeys exactly; bands: the middle half of all frames)",
                    )
                )
    return drawn


def curve_of(rows: Sequence[PairRow], what: str) -> list[Place]:
    """Frames of all pairs -> mean measured value near each commanded one, with the middle half as a band."""
    found = [
        (x, y)
        for row in rows
        for x, y in zip(row.curve["commanded"], row.curve[what], strict=True)
        if x is not None and y is not None
    ]
    if not found:
        return []
    x, y = np.array(found).T
    edges = np.linspace(x.min(), x.max() + 1e-9, SWEEP_STEPS + 1)
    bins = np.digitize(x, edges[1:-1])
    places = []
    for i in range(SWEEP_STEPS):
        if (here := bins == i).any():
            low, high = np.percentile(y[here], [25, 75])
            places.append(Place(float(x[here].mean()), float(y[here].mean()), float(low), float(high)))
    return places
