"""Evaluations -> one HTML file that holds everything: tables, figures, videos, failures, where it comes from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_pipeline import html
from data_pipeline.shards import write_text
from evaluation.evaluate import Evaluation, Example
from evaluation.figures import grouped_bars, legend, radar
from evaluation.metrics.catalog import BY_NAME, METRICS, Metric
from evaluation.statistics import Mean

ARROWS = {"up": "↑", "down": "↓", "one": "→1"}
ERRORS = ("l1", "l1_face", "l1_eyes", "l1_mouth", "l1_background", "grad_distance", "lpips", "flicker", "point_error")
"""Metrics that are errors, so that a share of the baseline's error can be given."""
BASELINE = "copy source"
NUM_WORST = 6
STYLE = """<style>
.best { font-weight: 700; } .ci { opacity: .65; font-size: .85em; white-space: nowrap; }
td.better { color: #2a9d8f; } td.worse { color: #d1495b; }
.wide { overflow-x: auto; } .cards figure { margin: 0; } .pair { display: flex; flex-wrap: wrap; gap: 2rem; }
details { margin: .5rem 0; } video { width: 100%; }
</style>"""
PROTOCOLS = {
    "self": (
        "Self-reenactment",
        "The first frame of each clip is moved by the whole clip and should become it. Source, driver and truth are "
        "one animal, so this measures what the networks can draw, not how motion crosses from people to animals.",
    ),
    "puppets_cross": (
        "A person drives an animal: exact truth",
        "Puppets perform the same motion as a person and as an animal. The animal's first frame is moved by the "
        "person's clip; the animal's own frames are the truth, frame by frame. Relative motion.",
    ),
}  # fmt: skip


def write_report(
    path: Path,
    evaluations: Sequence[Evaluation],
    *,
    title: str = "Evaluation",
    subtitle: str = "",
    before: Sequence[str] = (),
    after: Sequence[str] = (),
) -> Path:
    """Write the page; the file appears whole or not at all.

    Args:
        path: the HTML file.
        evaluations: one block each.
        title: heading of the page.
        subtitle: a line below it.
        before: HTML fragments (see `data_pipeline.html`) in front of the evaluations.
        after: HTML fragments behind them.

    Returns:
        The path.
    """
    blocks = [block for evaluation in evaluations for block in evaluation_sections(evaluation)]
    sections = [STYLE, *before, *blocks, *after]
    if evaluations:
        sections += [definitions_section(evaluations), provenance_section(evaluations)]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, html.page(title, sections, subtitle))
    return path


def evaluation_sections(evaluation: Evaluation) -> list[str]:
    """Everything about one protocol: numbers, figures, videos, worst cases."""
    heading, explanation = PROTOCOLS.get(evaluation.protocol, (evaluation.protocol, ""))
    species = ", ".join(evaluation.species())
    frames = sum(row.num_frames for row in evaluation.rows) // max(1, len(evaluation.methods))
    counts = f"{evaluation.num_pairs} pairs ({species}), {frames} frames; every method saw the same."
    parts = [html.paragraph(explanation), html.paragraph(counts), summary_table(evaluation), figures(evaluation)]
    if len(evaluation.species()) > 1:
        parts += ["<h3>By species</h3>", species_table(evaluation)]
    return [html.section(heading, *parts), *_gallery(evaluation)]


