"""Lists of talking-head clips (CelebV-HQ, TalkingHead-1KH, HDTF, VFHQ) -> the local videos, with times and places.

Nothing is downloaded. A clip is found by its file name anywhere below source.path: the cut clip when it is there, else
the whole video, of which only the listed time and region are used; else it is a drop.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_pipeline.adapters.folder import MediaFile, SourceError
from data_pipeline.adapters.walk import dataset_root, picked, walk
from data_pipeline.records import ClipSpan
from data_pipeline.whole_file import shown

ABSENT = "listed but absent"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Clip:
    """A line of a list."""

    cut: Sequence[str]
    """Names (no ending) that the cut and cropped clip may have."""
    whole: Sequence[str]
    """Those of its video."""
    span: ClipSpan
    identity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Local:
    """The videos below a folder, by name."""

    root: Path
    by_name: Mapping[str, Path]
    problems: Sequence[MediaFile]

    def file(self, clip: _Clip, licence: str, origin: str) -> MediaFile:
        """The file of a clip, or why there is none."""
        for names, span in ((clip.cut, None), (clip.whole, clip.span)):
            for name in names:
                if name in self.by_name:
                    return MediaFile(
                        path=self.by_name[name],
                        licence=licence,
                        origin=origin,
                        identity=clip.identity,
                        species="human",
                        span=span,
                    )
        folder = self.root / clip.cut[0]
        if folder.is_dir():
            return MediaFile(
                path=folder, problem="clip is a folder", detail="join its frames to a video with this name"
            )
        return MediaFile(path=self.root / f"{clip.cut[0]}.mp4", problem=ABSENT, detail=f"nor {', '.join(clip.whole)}")


def _local(root: Path) -> _Local:
    paths, problems = walk(root)
    return _Local(root=root, by_name={p.stem: p for p in reversed(paths)}, problems=problems)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{shown(path)} cannot be read ({error})") from error


def _damaged(path: Path, number: int, why: str) -> MediaFile:
    return MediaFile(path=path.parent / f"{path.name}#{number}", problem="annotation damaged", detail=why)


def _list_of(path: str, dataset: str, manifest: str) -> tuple[Path, Path]:
    root = dataset_root(path, dataset, {})
    listed = Path(manifest) if Path(manifest).is_file() else root / manifest
    if not manifest or not listed.is_file():
        raise SourceError(f"source.manifest {shown(listed)} is no file; give the list of {dataset}")
    return root, listed


@dataclass(frozen=True, slots=True, kw_only=True)
class CelebVHqSource:
    """CelebV-HQ (and CelebV-Text): `clips: {key: {ytb_id, duration{start_sec,end_sec}, bbox{top,bottom,left,right}}}`.

    Boxes are shares of the picture. Cut clips are `<key>.mp4`, whole videos `<ytb_id>.mp4`; the video is the identity.
    """

    path: str
    manifest: str = "celebvhq_info.json"
    licence: str = "non-commercial research"
    origin: str = "CelebV-HQ"
    limit: int = 0

    def __call__(self) -> list[MediaFile]:
        """The clips that are here, sorted by path; the others are drops.

        Raises:
            SourceError: no list, or none of its clips is here.
        """
        root, listed = _list_of(self.path, "CelebV-HQ", self.manifest)
        try:
            rows = list(json.loads(_text(listed))["clips"].items())
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise SourceError(f"source.manifest {shown(listed)} is no list of CelebV-HQ ({error!r})") from error
        local = _local(root)
        files = [self._file(local, listed, number, key, value) for number, (key, value) in enumerate(rows, start=1)]
        return picked([*files, *local.problems], self.limit, root, "clip of the list")

    def _file(self, local: _Local, listed: Path, number: int, key: str, value: Mapping[str, object]) -> MediaFile:
        try:
            ytb, time, box = str(value["ytb_id"]), value["duration"], value["bbox"]
            start, stop = (float(time[name]) for name in ("start_sec", "end_sec"))  # pyright: ignore[reportIndexIssue]
            sides = tuple(float(box[name]) for name in ("left", "top", "right", "bottom"))  # pyright: ignore[reportIndexIssue]
            span = _span(start, stop, "s", sides, (1.0, 1.0))
        except (KeyError, TypeError, ValueError) as error:
            return _damaged(listed, number, f"clip {key!r}: {error!r}")
        return local.file(
            _Clip(cut=[key], whole=[ytb], span=span, identity=f"youtube/{ytb}"), self.licence, self.origin
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TalkingHeadSource:
    """TalkingHead-1KH: lines `name, H, W, S, E, L, T, R, B`: size, first and last frame, box in pixels of that size.

    Cut clips are `<name>_S<S>_E<E>_L<L>_T<T>_R<R>_B<B>.mp4`, as its scripts write them, whole ones `<name>.mp4`.
    """

    path: str
    manifest: str = "train_video_tubes.txt"
    licence: str = "CC BY 3.0"
    origin: str = "TalkingHead-1KH"
    limit: int = 0

    def __call__(self) -> list[MediaFile]:
        """The clips that are here, sorted by path; the others are drops.

        Raises:
            SourceError: no list, or none of its clips is here.
        """
        root, listed = _list_of(self.path, "TalkingHead-1KH", self.manifest)
        local = _local(root)
        lines = [(n, line) for n, line in enumerate(_text(listed).splitlines(), start=1) if line.strip()]
        files = [self._file(local, listed, number, line) for number, line in lines]
        return picked([*files, *local.problems], self.limit, root, "clip of the list")

    def _file(self, local: _Local, listed: Path, number: int, line: str) -> MediaFile:
        name, *rest = (word.strip() for word in line.split(","))
        try:
            height, width, first, last, left, top, right, bottom = (int(word) for word in rest)
            span = _span(first, last + 1, "frames", (left, top, right, bottom), (width, height))
        except ValueError as error:
            return _damaged(listed, number, f"{line!r}: {error}")
        cut = f"{name}_S{first}_E{last}_L{left}_T{top}_R{right}_B{bottom}"
        identity = (
            f"youtube/{re.sub(r'_[0-9]{4}$', '', name)}"  # the set cuts each video into minutes _0000, _0001, ...
        )
        return local.file(_Clip(cut=[cut], whole=[name], span=span, identity=identity), self.licence, self.origin)


@dataclass(frozen=True, slots=True, kw_only=True)
class HdtfSource:
    """HDTF: `{RD,WDA,WRA}_{annotion_time,crop_wh,resolution}.txt`, times `mm:ss-mm:ss` and crops `x w y h`.

    Crops are pixels at the stated height. Cut clips are `<name>_<n>.mp4` or `<subset>_<name>_<00n>.mp4`. The identity
    is the name without its trailing number, so that all videos of one speaker stay together.
    """

    path: str
    lists: str = ""
    """Folder of the lists; empty: HDTF_dataset below source.path, or source.path itself."""
    licence: str = "CC BY 4.0"
    origin: str = "HDTF"
    limit: int = 0

    def __call__(self) -> list[MediaFile]:
        """The clips that are here, sorted by path; the others are drops.

        Raises:
            SourceError: no lists, or none of their clips is here.
        """
        root = dataset_root(self.path, "HDTF", {})
        inner = root / "HDTF_dataset"
        lists = Path(self.lists) if self.lists else (inner if inner.is_dir() else root)
        dataset_root(str(lists), "HDTF's lists", {"*_annotion_time.txt": "*_annotion_time.txt"})
        local = _local(root)
        files = [file for table in sorted(lists.glob("*_annotion_time.txt")) for file in self._files(local, table)]
        return picked([*files, *local.problems], self.limit, root, "clip of the lists")

    def _files(self, local: _Local, table: Path) -> Iterator[MediaFile]:
        subset = table.name.removesuffix("_annotion_time.txt")
        crops, sizes = (_words(table.with_name(f"{subset}_{part}.txt")) for part in ("crop_wh", "resolution"))
        for number, (video, times) in enumerate(_words(table).items(), start=1):
            name = video.removesuffix(".mp4")
            for index, time in enumerate(times):
                crop = crops.get(f"{name}_{index}.mp4", [])
                size = [word for word in sizes.get(video, []) if word.strip("p").isdigit()]
                try:
                    start, stop = (_seconds(part) for part in time.split("-"))
                    region = None
                    if crop and size:
                        x, width, y, height = (float(word) for word in crop)
                        region = (x, y, x + width, y + height)
                    span = _span(start, stop, "s", region, (0.0, float(size[-1].strip("p")) if size else 0.0))
                except ValueError as error:
                    yield _damaged(table, number, f"{video} {time}: {error}")
                    continue
                identity = f"hdtf/{name.rstrip('0123456789')}"
                cut = [f"{name}_{index}", f"{subset}_{name}_{index:03d}"]
                clip = _Clip(cut=cut, whole=[name, f"{subset}_{name}"], span=span, identity=identity)
                yield local.file(clip, self.licence, self.origin)


@dataclass(frozen=True, slots=True, kw_only=True)
class VfhqSource:
    """VFHQ: one `meta_info/Clip+<video>+P<p>+C<c>+F<first>-<last>.txt` for each clip, with H, W, FPS and CROP lines.

    Cut clips have the name of their list file, whole videos that of the YouTube id. Its licence was not found.
    """

    path: str
    lists: str = "meta_info"
    """Folder of the list files, absolute or below source.path."""
    licence: str = "unknown"
    origin: str = "VFHQ"
    limit: int = 0

    def __call__(self) -> list[MediaFile]:
        """The clips that are here, sorted by path; the others are drops.

        Raises:
            SourceError: no list files, or none of their clips is here.
        """
        root = dataset_root(self.path, "VFHQ", {})
        lists = root / self.lists
        dataset_root(str(lists), "VFHQ's meta_info", {"Clip+*.txt": "Clip+*.txt"})
        local = _local(root)
        files = [self._file(local, path) for path in sorted(lists.glob("Clip+*.txt"))]
        return picked([*files, *local.problems], self.limit, root, "clip of the lists")

    def _file(self, local: _Local, path: Path) -> MediaFile:
        try:
            lines = [line.split() for line in _text(path).splitlines() if line.strip()]
            said = {words[0].rstrip(":"): [float(w) for w in words if _is_number(w)] for words in lines}
            _, video, person, _, frames = path.stem.split("+")
            first, last = (float(word) for word in frames.removeprefix("F").split("-"))
            fps, width, height, crop = said["FPS"][-1], said["W"][-1], said["H"][-1], said["CROP"][-4:]
            span = _span(first / fps, last / fps, "s", tuple(crop), (width, height))
        except (ValueError, KeyError, IndexError, ZeroDivisionError) as error:
            return _damaged(path, 1, repr(error))
        identity = f"youtube/{video}/{person}"
        return local.file(
            _Clip(cut=[path.stem], whole=[video], span=span, identity=identity), self.licence, self.origin
        )


def _is_number(word: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?", word) is not None


def _words(path: Path) -> dict[str, list[str]]:
    """Lines of a list: first word -> the others; a list that is absent says nothing."""
    lines = _text(path).splitlines() if path.is_file() else []
    return {words[0]: words[1:] for line in lines if (words := line.split())}


def _seconds(text: str) -> float:
    seconds = 0.0
    for part in text.split(":"):
        seconds = seconds * 60 + float(part)
    return seconds


def _span(
    start: float | int,
    stop: float | int,
    unit: str,
    region: tuple[float | int, ...] | None,
    region_of: tuple[float | int, float | int],
) -> ClipSpan:
    if not 0 <= start < stop:
        raise ValueError(f"the time {start} to {stop} is empty")
    if region is not None:
        x0, y0, x1, y1 = (float(side) for side in region)
        if not (x0 < x1 and y0 < y1):
            raise ValueError(f"the region {region} is empty")
        region = (x0, y0, x1, y1)
    return ClipSpan(
        start=float(start),
        stop=float(stop),
        unit="s" if unit == "s" else "frames",
        region_xyxy=region,
        region_of=(float(region_of[0]), float(region_of[1])),
    )
