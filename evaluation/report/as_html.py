"""Blocks -> HTML fragments of a page that needs no other file."""

import base64
from collections.abc import Sequence

from data_pipeline import html
from evaluation import figures
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

TITLE_LENGTH = 60
"""Shorter captions stand above their figure."""
STYLE = """<style>
body { max-width: 80rem; } .best { font-weight: 700; }
.small { opacity: .65; font-size: .8em; font-weight: 400; white-space: nowrap; }
td { line-height: 1.25; } td.better { color: #23897d; } td.worse { color: var(--gone); } td.absent { opacity: .6; }
tr.group td { font-weight: 600; padding-top: 1rem; border-bottom: 2px solid var(--line); }
details td.text { white-space: nowrap; }
tr.reason td { opacity: .65; font-size: .88em; } td.first { white-space: nowrap; }
.pair { display: flex; flex-wrap: wrap; gap: 0 2rem; align-items: flex-start; }
.pair figure { margin: .5rem 0; flex: 0 1 33rem; min-width: 20rem; }
details { margin: .5rem 0; }
pre { overflow-x: auto; font-size: .85em; } .legend { margin: .4rem 0; } figcaption { font-size: .9em; }
nav.parts { font-size: .9em; margin-top: -.4rem; }
.media { max-width: 74rem; } .media video, .media img { width: 100%; }
</style>"""


def page(title: str, subtitle: str, blocks: Sequence[Block]) -> str:
    """A whole document with links to its sections."""
    sections = [block.text for block in blocks if isinstance(block, Heading) and block.level == 2]
    parts = [block.text for block in blocks if isinstance(block, Heading) and block.level == 3]
    nav = html.contents(sections) if len(sections) > 1 else ""
    has_links = len(set(parts)) == len(parts) > 1  # parts of two protocols have the same names
    shown = [_linked(block) if has_links else fragment(block) for block in blocks]
    if has_links:
        links = "".join(f"<a href='#{anchor(part)}'>{html.text(part)}</a>" for part in parts)
        nav += f"<nav class='parts'>{links}</nav>"
    return html.page(title, [STYLE, nav, *shown], subtitle)


def _linked(block: Block) -> str:
    mark = f"<a id='{anchor(block.text)}'></a>" if isinstance(block, Heading) and block.level == 3 else ""
    return mark + fragment(block)


def anchor(heading: str) -> str:
    """Where a link to a part goes."""
    return "part-" + "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in heading.lower())


def fragment(block: Block) -> str:  # noqa: C901 - a case for each kind
    """One block as HTML."""
    match block:
        case Heading(text, level):
            return html.section(text) if level == 2 else f"<h3>{html.text(text)}</h3>"
        case Paragraph(text, is_note):
            return f"<p{' class=note' if is_note else ''}>{html.text(text)}</p>"
        case Table():
            return _table(block)
        case Figure(_, svg, caption):
            said = f"<figcaption>{html.text(caption)}</figcaption>"
            return f"<figure>{said + svg if len(caption) < TITLE_LENGTH else svg + said}</figure>"
        case Key(methods):
            return f"<p class='legend'>{figures.legend(methods)}</p>"
        case Media(path, caption, is_video):
            return f"<div class='media'>{html.clip(path, caption) if is_video else _picture(block)}</div>"
        case Side(drawings):
            return f"<div class='pair'>{''.join(fragment(figure) for figure in drawings)}</div>"
        case Fold(heading, blocks):
            return html.details(heading, *(fragment(inner) for inner in blocks))
        case Verbatim(text):
            return f"<pre>{html.text(text)}</pre>"
        case Raw(raw):
            return raw


def _picture(media: Media) -> str:
    data, caption = base64.b64encode(media.path.read_bytes()).decode(), html.text(media.caption)
    image = f"<img alt='{caption}' src='data:image/jpeg;base64,{data}'>"
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"


def _table(table: Table) -> str:
    texts = set(table.text_columns)
    top = "".join(f"<th{' class=text' if i in texts else ''}>{html.text(h)}</th>" for i, h in enumerate(table.header))
    body = "".join(_line(row, len(table.header), texts) for row in table.rows)
    return f"<div class='wide'><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"


def _line(row: Sequence[Cell | str] | Spanning, width: int, texts: set[int]) -> str:
    if isinstance(row, Spanning):
        note = f" <span class='small'>{html.text(row.note)}</span>" if row.note else ""
        kind = "group" if row.is_group else "reason"
        return f"<tr class='{kind}'><td colspan='{width}'>{html.text(row.text)}{note}</td></tr>"
    return f"<tr>{''.join(_cell(cell, i, texts) for i, cell in enumerate(row))}</tr>"


def _cell(cell: Cell | str, column: int, texts: set[int]) -> str:
    shown = cell if isinstance(cell, Cell) else Cell(cell)
    names = [shown.mood, "text" if column in texts else "", "first" if column == 0 else ""]
    kind = " ".join(name for name in names if name)
    note = f"<span class='small'>{html.text(shown.note)}</span>" if shown.note else ""
    note = f"{' ' if shown.is_inline else '<br>'}{note}" if note else ""
    return f"<td{f' class={kind!r}' if kind else ''}>{html.text(shown.text)}{note}</td>"
