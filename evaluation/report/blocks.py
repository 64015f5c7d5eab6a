"""The pieces of a report, free of any format: what is said once and shown as HTML and as Markdown."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

Mood = Literal["", "best", "better", "worse", "absent"]


class Cell(NamedTuple):
    """A cell of a table."""

    text: str
    note: str = ""
    """Small, below the text."""
    mood: Mood = ""
    is_inline: bool = False
    """The note stands beside the text instead of below."""


class Spanning(NamedTuple):
    """A line of a table that is not divided: the name of a group, or why something is missing."""

    text: str
    note: str = ""
    is_group: bool = False


class Heading(NamedTuple):
    """Begins a section (level 2) or a part of one (level 3)."""

    text: str
    level: int = 2


class Paragraph(NamedTuple):
    """A line of plain text."""

    text: str
    is_note: bool = False


class Table(NamedTuple):
    """A table; the first column and `text_columns` are texts, the others numbers."""

    header: Sequence[str]
    rows: Sequence[Sequence[Cell | str] | Spanning]
    text_columns: Sequence[int] = ()


class Figure(NamedTuple):
    """A drawing."""

    name: str
    """Of its file, beside the Markdown."""
    svg: str
    caption: str


class Key(NamedTuple):
    """Which colour is which method."""

    methods: Sequence[str]


class Media(NamedTuple):
    """A picture or a video that lies in a file."""

    path: Path
    caption: str
    is_video: bool


class Side(NamedTuple):
    """Figures beside each other where there is room."""

    figures: Sequence[Figure]


class Fold(NamedTuple):
    """What is there for who looks for it."""

    heading: str
    blocks: "Sequence[Block]"


class Verbatim(NamedTuple):
    """A file's text."""

    text: str


class Raw(NamedTuple):
    """HTML from elsewhere; Markdown leaves it out."""

    html: str


Block = Heading | Paragraph | Table | Figure | Key | Media | Side | Fold | Verbatim | Raw
