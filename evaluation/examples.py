"""Small videos of finished pairs -> example videos and stills: source | driver | truth | each method, named above."""

import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from data_pipeline.photo import encode_jpeg
from data_pipeline.video import read_frames, read_info, write_video
from data_pipeline.whole_file import write_text
from evaluation.pair_folder import file_name
from evaluation.results import COPY, Evaluation, Example
from evaluation.rows import PairRow
from evaluation.side_by_side import GAP_PX

HEAD_PX = 24
"""Height of the strip that names the panels."""
INDEX = "index.json"
Footage = Mapping[str, Mapping[str, Path]]
"""Pair -> method -> small video of the result; method "" -> source, driver and truth side by side."""


def make_examples(
    result: Evaluation, footage: Footage, folder: Path, *, num_videos: int = 4, num_worst: int = 20
) -> list[Example]:
    """Videos of a few pairs of different species, and a picture of each of the worst pairs of the last method.

    Args:
        result: rows of all pairs.
        footage: of the finished pairs; what failed is not in it.
        folder: where they go.
        num_videos: how many videos.
        num_worst: how many pictures.
    """
    rows = {row.pair_id: row for row in result.rows}
    in_question = result.in_question
    worst = {row.pair_id: row.worst_frame for row, _ in result.worst(in_question, num_worst)}
    videos = to_show(list(rows.values()), num_videos)
    made = []
    for pair_id in dict.fromkeys([*videos, *worst]):
        if "" not in (found := footage.get(pair_id, {})):
            continue
        shown = [name for name in result.methods if name != COPY and name in found]
        files = [found[""], *(found[name] for name in shown)]
        panels = (*panels_of(found[""]), *shown)
        name = file_name(pair_id)
        video, still = folder / f"{name}.mp4", folder / f"{name}.jpg"
        folder.mkdir(parents=True, exist_ok=True)
        if pair_id in videos:
            write_video(video, side_by_side(files, panels), read_info(files[0]).fps, crf=23)
        if pair_id in worst:
            with closing(side_by_side(files, panels)) as pictures:
                still.write_bytes(encode_jpeg(next(islice(pictures, worst[pair_id], None)), quality=88))
        made.append(
            Example(
                pair_id=pair_id, species=rows[pair_id].species, panels=panels,
                still=still if pair_id in worst else None, video=video if pair_id in videos else None,
            )
        )  # fmt: skip
    return made


def to_show(rows: Sequence[PairRow], count: int) -> list[str]:
    """Pairs: the first of each species, then the second of each, ..."""
    seen: dict[str, int] = {}
    ranked = []
    for row in rows:
        seen[row.species] = seen.get(row.species, 0) + 1
        ranked.append((seen[row.species], row.species, row.pair_id))
    return [pair_id for *_, pair_id in sorted(ranked)[:count]]


def side_by_side(files: Sequence[Path], panels: Sequence[str]) -> Generator[UInt8[np.ndarray, "_H _W 3"], None, None]:
    """Videos of one number of frames -> their frames beside each other, under the names of the panels."""
    head = None
    for frames in zip(*(read_frames(file) for file in files), strict=True):
        parts: list[np.ndarray] = [frames[0]]
        for frame in frames[1:]:
            parts += [np.full((len(frame), GAP_PX, 3), 255, np.uint8), frame]
        row = np.concatenate(parts, axis=1)
        if head is None:
            head = _head(panels, row.shape[1], files[0])
        yield np.concatenate((head, row))


def _head(panels: Sequence[str], width_px: int, first: Path) -> UInt8[np.ndarray, "_H _W 3"]:
    from PIL import Image, ImageDraw, ImageFont

    side_px = read_info(first).height_px
    strip = Image.new("RGB", (width_px, HEAD_PX), "white")
    draw, font = ImageDraw.Draw(strip), ImageFont.load_default(14)
    for i, name in enumerate(panels):
        shown = name
        while len(shown) > 4 and draw.textlength(shown, font) > side_px:
            shown = f"{shown[:-2]}…"
        middle = i * (side_px + GAP_PX) + (side_px - draw.textlength(shown, font)) / 2
        draw.text((middle, 3), shown, fill=(30, 30, 30), font=font)
    return np.asarray(strip)


def panels_of(file: Path) -> tuple[str, ...]:
    """Names of the panels of a pair's own video; the file's name tells them."""
    return tuple(file.stem.split(".")[-1].split("+"))


def write_index(folder: Path, footage: Footage) -> None:
    """Remember which file belongs to which pair and method, for reports over several runs."""
    entries = {pair: {method: path.name for method, path in found.items()} for pair, found in footage.items()}
    write_text(folder / INDEX, json.dumps(entries, indent=0))


def read_index(folder: Path) -> dict[str, dict[str, Path]]:
    """The footage of a finished run; empty when its finished pairs were deleted."""
    path = folder / INDEX
    if not path.exists():
        return {}
    entries = json.loads(path.read_text(encoding="utf-8"))
    return {
        pair: {method: folder / name for method, name in found.items() if (folder / name).exists()}
        for pair, found in entries.items()
    }
