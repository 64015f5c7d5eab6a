"""A folder of media -> our curation beside Data-Juicer's: time, planted cuts, planted copies; a table and a JSON file.

python -m evaluation.rivals.data_juicer python=/tmp/dj/bin/python media=../shared/data/media out=rivals.json
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data_pipeline.adapters.folder import FolderSource
from data_pipeline.cli_errors import user_errors
from data_pipeline.dedup import NearDuplicates
from data_pipeline.media import MediaError, probe
from data_pipeline.planted import Found, measure
from data_pipeline.planted_cuts import make, takes
from data_pipeline.shots import ShotSplitter
from data_pipeline.video import read_timestamps
from evaluation.machine import provenance
from evaluation.other_load import OtherLoad
from evaluation.rivals.cut_scores import CutScore, cuts_of_clips, our_cuts, score
from evaluation.rivals.juicer import INSTALL, NUM_PHOTO_OPS, Juicer, RivalError, curation_recipe, scenes_recipe, timed
from evaluation.rivals.planted_files import GivenPairs, fingerprints, pairs_of, write_copies

PARTS = ("time", "cuts", "copies")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line can say, as name=value."""

    python: Path
    """The Python of an environment with Data-Juicer."""
    media: Path
    out: Path = Path("rivals.json")
    parts: tuple[str, ...] = PARTS
    workers: int = 2
    """Processes of both, and cores that both may use."""
    repeats: int = 3
    """Of the time; both take turns."""
    motion_px: int = 256
    """Shorter side of the pictures whose optical flow Data-Juicer computes; 0: their own size, its default."""
    videos: int = 30
    """With planted cuts."""
    puppets: int = 2
    """Identities of each species among the planted copies."""
    every: int = 4
    """Of the originals of copies, four of each 4 * every are taken."""
    seed: int = 0


def options_of(words: Sequence[str]) -> Options:
    """Read name=value words.

    Raises:
        ValueError: a name is unknown, a value does not fit, or python= or media= is missing.
    """
    given = {name: value for name, _, value in (word.partition("=") for word in words)}
    if unknown := set(given) - set(Options.__slots__):
        raise ValueError(f"{sorted(unknown)[0]} is no option; choose from {', '.join(Options.__slots__)}")
    if not given.get("python") or not given.get("media"):
        raise ValueError(f"give media=DIR and python=DIR/bin/python, made by: {INSTALL}")
    read: dict[str, Callable[[str], Any]] = {"python": Path, "media": Path, "out": Path, "parts": _parts}
    try:
        return Options(**{name: read.get(name, int)(value) for name, value in given.items()})
    except ValueError as error:
        wrong = next((f"{n}={v}" for n, v in given.items() if n not in read and not v.isdigit()), "")
        raise ValueError(f"{wrong} is not a number; give one" if wrong else str(error)) from error


def _parts(value: str) -> tuple[str, ...]:
    parts = tuple(value.strip("[]").split(","))
    if unknown := set(parts) - set(PARTS):
        raise ValueError(f"parts={value}: {sorted(unknown)[0]} is none of {', '.join(PARTS)}")
    return parts


