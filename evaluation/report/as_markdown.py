"""Blocks -> Markdown text that links to files beside it."""

import os
import zlib
from collections.abc import Sequence
from pathlib import Path

from data_pipeline.whole_file import write_text
from evaluation.figures import legend_svg
from evaluation.report.blocks import (
    Block,
    Cell,
    Figure,
    Fold,
    Heading,
    Key,
    Media,
    Paragraph,
    Raw,
    Side,
    Spanning,
    Table,
    Verbatim,
)


def write_markdown(path: Path, title: str, subtitle: str, blocks: Sequence[Block]) -> Path:
    """Write the text, and its figures to `figures/` beside it."""
    for figure in [*_figures(blocks), *_legends(blocks)]:
        # A file of its own has no page whose colour it could take.
        write_text(path.parent / "figures" / f"{figure.name}.svg", figure.svg.replace("currentColor", "#555"))
    parts = [f"# {title}", *([subtitle] if subtitle else []), *(_text(block, path.parent) for block in blocks)]
    write_text(path, "\n\n".join(part for part in parts if part) + "\n")
    return path


def _figures(blocks: Sequence[Block]) -> list[Figure]:
    found: list[Figure] = []
    for block in blocks:
        if isinstance(block, Figure):
            found.append(block)
        elif isinstance(block, Side):
            found += block.figures
        elif isinstance(block, Fold):
            found += _figures(block.blocks)
    return found


def _legends(blocks: Sequence[Block]) -> list[Figure]:
    return [Figure(_legend_name(block), legend_svg(block.methods), "") for block in blocks if isinstance(block, Key)]


def _legend_name(key: Key) -> str:
    """One file for each list of methods."""
    return f"legend_{zlib.crc32(repr(list(key.methods)).encode()):08x}"


def _text(block: Block, folder: Path) -> str:  # noqa: C901 - a case for each kind
    match block:
        case Heading(text, level):
            return f"{'#' * level} {text}"
        case Paragraph(text, is_note):
            return f"*{text}*" if is_note else text
        case Table():
            return _table(block)
        case Figure(name, _, caption):
            return f"![{caption}](figures/{name}.svg)\n*{caption}*"
        case Key():
            return f"![{', '.join(block.methods)}](figures/{_legend_name(block)}.svg)"
        case Media(path, caption, is_video):
            link = Path(os.path.relpath(path, folder)).as_posix()
            return f"[{caption}]({link})" if is_video else f"![{caption}]({link})\n*{caption}*"
        case Side(figures):
            return "\n\n".join(_text(figure, folder) for figure in figures)
        case Fold(heading, blocks):
            return "\n\n".join([f"**{heading}**", *(_text(inner, folder) for inner in blocks)])
        case Verbatim(text):
            return f"```text\n{text.rstrip()}\n```"
        case Raw():
            return ""


def _table(table: Table) -> str:
    texts = {0, *table.text_columns}
    rule = "|".join("---" if i in texts else "--:" for i in range(len(table.header)))
    lines = [f"| {' | '.join(_escaped(name) for name in table.header)} |", f"|{rule}|"]
    for row in table.rows:
        if isinstance(row, Spanning):
            said = f"{row.text} {f'({row.note})' if row.note else ''}".strip()
            cells = [f"**{_escaped(said)}**" if row.is_group else f"*{_escaped(said)}*"]
            cells += [""] * (len(table.header) - 1)
        else:
            cells = [_cell(cell) for cell in row]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(cell: Cell | str) -> str:
    if isinstance(cell, str):
        return _escaped(cell)
    shown = _escaped(cell.text)
    shown = f"**{shown}**" if cell.mood == "best" else shown
    mark = {"better": " ✓", "worse": " ✗"}.get(cell.mood, "")
    return f"{shown}{mark}" + (f" ({_escaped(cell.note)})" if cell.note else "")


def _escaped(value: str) -> str:
    return value.replace("|", "\\|").replace("\n", " ")
