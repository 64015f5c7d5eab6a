"""Headings, tables, bars and pictures -> one HTML page that needs no other file."""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

STYLE = """
:root { color-scheme: light dark; --line: #8883; --soft: #8881; --ink: #2a6f97; --gone: #d1495b; --back: #fff; }
@media (prefers-color-scheme: dark) { :root { --ink: #5aa9d6; --gone: #e8808c; --back: #16191d; } }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem;
  background: var(--back); }
h1 { font-size: 1.6rem; margin-bottom: .2rem; } h3 { font-size: 1.05rem; margin: 1.4rem 0 .3rem; }
h2 { margin-top: 2.4rem; padding-bottom: .2rem; border-bottom: 1px solid var(--line); font-size: 1.25rem; }
a { color: var(--ink); } nav { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; margin: .8rem 0; }
table { border-collapse: collapse; margin: .8rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top; }
th:first-child, td:first-child { text-align: left; } th { font-weight: 600; }
th.text { text-align: left; } td.text { text-align: left; overflow-wrap: anywhere; } .note { opacity: .75; }
img, video { max-width: 100%; border-radius: 6px; } figure { margin: 1rem 0; } figcaption { opacity: .75; }
code { background: var(--soft); padding: .1rem .3rem; border-radius: 4px; overflow-wrap: anywhere; }
.bar { display: inline-block; height: .8em; background: var(--ink); border-radius: 2px; vertical-align: baseline; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); gap: 1rem; }
summary { cursor: pointer; padding: .3rem 0; } .wide { overflow-x: auto; }
"""


def page(title: str, sections: Sequence[str], subtitle: str = "") -> str:
    """A whole document; `sections` are HTML fragments made by the functions below."""
    head = f"<title>{text(title)}</title><meta name='viewport' content='width=device-width'><style>{STYLE}</style>"
    body = f"<h1>{text(title)}</h1><p class='note'>{text(subtitle)}</p>" + "\n".join(sections)
    return f"<!doctype html><html lang='en'><head><meta charset='utf-8'>{head}</head><body>{body}</body></html>\n"


def text(value: object) -> str:
    """Escaped, so that no file name can become markup."""
    return html.escape(str(value))


def section(heading: str, *parts: str) -> str:
    """A heading and what belongs under it."""
    return f"<h2 id='{_anchor(heading)}'>{text(heading)}</h2>" + "".join(parts)


def contents(headings: Sequence[str]) -> str:
    """Links to the sections of these headings."""
    return "<nav>" + "".join(f"<a href='#{_anchor(h)}'>{text(h)}</a>" for h in headings) + "</nav>"


def details(heading: str, *parts: str, is_open: bool = False, width_rem: float | None = None) -> str:
    """What unfolds under a line, without scripts; `width_rem` lets it share a line with others."""
    style = f" style='flex-basis:{width_rem:.1f}rem'" if width_rem else ""
    return f"<details{' open' if is_open else ''}{style}><summary>{text(heading)}</summary>{''.join(parts)}</details>"


def _anchor(heading: str) -> str:
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in heading.lower())


def paragraph(value: str) -> str:
    """A line of plain text."""
    return f"<p>{text(value)}</p>"


def table(header: Sequence[str], rows: Sequence[Sequence[object]], text_columns: Sequence[int] = ()) -> str:
    """A table; numbers are right-aligned, the first column and `text_columns` left-aligned."""
    top = "".join(f"<th{' class=text' if i in text_columns else ''}>{text(cell)}</th>" for i, cell in enumerate(header))
    body = "".join(
        "<tr>"
        + "".join(
            f"<td class='text'>{text(c)}</td>" if i in text_columns else f"<td>{text(c)}</td>" for i, c in enumerate(r)
        )
        + "</tr>"
        for r in rows
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def bars(counts: Mapping[str, float | int], unit: str = "") -> str:
    """Labelled horizontal bars, in the given order."""
    most = max(counts.values(), default=0) or 1
    rows = "".join(
        f"<tr><td>{text(name)}</td><td>{value:g}{text(unit)}</td>"
        f"<td class='text'><span class='bar' style='width:{16 * value / most:.2f}rem'></span></td></tr>"
        for name, value in counts.items()
    )
    return f"<table><tbody>{rows}</tbody></table>"


def contact_sheet(
    images: Sequence[UInt8[np.ndarray, "H W 3"]], columns: int, tile_px: int
) -> UInt8[np.ndarray, "H2 W2 3"]:
    """Pictures in rows, each shrunk to fit a square tile; missing tiles stay grey."""
    from PIL import Image

    rows = max(1, -(-len(images) // columns))
    sheet = np.full((rows * tile_px, columns * tile_px, 3), 128, np.uint8)
    for i, image in enumerate(images):
        small = Image.fromarray(image)
        small.thumbnail((tile_px, tile_px))
        tile = np.asarray(small)
        top, left = i // columns * tile_px, i % columns * tile_px
        sheet[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return sheet


def picture(image: UInt8[np.ndarray, "H W 3"], caption: str = "", quality: int = 82) -> str:
    """A picture inside the page."""
    image_tag = f"<img alt='{text(caption)}' src='{jpeg_url(image, quality)}'>"
    return f"<figure>{image_tag}<figcaption>{text(caption)}</figcaption></figure>"


def jpeg_url(image: UInt8[np.ndarray, "H W 3"], quality: int = 82) -> str:
    """A picture as an address that holds it."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=quality)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def clip(path: Path, caption: str = "") -> str:
    """An mp4 inside the page, looping."""
    data = base64.b64encode(path.read_bytes()).decode()
    source = f"<source type='video/mp4' src='data:video/mp4;base64,{data}'>"
    return (
        f"<figure><video controls loop muted autoplay playsinline>{source}</video>"
        f"<figcaption>{text(caption)}</figcaption></figure>"
    )