def compare_time(juicer: Juicer, options: Options, folder: Path) -> dict[str, Any]:
    """From a folder to what each leaves behind, start-up included; and the start-up alone, with one small photo."""
    files = [file.path for file in FolderSource(path=str(options.media))() if not file.problem]
    images, videos = _kinds(files)
    one = folder / "one"
    one.mkdir()
    (one / images[0].name).write_bytes(images[0].read_bytes())
    runs: dict[str, list[dict[str, float]]] = {"pawtrait": [], "data-juicer": []}
    ops: list[dict[str, float]] = []
    left = 0
    for number in range(options.repeats):
        for name in list(runs)[:: -1 if number % 2 else 1]:
            out = folder / f"{name}-{number}"
            if name == "pawtrait":
                parts = [_curated(options.media, out, options.workers)]
            else:
                # Photos and videos apart: a process that meets one kind only takes the other's lists for another type.
                recipe = curation_recipe(out / "clips", options.motion_px)
                photos = juicer.process(images, [], recipe[:NUM_PHOTO_OPS], out / "photos", options.workers)
                clips = juicer.process([], videos, recipe[NUM_PHOTO_OPS:], out / "videos", options.workers)
                parts = [photos, clips]
                ops.append(photos.op_seconds | clips.op_seconds)
                left = sum(len(row["images"]) + len(row["videos"]) for row in (*photos.rows, *clips.rows))
            runs[name].append({"seconds": sum(p.seconds for p in parts), "cpu_s": sum(p.cpu_s for p in parts)})
    start_up = {
        "pawtrait": _curated(one, folder / "start-ours", 1).seconds,
        "data-juicer": juicer.process(
            [one / images[0].name], [], curation_recipe(folder / "none", 64)[:NUM_PHOTO_OPS], folder / "start-theirs", 1
        ).seconds,
    }
    return {
        "images": len(images), "videos": len(videos), "runs": runs, "start_up_s": start_up,
        "op_seconds": {op: statistics.median(o.get(op, 0.0) for o in ops) for op in ops[0]}, "left": left,
    }  # fmt: skip