def summary_table(evaluation: Evaluation) -> str:
    """Metrics x methods: means, 95 % intervals, the best in bold, and what the last method changed."""
    methods = list(evaluation.methods)
    previous = methods[-2] if len(methods) > 1 else None
    head = ["metric", *methods, *([f"{methods[-1]} − {previous}"] if previous else [])]
    lines = []
    for metric in METRICS:
        if metric.name in evaluation.not_measured and metric.name not in evaluation.measured():
            continue
        means = [evaluation.mean(method, metric.name) for method in methods]
        best = _best(metric, means)
        cells = [f"<td>{_title(metric)}</td>"]
        cells += [_cell(metric, mean, is_best=i in best) for i, mean in enumerate(means)]
        if previous:
            cells.append(_difference_cell(metric, evaluation.difference(previous, methods[-1], metric.name)))
        lines.append(f"<tr>{''.join(cells)}</tr>")
    header = "".join(f"<th>{html.text(name)}</th>" for name in head)
    note = (
        "Means over pairs with bootstrap 95 % intervals; bold: best; the last column is a paired difference, coloured "
        "where its interval leaves out 0."
    )
    absent = "; ".join(
        f"{BY_NAME[name].title} ({html.text(reason)})"
        for name, reason in evaluation.not_measured.items()
        if name in BY_NAME and name not in evaluation.measured()
    )
    return (
        f"<div class='wide'><table><thead><tr>{header}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
        f"<p class='note'>{note}</p>" + (f"<p class='note'><b>Not measured:</b> {absent}.</p>" if absent else "")
    )


def species_table(evaluation: Evaluation) -> str:
    """The main numbers of every method per species of the source."""
    names = [name for name in ("l1_face", "l1_mouth", "ssim", "motion_gain") if name in evaluation.measured()]
    rows = []
    for one in evaluation.species():
        for method in evaluation.methods:
            means = [evaluation.mean(method, name, one) for name in names]
            numbers = [_number(BY_NAME[n], m.mean) if m else "–" for n, m in zip(names, means, strict=True)]
            count = len(evaluation.values(method, "l1", one))
            rows.append([one, method, count, *numbers])
    header = ["species", "method", "pairs", *(f"{BY_NAME[n].title} {ARROWS[BY_NAME[n].better]}" for n in names)]
    return html.table(header, rows, text_columns=(1,))


def figures(evaluation: Evaluation) -> str:
    """Share of the baseline's error that is left (bars), and the share that is gone (radar)."""
    if BASELINE not in evaluation.methods:
        return ""
    methods = list(evaluation.methods)
    left = {
        BY_NAME[name].title: shares
        for name in ERRORS
        if name in evaluation.measured() and len(shares := _error_shares(evaluation, name)) > 1
    }
    if not left:
        return ""
    bars = grouped_bars(
        {title: {m: 100 * v for m, v in shares.items()} for title, shares in left.items()}, methods, mark=100
    )
    caption = "Error in percent of copying the source (dashed line: 100 %). Shorter is better."
    parts = [f"<figure>{bars}<figcaption>{caption}</figcaption></figure>"]
    axes = [title for title, shares in left.items() if len(shares) == len(methods)]
    if len(axes) >= 3:
        scores = {method: [1 - left[title][method] for title in axes] for method in methods}
        caption = "Share of the copy's error that is gone: dashed ring 0 = copy source, rim 1 = the truth, centre −0.5."
        parts.append(f"<figure>{radar(axes, scores)}<figcaption>{caption}</figcaption></figure>")
    return f"<p>{legend(methods)}</p><div class='pair'>{''.join(parts)}</div>"


def definitions_section(evaluations: Sequence[Evaluation]) -> str:
    """What each number is, stand-ins named."""
    used = {name for evaluation in evaluations for name in evaluation.measured()}
    rows = [
        [f"{m.title} {ARROWS[m.better]}", m.unit, "stand-in" if m.is_stand_in else "", m.definition]
        for m in METRICS
        if m.name in used
    ]
    return html.section("What the numbers are", html.table(["metric", "unit", "", "definition"], rows, (1, 2, 3)))


def provenance_section(evaluations: Sequence[Evaluation]) -> str:
    """Weights, data, configuration, machine."""
    rows = []
    for evaluation in evaluations:
        for method, about in evaluation.methods.items():
            rows.append([evaluation.protocol, method, _flat(about)])
        rows += [[evaluation.protocol, key, _flat(value)] for key, value in evaluation.about.items()]
    return html.section("Where it comes from", html.table(["protocol", "what", "value"], rows, (1, 2)))


