"""An evaluation -> what its report says, in order: verdict, numbers, figures, videos, worst cases, failures."""

from collections import Counter
from collections.abc import Sequence

from evaluation.metrics.catalog import BY_NAME
from evaluation.paper_tables import paper_tables
from evaluation.report.blocks import Block, Cell, Figure, Fold, Heading, Key, Media, Paragraph, Side, Table
from evaluation.report.charts import breakdown_figures, radar_figure, share_figure, sweep_figures
from evaluation.report.protocol_texts import text_of
from evaluation.report.scores import axes_of
from evaluation.report.tables import (
    ALPHA,
    axes_table,
    comparison_table,
    details_table,
    failures_table,
    number,
    species_table,
    summary_table,
    tag_table,
    verdict,
)
from evaluation.results import Evaluation
from evaluation.statistics import Comparison

KINDS = ("better", "worse", "")


def evaluation_blocks(result: Evaluation) -> list[Block]:
    """Everything about one protocol."""
    text = text_of(result.protocol, str(result.about.get("says", "")))
    blocks: list[Block] = [Heading(text.title), Paragraph(text.says), Paragraph(_counts(result))]
    blocks += [Paragraph(line) for line in verdicts(result)]
    blocks += [Paragraph(warning, is_note=True) for warning in _warnings(result)]
    blocks += _sweeps(result) + _figures(result) + _numbers(result) + _comparison(result) + _breakdowns(result)
    blocks += _videos(result) + _worst(result) + _failures(result)
    return blocks + _paper(text.is_cross)


def verdicts(result: Evaluation) -> list[str]:
    """One sentence for each compared method: in which main numbers it is surely better or worse, and what remains."""
    lines = []
    for first, second in result.compared:
        found = result.comparisons(first, second, [metric.name for metric in result.main])
        if not found:
            continue
        sure = {kind: [one for one in found if verdict(BY_NAME[one.metric], one) == kind] for kind in KINDS}
        said = [f"{kind} in {len(ones)} ({_titles(ones)})" for kind, ones in sure.items() if kind and ones]
        if sure[""]:
            said.append(f"no proven difference in {len(sure[''])}{_leaning(sure[''])}")
        lines.append(f"“{second}” against “{first}”, {len(found)} main numbers: {'; '.join(said)}.")
    return lines


def _leaning(unsure: Sequence[Comparison]) -> str:
    """Where the interval leaves out 0 although the corrected test does not reach 5 %."""
    leaning = {kind: [one for one in unsure if _side(one) == kind] for kind in KINDS if kind}
    said = [f"{kind} in {_titles(ones)}" for kind, ones in leaning.items() if ones]
    return f" (by their intervals alone: {'; '.join(said)})" if said else ""


def _side(one: Comparison) -> str:
    leaves_out_zero = one.difference.low * one.difference.high > 0
    return verdict(BY_NAME[one.metric], one._replace(p_holm=0.0)) if leaves_out_zero else ""


def _titles(ones: Sequence[Comparison]) -> str:
    return ", ".join(BY_NAME[one.metric].title for one in ones)


def _counts(result: Evaluation) -> str:
    sources = {name for name in result.identities.values() if name}
    known = f" of {len(sources)} source identities" if sources else ""
    return f"{result.num_pairs} pairs{known} ({', '.join(result.species())}), {result.num_frames} frames."


def _warnings(result: Evaluation) -> list[str]:
    counts = Counter(row.method for row in result.rows)
    found = [
        f"“{method}” could not be measured on {result.num_pairs - counts[method]} of {result.num_pairs} pairs: its "
        "means are over the others (see what failed)."
        for method in result.methods
        if counts[method] < result.num_pairs
    ]
    found += [
        f"{mean.mean:.1f} % of the frames of “{method}” hold NaN or infinity; they are measured as black."
        for method in result.methods
        if (mean := result.mean(method, "broken")) and mean.mean > 0
    ]
    found += [str(note) for note in result.about.get("notes", ())]
    groups, tests = len({name or pair for pair, name in result.identities.items()}), len(result.main)
    if result.compared and 2 * tests / 2**groups >= ALPHA:
        found.append(
            f"Only {groups} independent sources: with {tests} numbers tested together no difference, however large, "
            "can reach p < 0.05. The intervals below still say how large it is; take more sources before concluding "
            "anything."
        )
    return found


