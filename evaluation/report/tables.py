"""An evaluation -> the tables of its report."""

import math
from collections.abc import Sequence
from typing import Any

from evaluation.metric_groups import grouped, is_detail
from evaluation.metrics.catalog import BY_NAME, METRICS
from evaluation.metrics.metric import Metric
from evaluation.report.blocks import Cell, Spanning, Table
from evaluation.report.scores import Axis
from evaluation.results import Evaluation
from evaluation.rows import PairRow
from evaluation.statistics import Comparison, Mean

ARROWS = {"up": "↑", "down": "↓", "one": "→1", "zero": "→0"}
ELSEWHERE = ("config", "notes")
"""Facts of an evaluation that the report shows in other places."""
ABSENT = Cell("not measured", mood="absent")
ALPHA = 0.05
SMALLEST_P = 0.001
MORE_DIGITS = 3
"""That a small difference gets at most."""


def summary_table(result: Evaluation) -> Table:
    """Metrics x methods in groups: means, 95 % intervals, the best in bold; what is missing and why."""
    methods, measured = list(result.methods), set(result.measured())
    rows: list[Any] = []
    for question, metrics in grouped([metric for metric in METRICS if not is_detail(metric.name)]):
        lines = [_metric_line(result, metric, methods) for metric in metrics if metric.name in measured]
        reasons: dict[str, list[str]] = {}
        for metric in metrics:
            if metric.name not in measured and metric.name in result.not_measured:
                reasons.setdefault(result.not_measured[metric.name], []).append(metric.title)
        if lines or reasons:
            rows.append(Spanning(question, is_group=True))
            rows += lines
            rows += [Spanning(f"{', '.join(titles)}: not measured", reason) for reason, titles in reasons.items()]
    rows += [Spanning("What does it cost?", is_group=True), _time_line(result, methods)]
    return Table(["", *methods], rows)


def details_table(result: Evaluation) -> Table | None:
    """The numbers that the summary leaves out; None where there are none."""
    methods = list(result.methods)
    details = [BY_NAME[name] for name in result.measured() if is_detail(name)]
    return Table(["", *methods], [_metric_line(result, metric, methods) for metric in details]) if details else None


def _metric_line(result: Evaluation, metric: Metric, methods: Sequence[str]) -> list[Cell]:
    if metric.of_set:
        values = [result.value(method, metric) for method in methods]
        best = best_of(metric, values)
        cells = [
            ABSENT if value is None else Cell(number(metric, value), "whole set", "best" if i in best else "")
            for i, value in enumerate(values)
        ]
        return [title_cell(metric), *cells]
    means = [result.mean(method, metric.name) for method in methods]
    best = best_of(metric, [mean and mean.mean for mean in means])
    return [title_cell(metric), *(_mean_cell(metric, mean, is_best=i in best) for i, mean in enumerate(means))]


def _time_line(result: Evaluation, methods: Sequence[str]) -> list[Cell]:
    # Finished runs may come from different machines, or from one that had more to do.
    where = "; the runs' machines may differ, and how busy they were" if "runs" in result.about else ""
    cells = [Cell("time ↓", f"ms a frame, when it was made{where}")]
    for method in methods:
        rows = [row for row in result.rows if row.method == method]
        frames = sum(row.num_frames for row in rows)
        cells.append(Cell(f"{1000 * sum(row.seconds for row in rows) / frames:.1f}") if frames else ABSENT)
    return cells


def comparison_table(result: Evaluation, names: Sequence[str] | None = None) -> Table:
    """Metrics x compared methods: paired differences with interval and corrected p-value, coloured when significant.

    Args:
        result: an evaluation of two or more methods.
        names: the metrics that are tested together; None: all.
    """
    pairs = result.compared
    columns = [{one.metric: one for one in result.comparisons(first, second, names)} for first, second in pairs]
    head = ["", *(f"{second} − {first}" for first, second in pairs)]
    shown = [metric for metric in METRICS if any(metric.name in column for column in columns)]
    rows: list[Any] = []
    for question, metrics in grouped(shown):
        rows.append(Spanning(question, is_group=True))
        rows += [[title_cell(m), *(difference_cell(m, column.get(m.name)) for column in columns)] for m in metrics]
    return Table(head, rows)


def species_table(result: Evaluation) -> Table:
    """The main numbers of every method per species of the source."""
    rows = [
        [one, method, *_main_numbers(result, [r for r in result.rows if r.species == one and r.method == method])]
        for one in result.species()
        for method in result.methods
    ]
    return Table(["species", "method", "pairs", *_main_titles(result)], rows, text_columns=(1,))


def tag_table(result: Evaluation, tag: str, values: Sequence[str]) -> Table:
    """The main numbers of every method per value of a tag."""
    rows = [
        [
            value,
            method,
            *_main_numbers(result, [r for r in result.rows if r.tags.get(tag) == value and r.method == method]),
        ]
        for value in values
        for method in result.methods
    ]
    return Table([tag, "method", "pairs", *_main_titles(result)], rows, text_columns=(1,))


def _main_numbers(result: Evaluation, rows: Sequence[PairRow]) -> list[str]:
    """How many rows, and the mean of each main metric over them."""
    shown = [str(len(rows))]
    for metric in result.main:
        values = [row.metrics[metric.name] for row in rows if metric.name in row.metrics]
        shown.append(number(metric, sum(values) / len(values)) if values else "–")
    return shown