def _gallery(evaluation: Evaluation) -> list[str]:
    videos = [example for example in evaluation.examples if example.video is not None]
    sections = []
    if videos:
        cards = "".join(html.clip(example.video, _caption(example)) for example in videos if example.video)
        sections.append(html.section("Side by side", cards))
    worst = worst_examples(evaluation)
    if worst:
        method = list(evaluation.methods)[-1]
        stills = "".join(_still(example, f"{value:.4f}") for example, value in worst)
        note = f"The {len(worst)} pairs with the largest L1 inside the head for “{method}”, each at its worst frame."
        sections.append(html.section("Worst cases", html.paragraph(note), stills))
    return sections


def worst_examples(evaluation: Evaluation) -> list[tuple[Example, float]]:
    """Pairs on which the last method fails most, worst first."""
    method = list(evaluation.methods)[-1]
    name = "l1_face" if "l1_face" in evaluation.measured() else "l1"
    values = evaluation.values(method, name)
    known = [(example, values[example.pair_id]) for example in evaluation.examples if example.pair_id in values]
    return sorted(known, key=lambda entry: -entry[1])[:NUM_WORST]


def _still(example: Example, value: str) -> str:
    import base64

    data = base64.b64encode(example.still.read_bytes()).decode()
    caption = html.text(f"{_caption(example)} · L1 head {value}")
    return (
        f"<figure><img alt='{caption}' src='data:image/jpeg;base64,{data}'><figcaption>{caption}</figcaption></figure>"
    )


def _caption(example: Example) -> str:
    return f"{' | '.join(example.panels)} · {example.pair_id}"


def _error_shares(evaluation: Evaluation, name: str) -> dict[str, float]:
    means = {method: evaluation.mean(method, name) for method in evaluation.methods}
    base = means[BASELINE]
    # Without a baseline that errs there is nothing to be a share of (flicker of a still, say).
    if base is None or base.mean < 1e-6:
        return {}
    return {method: mean.mean / base.mean for method, mean in means.items() if mean}


def _best(metric: Metric, means: Sequence[Mean | None]) -> set[int]:
    """Every method whose rounded mean equals the best."""
    shown = [None if mean is None else round(mean.mean, metric.digits) for mean in means]
    known = [value for value in shown if value is not None]
    if len(known) < 2:
        return set()
    rank = {"up": lambda v: -v, "down": lambda v: v, "one": lambda v: abs(v - 1)}[metric.better]
    goal = min(rank(value) for value in known)
    return {i for i, value in enumerate(shown) if value is not None and rank(value) == goal}


def _cell(metric: Metric, mean: Mean | None, *, is_best: bool) -> str:
    if mean is None:
        return "<td class='note'>not measured</td>"
    style = " class='best'" if is_best else ""
    interval = f"<br><span class='ci'>{_number(metric, mean.low)} … {_number(metric, mean.high)}</span>"
    return f"<td{style}>{_number(metric, mean.mean)}{interval}</td>"


def _difference_cell(metric: Metric, difference: Mean | None) -> str:
    if difference is None:
        return "<td class='note'>–</td>"
    style = ""
    if metric.better != "one" and difference.low * difference.high > 0:
        gained = (difference.mean > 0) == (metric.better == "up")
        style = " class='better'" if gained else " class='worse'"
    interval = f"{difference.low:+.{metric.digits}f} … {difference.high:+.{metric.digits}f}"
    return f"<td{style}>{difference.mean:+.{metric.digits}f}<br><span class='ci'>{interval}</span></td>"


def _title(metric: Metric) -> str:
    stand_in = " <span class='ci'>stand-in, not LPIPS</span>" if metric.is_stand_in else ""
    unit = f" <span class='ci'>{html.text(metric.unit)}</span>" if metric.unit else ""
    return f"<b>{html.text(metric.title)}</b> {ARROWS[metric.better]}{unit}{stand_in}"


def _number(metric: Metric, value: float) -> str:
    return f"{value:.{metric.digits}f}"


def _flat(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_flat(inner)}" for key, inner in value.items())
    return str(value)
