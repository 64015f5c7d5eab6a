"""Pictures and numbers of a gallery -> one Markdown page: the shares, the worst cases, every pair, the licences."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_pipeline.records import Species
from evaluation.gallery_cast import Animal, Cast
from evaluation.gallery_rows import BASE, METHODS, RATE, TUNED
from evaluation.gallery_scores import (
    FAULTS,
    IDENTITY,
    IDENTITY_GOAL,
    LOOK,
    POSE,
    POSE_GOAL,
    POSES,
    Fault,
    PairScore,
    Worst,
    mean,
    share,
)
from evaluation.metrics.catalog import BY_NAME

COLUMNS = ("photo", "driver", *METHODS)
TITLES = {
    IDENTITY: "identity kept", LOOK: "look kept", POSE: "pose", "eyes_corr": "eyes", "lips_corr": "lips",
    "detected": "head found", "warp_error": "flow-warp error", "flicker_excess": "flicker",
}  # fmt: skip
"""Columns of the table of all pairs."""
PLURALS = {"cat": "Cats", "dog": "Dogs", "panda": "Pandas"}
_PERCENT = {IDENTITY: 100.0, "detected": 1.0}
_DIGITS = {LOOK: 3, "warp_error": 4, "flicker_excess": 4}


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """All that the page tells."""

    cast: Cast
    pairs: Sequence[PairScore]
    worst: Sequence[Worst]
    films: Mapping[str, Path]
    """Animal -> its WebP."""
    sheets: Mapping[str, Path]
    """Species -> its contact sheet; "worst" -> that of the worst pairs."""
    taken_for: Mapping[str, Species | None]
    """Animal -> what the detector takes it for."""
    about: Mapping[str, str]
    """Weights, command, commit, machine."""
    num_frames: int
    num_bytes: int
    stitching: bool


def page(gallery: Gallery, path: Path) -> str:
    """The page's text; its pictures are linked from where it lies."""
    parts = [
        _opening(gallery),
        _shares(gallery),
        _worst(gallery, path),
        *(_species(gallery, species, path) for species in PLURALS),
        _all_pairs(gallery),
        _sources(gallery),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def shown(metric: str, value: float) -> str:
    """A number as the tables show it; a dash where it was not measured."""
    if not math.isfinite(value):
        return "–"
    if metric in _PERCENT:
        return f"{_PERCENT[metric] * value:.0f} %"
    return f"{value:.{_DIGITS.get(metric, 2)}f}"


def cell(text: str) -> str:
    """Words that do not break a table."""
    return " ".join(text.replace("|", "/").split())


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(cell, line))} |" for line in lines)


def _opening(gallery: Gallery) -> str:
    cast, rate = gallery.cast, float(RATE)
    stitched = "with stitching" if gallery.stitching else "without stitching"
    return "\n\n".join([
        "# What does it look like?",
        f"{len(cast.animals)} animals × {len(cast.drivers)} human drivers; every pair of the list is here, good or "
        "bad, and the worst come first. This page is written by a program, numbers and pictures alike; do not edit it.",
        f"In each picture, from left to right: **{'**, **'.join(COLUMNS)}**. The photo as it was given; the driver, "
        "cut to the head; the square that the networks see, frozen (what does not beat it has learnt nothing; black is "
        "where the photo ends); the same animal moved by the weights before they saw animals; and by the tuned ones. "
        f"Nothing is picked among tries: relative motion from the driver's first frame, {stitched}, "
        f"{gallery.num_frames} frames at {rate:g} a second, one loop.",
        table(["", ""], [[name, f"`{text}`"] for name, text in gallery.about.items()]),
    ])  # fmt: skip


def _shares(gallery: Gallery) -> str:
    pairs, count = gallery.pairs, len(gallery.pairs)
    num_pose = share(pairs, POSE, TUNED, POSE_GOAL).of
    rows = [
        _mean_row(pairs, f"identity kept ({100 * IDENTITY_GOAL:.0f} % is the goal)", IDENTITY),
        _share_row(pairs, f"pairs with {100 * IDENTITY_GOAL:.0f} % or more", IDENTITY, IDENTITY_GOAL),
        _mean_row(pairs, f"pose correlation ({POSE_GOAL} is the goal)", POSE),
        _share_row(pairs, f"pairs with {POSE_GOAL} or more, of those measured", POSE, POSE_GOAL),
        *(_mean_row(pairs, f"{BY_NAME[name].title}, mean", name) for name in (*POSES, "eyes_corr", "lips_corr")),
        *(_mean_row(pairs, f"{BY_NAME[name].title}, mean", name) for name in (LOOK, "detected")),
        *(_mean_row(pairs, f"{BY_NAME[name].title}, mean", name) for name in ("warp_error", "flicker_excess")),
    ]
    identity, pose = mean(pairs, IDENTITY, TUNED), mean(pairs, POSE, TUNED)
    verdict = (
        f"**Identity** {shown(IDENTITY, identity)}: {_reached(identity, IDENTITY_GOAL)}. **Head pose** "
        f"{shown(POSE, pose)}: {_reached(pose, POSE_GOAL)} (tuned weights, {count} pairs, pose measured in {num_pose})."
    )
    return "\n\n".join(["## How much of it works", verdict, table(["", *METHODS], rows), _definitions()])