def _reading(result: Evaluation) -> str:
    clustered = any(result.identities.values())
    over = "over source identities" if clustered else "over pairs"
    return (
        f"Means over pairs; below them bootstrap 95 % intervals {over}. Bold: best (several when they round to the "
        "same). ↑ more is better, ↓ less is better, →1 and →0: that value is right."
    )


def _numbers(result: Evaluation) -> list[Block]:
    blocks: list[Block] = [Heading("All numbers", 3), summary_table(result), Paragraph(_reading(result), is_note=True)]
    if details := details_table(result):
        blocks.append(Fold("More numbers: regions and lags", [details]))
    return blocks


def _comparison(result: Evaluation) -> list[Block]:
    if not result.compared:
        return []
    note = (
        "Second minus first, pair by pair, with the bootstrap 95 % interval and the p-value of a paired permutation "
        "test, corrected for the number of metrics in the table (Holm). Green: better, red: worse, with p < 0.05. "
        "For →1 and →0 the distance from the right value is compared. “p unknown”: measured on one source only."
    )
    main = comparison_table(result, [metric.name for metric in result.main])
    every = Fold("The same for all numbers, corrected for all of them", [comparison_table(result)])
    return [Heading("Is the difference real?", 3), main, Paragraph(note, is_note=True), every]


def _figures(result: Evaluation) -> list[Block]:
    axes = axes_of(result)
    radar = radar_figure(result, axes)
    drawn = [figure for figure in (radar, share_figure(result)) if figure]
    if not drawn:
        return []
    blocks: list[Block] = [Heading("At a glance", 3), Key(list(result.methods)), Side(drawn)]
    if radar:
        blocks.append(Fold("How the radar is normalised", [axes_table(axes)]))
    return blocks


def _breakdowns(result: Evaluation) -> list[Block]:
    tables = {"species": species_table(result)} if len(result.species()) > 1 else {}
    tables |= {tag: tag_table(result, tag, values) for tag, values in result.tag_values().items()}
    blocks: list[Block] = []
    for tag, table in tables.items():
        drawn = breakdown_figures(result, tag)
        blocks += [Heading(f"By {tag}", 3), *([Key(list(result.methods)), Side(drawn)] if drawn else [])]
        blocks.append(Fold("All main numbers", [table]))
    return blocks


def _sweeps(result: Evaluation) -> list[Block]:
    drawn: list[Figure] = sweep_figures(result)
    return [Heading("Asked for and done", 3), Key(list(result.methods)), Side(drawn)] if drawn else []


def _videos(result: Evaluation) -> list[Block]:
    shown = [(example.video, example) for example in result.examples if example.video]
    if not shown:
        return []
    media = [Media(path, f"{e.species}: {e.pair_id}", is_video=True) for path, e in shown]
    return [Heading("Side by side", 3), *media]


def _worst(result: Evaluation) -> list[Block]:
    stills = {example.pair_id: example for example in result.examples if example.still}
    if not stills:
        return []
    metric = BY_NAME[result.worst_by]
    media: list[Block] = []
    for row, value in result.worst(result.in_question, len(stills)):
        example = stills.get(row.pair_id)
        if example and example.still:
            said = f"{metric.title} {number(metric, value)} · frame {row.worst_frame} · {row.pair_id}"
            media.append(Media(example.still, said, is_video=False))
    most = "lowest" if metric.better == "up" else "largest"
    note = (
        f"The pairs with the {most} {metric.title} of “{result.in_question}”, the worst first, each at the frame "
        "where it is furthest from the truth (the middle one where nobody knows the truth)."
    )
    heading = Heading(f"Worst {len(media)}", 3)
    return [heading, Paragraph(note, is_note=True), *media[:6], *([Fold("More", media[6:])] if media[6:] else [])]


def _failures(result: Evaluation) -> list[Block]:
    if not result.failures:
        return []
    said = f"{len(result.failures)} results could not be measured and are in no mean."
    return [Heading("What failed", 3), Paragraph(said), failures_table(result)]


def _paper(is_cross: bool) -> list[Block]:
    papers = paper_tables()
    blocks: list[Block] = [Paragraph(papers.says)]
    blocks.append(Paragraph(papers.csim_warning if is_cross else papers.psnr_warning))
    for table in papers.of_kind("cross" if is_cross else "self"):
        rows = [[Cell(name), *(Cell(f"{value:.4f}") for value in values)] for name, values in table.rows]
        blocks += [Heading(table.title, 3), Table(["theirs, not ours", *table.columns], rows)]
    return [Fold(f"For reference: what {papers.paper} prints (their numbers, their data, their code)", blocks)]
