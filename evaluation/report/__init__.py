"""Evaluations -> one HTML file that holds everything, and the same as Markdown."""

from collections.abc import Sequence
from pathlib import Path

from data_pipeline.whole_file import write_text
from evaluation.report.as_html import page
from evaluation.report.as_markdown import write_markdown
from evaluation.report.blocks import Block, Fold, Heading, Raw, Verbatim
from evaluation.report.content import evaluation_blocks
from evaluation.report.tables import definitions_table, provenance_table
from evaluation.results import Evaluation


def write_report(
    path: Path,
    evaluations: Sequence[Evaluation],
    *,
    title: str = "Evaluation",
    subtitle: str = "",
    before: Sequence[str] = (),
    after: Sequence[str] = (),
) -> Path:
    """Write the page, and `summary.md` beside it when there is something to say; each appears whole or not at all.

    Args:
        path: the HTML file.
        evaluations: one block each.
        title: heading of the page.
        subtitle: a line below it.
        before: HTML fragments (see `data_pipeline.html`) in front of the evaluations; not in the Markdown.
        after: HTML fragments behind them; not in the Markdown.

    Returns:
        The path.
    """
    blocks = report_blocks(evaluations)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, page(title, subtitle, [*map(Raw, before), *blocks, *map(Raw, after)]))
    if evaluations:
        write_markdown(path.with_name("summary.md"), title, subtitle, blocks)
    return path


def report_blocks(evaluations: Sequence[Evaluation]) -> list[Block]:
    """All that the evaluations say, free of format."""
    if not evaluations:
        return []
    blocks = [block for evaluation in evaluations for block in evaluation_blocks(evaluation)]
    configs = [block for evaluation in evaluations for block in _config(evaluation)]
    return [
        *blocks,
        Heading("What the numbers are"),
        definitions_table(evaluations),
        Heading("Where it comes from"),
        provenance_table(evaluations),
        *configs,
    ]


def _config(evaluation: Evaluation) -> list[Block]:
    text = evaluation.about.get("config")
    return [Fold(f"config.yaml of {evaluation.protocol}", [Verbatim(str(text))])] if text else []