def _definitions() -> str:
    return (
        "*Identity kept*: share of 8 frames of a pair whose nearest photo, among the gallery's photos of the "
        "species, is the right one; by colours and edges of the aligned head, **a stand-in that knows no "
        "individuals**; no head found counts as wrong. *Look kept*: the cosine of the same. *Pose*: mean of the "
        "correlations of yaw, pitch and roll between driver and result, each where the driver's spreads 1.5 "
        "degrees or more; *eyes* and *lips* likewise, of their openings. All are read by the face reader, which "
        "learnt on puppets and is rough on real animals ([face_reader.md](face_reader.md)); a tenth of the motion"
        " correlates as well as all of it. *Head found*: share of frames in which the detector sees a head of the"
        " right species. Flow-warp error (texture that boils or tears) and flicker are beyond the driver's own; a"
        " frozen picture is the lowest. All definitions: [evaluation.md](evaluation.md). Nothing here is compared"
        " with a truth, because nobody knows it."
    )


def _worst(gallery: Gallery, path: Path) -> str:
    rows = []
    for fault in FAULTS:
        found = [one for one in gallery.worst if one.fault == fault]
        goes = f"{fault.title} ({fault.worst} {TITLES[fault.metric]})"
        rows += [
            [goes if i == 0 else "", one.pair.name, *(_value(one.pair, fault.metric, method) for method in METHODS)]
            for i, one in enumerate(found)
        ] or [[goes, _nobody(gallery, fault), "", "", ""]]  # fmt: skip
    parts = ["## Worst cases", "By the measures themselves, for the tuned weights, the worst pair of each kind first."]
    parts.append(table(["what went wrong", "pair", *METHODS], rows))
    if unsure := [name for name, species in gallery.taken_for.items() if species != _animal(gallery, name).species]:
        told = ", ".join(f"{name} (taken for a {gallery.taken_for[name]})" for name in unsure)
        parts.append(
            f"In these photos the detector itself is wrong about the species, whatever the weights do: {told}."
        )
    parts.append(_picture(gallery.sheets["worst"], path, "the worst pairs, three moments each"))
    return "\n\n".join(parts)


def _nobody(gallery: Gallery, fault: Fault) -> str:
    is_measured = any(math.isfinite(pair.value(fault.metric)) for pair in gallery.pairs)
    return "no pair" if is_measured else "not measured"


def _species(gallery: Gallery, species: str, path: Path) -> str:
    animals = [animal for animal in gallery.cast.animals if animal.species == species]
    if not animals:
        return ""
    drivers = ", ".join(
        f"{person.name} ({person.note})" if person.note else person.name for person in gallery.cast.drivers
    )
    parts = [f"## {PLURALS[species]}", f"Rows: {drivers}."]
    for animal in animals:
        own = [pair for pair in gallery.pairs if pair.animal == animal]
        said = (
            f"**{animal.name[0].upper()}{animal.name[1:]}**{f' ({animal.note})' if animal.note else ''}: identity kept "
        )
        said += f"{shown(IDENTITY, mean(own, IDENTITY, TUNED))}, pose {shown(POSE, mean(own, POSE, TUNED))}"
        parts.append(f"{said}\n\n{_picture(gallery.films[animal.name], path, animal.name)}")
    parts.append("Still, at three moments of each driver (where it differs most from its first frame):")
    parts.append(_picture(gallery.sheets[species], path, f"{PLURALS[species].lower()}, three moments of each pair"))
    return "\n\n".join(parts)


def _all_pairs(gallery: Gallery) -> str:
    rows = [
        [pair.animal.name, pair.driver]
        + [f"{shown(name, pair.value(name))} ({shown(name, pair.value(name, BASE))})" for name in TITLES]
        for pair in gallery.pairs
    ]
    return "\n\n".join([
        "## Every pair",
        f"Tuned weights, in brackets the un-tuned base; –: not measured. {len(rows)} pairs.",
        table(["animal", "driver", *TITLES.values()], rows),
    ])  # fmt: skip


def _sources(gallery: Gallery) -> str:
    rows = [
        [one.name, one.file, one.origin, one.licence, one.note]
        for one in (*gallery.cast.animals, *gallery.cast.drivers)
    ]
    return "\n\n".join([
        "## Where photos and drivers come from",
        "Licences as the repositories state them; no single photo's rights were researched. The originals are not part "
        f"of this repository, only these small results of them ({gallery.num_bytes / 1e6:.1f} MB).",
        table(["name", "file", "origin", "licence", ""], rows),
    ])  # fmt: skip


def _animal(gallery: Gallery, name: str) -> Animal:
    return next(animal for animal in gallery.cast.animals if animal.name == name)


def _mean_row(pairs: Sequence[PairScore], title: str, metric: str) -> list[str]:
    return [title, *(shown(metric, mean(pairs, metric, method)) for method in METHODS)]


def _share_row(pairs: Sequence[PairScore], title: str, metric: str, goal: float) -> list[str]:
    found = [share(pairs, metric, method, goal) for method in METHODS]
    return [title, *(f"{one.reached} of {one.of} ({one.percent:.0f} %)" if one.of else "–" for one in found)]


def _value(pair: PairScore, metric: str, method: str) -> str:
    return shown(metric, pair.value(metric, method))


def _reached(value: float, goal: float) -> str:
    if not math.isfinite(value):
        return "not measured"
    return "the goal is reached" if value >= goal else "the goal is **not** reached"


def _picture(file: Path, page_path: Path, text: str) -> str:
    link = Path(os.path.relpath(file.resolve(), page_path.resolve().parent)).as_posix()
    return f"![{cell(text)}]({link.replace(' ', '%20')})"