def _main_titles(result: Evaluation) -> list[str]:
    return [f"{metric.title} {ARROWS[metric.better]}" for metric in result.main]


def axes_table(axes: Sequence[Axis]) -> Table:
    """How each axis of the radar is normalised."""
    rows = [
        [axis.metric.title, f"{number(axis.metric, axis.zero)} ({axis.zero_says})", number(axis.metric, axis.one)]
        for axis in axes
    ]
    return Table(["axis", "score 0 (dashed ring)", "score 1 (rim)"], rows)


def definitions_table(results: Sequence[Evaluation]) -> Table:
    """What each number is and who defines it, stand-ins named."""
    used = {name for result in results for name in result.measured()}
    rows = [
        [f"{m.title} {ARROWS[m.better]}", m.unit, f"{_stands(m)}{m.definition}", m.source]
        for m in METRICS
        if m.name in used
    ]
    return Table(["metric", "unit", "definition", "defined by"], rows, text_columns=(1, 2, 3))


def provenance_table(results: Sequence[Evaluation]) -> Table:
    """Weights, data, machine."""
    rows = []
    for result in results:
        rows += [[result.protocol, method, flat(about)] for method, about in result.methods.items()]
        rows += [[result.protocol, key, flat(value)] for key, value in result.about.items() if key not in ELSEWHERE]
    return Table(["protocol", "what", "value"], rows, text_columns=(1, 2))


def failures_table(result: Evaluation, limit: int = 30) -> Table:
    """What could not be measured, and why."""
    rows: list[Any] = [[one.pair_id, one.method or "all (the pair)", one.reason] for one in result.failures[:limit]]
    if len(result.failures) > limit:
        rows.append(Spanning(f"and {len(result.failures) - limit} more, in failures.csv"))
    return Table(["pair", "method", "reason"], rows, text_columns=(1, 2))


def title_cell(metric: Metric) -> Cell:
    """Name, arrow, unit; a stand-in says for what it stands."""
    notes = [metric.unit, f"stand-in, not {metric.stands_for}" if metric.is_stand_in else ""]
    return Cell(f"{metric.title} {ARROWS[metric.better]}", ", ".join(note for note in notes if note), is_inline=True)


def best_of(metric: Metric, values: Sequence[float | None]) -> set[int]:
    """Every method whose rounded value equals the best; nobody where all are equal."""
    shown = [None if value is None else round(value, metric.digits) for value in values]
    known = [value for value in shown if value is not None]
    rank = {"up": lambda v: -v, "down": lambda v: v, "one": lambda v: abs(v - 1), "zero": abs}[metric.better]
    if len({rank(value) for value in known}) < 2:
        return set()
    goal = min(rank(value) for value in known)
    return {i for i, value in enumerate(shown) if value is not None and rank(value) == goal}


def verdict(metric: Metric, one: Comparison) -> str:
    """Say "better", "worse", or nothing where the difference may be chance (Holm's p of 0.05 or more)."""
    if one.p_holm is None or one.p_holm >= ALPHA or not one.difference.mean:
        return ""
    return "better" if (one.difference.mean > 0) == (metric.better == "up") else "worse"


def difference_cell(metric: Metric, one: Comparison | None) -> Cell:
    """A paired difference with its interval and corrected p-value."""
    if one is None:
        return Cell("–", mood="absent")
    mean, mood = one.difference, verdict(metric, one)
    shown, low, high = (_signed(value, _digits(metric, mean)) for value in mean[:3])
    return Cell(shown, f"{low} … {high}, {p_text(one.p_holm)}", mood)  # pyright: ignore[reportArgumentType]


def _digits(metric: Metric, difference: Mean) -> int:
    """As many as the metric has, or a few more: two that are not 0 show which way a small difference goes."""
    largest = max(abs(value) for value in difference[:3])
    if largest == 0:
        return metric.digits
    return min(max(metric.digits, 1 - math.floor(math.log10(largest))), metric.digits + MORE_DIGITS)


def _signed(value: float, digits: int) -> str:
    """With its sign, unless it shows as 0."""
    text = f"{value:+.{digits}f}"
    return text if float(text) else text[1:]


def p_text(p: float | None) -> str:
    """A p-value as a table shows it."""
    if p is None:
        return "p unknown"
    return f"p < {SMALLEST_P}" if p < SMALLEST_P else f"p = {p:.2g}"


def number(metric: Metric, value: float) -> str:
    """A value with the digits of its metric; 0 has no sign."""
    text = f"{value:.{metric.digits}f}"
    return text if float(text) else text.lstrip("-")


def flat(value: Any) -> str:  # noqa: ANN401 - provenance may hold anything
    """A nested value as one line."""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {flat(inner)}" for key, inner in value.items())
    return ", ".join(flat(inner) for inner in value) if isinstance(value, list | tuple) else str(value)


def _mean_cell(metric: Metric, mean: Mean | None, *, is_best: bool) -> Cell:
    if mean is None:
        return ABSENT
    interval = f"{number(metric, mean.low)} … {number(metric, mean.high)}"
    return Cell(number(metric, mean.mean), interval, "best" if is_best else "")


def _stands(metric: Metric) -> str:
    return f"(stand-in, not {metric.stands_for}) " if metric.is_stand_in else ""