def _kinds(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Photos and videos; files that we cannot read are given to neither list."""
    kinds: dict[str, list[Path]] = {"image": [], "video": []}
    for path in paths:
        try:
            kinds[probe(path).kind].append(path.resolve())
        except MediaError:
            continue
    if not kinds["image"] or not kinds["video"]:
        raise RivalError("media= must hold at least one photo and one video")
    return kinds["image"], kinds["video"]


def _curated(media: Path, out: Path, workers: int) -> Any:  # noqa: ANN401
    """Ours, as a user calls it; a folder of which nothing is kept is a result too."""
    words = [f"source.path={json.dumps(str(media.resolve()))}", f"out={out}", f"executor.workers={workers}"]
    return timed([sys.executable, "-m", "data_pipeline.cli", *words], workers, allowed="no sample came out")


def compare_cuts(juicer: Juicer, options: Options, folder: Path) -> dict[str, Any]:
    """Planted cuts: ours by the splitter of curation, theirs by the clips that it wrote."""
    made = folder / "videos"
    made.mkdir(parents=True)
    videos = list(make(takes([options.media], "test"), made, options.videos, options.seed))
    begun_s = time.monotonic()
    ours = {video.path: our_cuts(video.path, ShotSplitter()) for video in videos}
    our_s = time.monotonic() - begun_s
    run = juicer.process([], [v.path for v in videos], scenes_recipe(folder / "clips"), folder / "run", options.workers)
    lengths = {Path(row["file"]): [len(read_timestamps(Path(clip))) for clip in row["videos"]] for row in run.rows}
    # Uneven rates: its clips repeat or drop frames, so where it cut cannot be read from them. Left out for both.
    readable = [v for v in videos if sum(lengths[v.path]) == v.num_frames]
    left_out, videos = len(videos) - len(readable), readable
    if not videos:
        raise RivalError("Data-Juicer's clips of every video have more or fewer frames than the video")
    theirs = {path: cuts_of_clips(counts) for path, counts in lengths.items()}
    return {
        "videos": len(videos),
        "left_out": left_out,
        "pawtrait": _with_f1(score(videos, ours)) | {"seconds": our_s, "workers": 1},
        "data-juicer": _with_f1(score(videos, theirs)) | {"seconds": run.op_seconds, "workers": options.workers},
    }


def _with_f1(one: CutScore) -> dict[str, Any]:
    return asdict(one) | {"f1": one.f1}


def compare_copies(juicer: Juicer, options: Options, folder: Path) -> dict[str, Any]:
    """Planted copies, stills and clips, scored by the code that scores our own."""
    files = write_copies(folder / "copies", options.puppets, options.media, options.seed, options.every)
    prints = fingerprints(files)
    found: dict[str, Any] = {"files": len(files)}
    for kind, clips in (("images", False), ("videos", True)):
        paths = [file.path for file in files if file.is_clip == clips]
        begun_s = time.monotonic()
        pairs = pairs_of(juicer.hashes(kind, paths))
        spent_s = time.monotonic() - begun_s
        found[kind] = {
            "pawtrait": _scored(measure(prints, NearDuplicates(), clips=clips)),
            "data-juicer": _scored(measure(prints, GivenPairs(pairs=pairs), clips=clips)) | {"seconds": spent_s},
        }
    return found


def _scored(found: Found) -> dict[str, Any]:
    row = asdict(found)
    return row | {"wrong": len(found.wrong)}


def table(found: dict[str, Any], workers: int) -> str:
    """Markdown of what was compared."""
    lines = [f"| on the same files, {workers} processes | pawtrait | data-juicer |", "|---|---|---|"]
    if at := found.get("time"):
        walls = {name: [run["seconds"] for run in runs] for name, runs in at["runs"].items()}
        for what, of in (("median", statistics.median), ("least", min), ("most", max)):
            lines.append(_line(f"{at['images']} photos, {at['videos']} videos, s ({what})", walls, of, "{:.1f}"))
        cpu = {name: [run["cpu_s"] for run in runs] for name, runs in at["runs"].items()}
        lines.append(_line("  of it processor time, s", cpu, statistics.median, "{:.1f}"))
        lines.append(_line("one small photo, one process, s", at["start_up_s"], float, "{:.1f}"))
    if cuts := found.get("cuts"):
        for name in ("recall", "precision", "f1"):
            values = {side: cuts[side][name] for side in ("pawtrait", "data-juicer")}
            lines.append(_line(f"planted cuts in {cuts['videos']} videos: {name}", values, float, "{:.3f}"))
        for kind in cuts["pawtrait"]["recall_of"]:
            values = {side: cuts[side]["recall_of"][kind] for side in ("pawtrait", "data-juicer")}
            lines.append(_line(f"  recall: {kind}", values, float, "{:.3f}"))
    for kind in ("images", "videos"):
        if copies := found.get("copies", {}).get(kind):
            for name in ("recall", "precision"):
                values = {side: copies[side][name] for side in copies}
                lines.append(_line(f"planted copies, {kind}: {name}", values, float, "{:.3f}"))
            for variant in copies["pawtrait"]["recall_of"]:
                values = {side: copies[side]["recall_of"][variant] for side in copies}
                lines.append(_line(f"  recall: {variant}", values, float, "{:.3f}"))
    return "\n".join(lines) + "\n"


def _line(name: str, values: dict[str, Any], of: Callable[[Any], float], form: str) -> str:
    cells = " | ".join(form.format(of(values[side])) for side in ("pawtrait", "data-juicer"))
    return f"| {name} | {cells} |"


@user_errors
def main() -> None:
    """Compare, print the table and write the JSON file."""
    options = options_of(sys.argv[1:])
    juicer = Juicer(python=options.python)
    found: dict[str, Any] = {"command": " ".join(sys.argv[1:]), "provenance": provenance()}
    found["versions"] = juicer.versions()
    parts = {"time": compare_time, "cuts": compare_cuts, "copies": compare_copies}
    with tempfile.TemporaryDirectory() as folder, OtherLoad() as load:
        for name in options.parts:
            (Path(folder) / name).mkdir()
            found[name] = parts[name](juicer, options, Path(folder) / name)
    found["load"] = load.as_dict()
    part = options.out.with_name(options.out.name + ".part")
    part.write_text(json.dumps(found, indent=1, default=str) + "\n")
    part.replace(options.out)
    sys.stdout.write(f"{table(found, options.workers)}\n{load.sentence()}\nmade {options.out}\n")


if __name__ == "__main__":
    main()
