"""Label tables of head photos (heads, people, puppets) -> one list of photos, and a YOLO-pose dataset folder.

A label table is a CSV with one row per head: `path, species, x0..y1, reye_x..mouthr_y, visibility, split` (columns of
the heads set, docs/detector.md). Species `none` = a photo without any animal; a row with a species and no box =
the species is known and its heads are not boxed, so nothing in that photo can be judged.
"""

import csv
import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from data_pipeline.records import FLIPPED_POINTS, SPECIES, Species, Split
from data_pipeline.video import read_frames
from data_pipeline.whole_file import whole_file, write_bytes, write_errors

BOX_COLUMNS = ("x0", "y0", "x1", "y1")
POINT_COLUMNS = ("reye", "leye", "nose", "mouthl", "mouthr")
"""Columns of the five points in the order of records.POINT_NAMES: the table's mouthl is the viewer's left corner."""
_VAL_PERCENT = 20


class LabelError(ValueError):
    """A label table that cannot be read: names the file, the row and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """One labelled head in pixels of its photo."""

    species: Species
    box_xyxy: Float32[np.ndarray, "4"]
    points_xy: Float32[np.ndarray, "5 2"]
    """NaN where a point is not labelled."""
    mouth_is_centre: bool = False
    """Both mouth corners hold the middle of the mouth: the corners themselves could not be made out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadPhoto:
    """One photo and all heads in it."""

    path: Path
    split: str
    heads: tuple[Head, ...]
    complete: bool = True
    """False: the photo may hold heads without a box, so a detection that matches none is not an error."""
    subset: str = ""
    """Where the photo comes from, for reports: the table's `source`, or a part of it."""
    identity: str = ""

    @property
    def is_negative(self) -> bool:
        """True for a photo known to hold no head at all."""
        return self.complete and not self.heads


def identity_split(identity: str) -> Split:
    """Train or val from the hash of an identity's name: the same everywhere, whatever the order of files."""
    return "val" if int(hashlib.sha256(identity.encode()).hexdigest()[:8], 16) % 100 < _VAL_PERCENT else "train"


def read_photo(path: Path) -> UInt8[np.ndarray, "H W 3"]:
    """A photo file as RGB; raises LabelError with the file's name when it is missing or broken."""
    import cv2

    data = np.fromfile(path, dtype=np.uint8) if path.is_file() else np.empty(0, np.uint8)
    bgr = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if bgr is None:
        state = "is not a readable image" if path.exists() else "does not exist"
        raise LabelError(f"the photo {path} {state}: check data.root, which the table's paths start from")
    return np.ascontiguousarray(bgr[..., ::-1])


def read_labels(root: Path, table: str | Path, split: str | None = None) -> list[HeadPhoto]:
    """The photos of a label table (path below `root`, or absolute), in the table's order, one entry per photo.

    Raises:
        LabelError: the table is missing, lacks a column, or a row holds a bad species or number.
    """
    root = Path(root)
    file = root / table
    if not file.is_file():
        raise LabelError(f"the label table {file} does not exist: set data.root=FOLDER and data.labels=FILE below it")
    by_path: dict[str, list[tuple[int, dict[str, str]]]] = {}
    with file.open(newline="", encoding="utf-8-sig") as lines:
        reader = csv.DictReader(lines)
        missing = {"path", "species", *BOX_COLUMNS} - set(reader.fieldnames or ())
        if missing:
            raise LabelError(f"the label table {file} lacks the columns {', '.join(sorted(missing))}")
        for number, row in enumerate(reader, start=2):
            if split is None or (row.get("split") or "") == split:
                by_path.setdefault(row["path"], []).append((number, row))
    return [_photo(root, file, path, rows) for path, rows in by_path.items()]


def _photo(root: Path, file: Path, path: str, rows: list[tuple[int, dict[str, str]]]) -> HeadPhoto:
    heads, complete = [], True
    for number, row in rows:
        try:
            head = _head(row)
        except ValueError as error:
            raise LabelError(f"row {number} of {file} ({path}): {error}") from error
        if head is not None:
            heads.append(head)
        elif row["species"] != "none":
            complete = False
    first = rows[0][1]
    return HeadPhoto(
        path=root / path,
        split=first.get("split") or "",
        heads=tuple(heads),
        complete=complete,
        subset=first.get("subset") or _subset(Path(path).name, first.get("source") or ""),
        identity=first.get("identity") or path,
    )


def _subset(name: str, source: str) -> str:
    """`oxford` (three breeds only) and the varied photos are scored apart; other tables use their source column."""
    if name.startswith("ox_"):
        return "oxford"
    return "varied" if name.startswith(("cats_", "dogs_")) else source


def _head(row: dict[str, str]) -> Head | None:
    if row["species"] not in (*SPECIES, "none"):
        raise ValueError(f"unknown species {row['species']!r}; known are {', '.join(SPECIES)} and none")
    cells = [row[column] or "" for column in BOX_COLUMNS]
    if row["species"] == "none" or not any(cells):
        return None
    box = np.array([float(cell) for cell in cells], np.float32)
    if not np.isfinite(box).all() or box[2] <= box[0] or box[3] <= box[1]:
        raise ValueError(f"the box {cells} is empty or not finite")
    points = np.full((5, 2), np.nan, np.float32)
    for index, name in enumerate(POINT_COLUMNS):
        x, y = row.get(f"{name}_x") or "", row.get(f"{name}_y") or ""
        if x and y:
            points[index] = float(x), float(y)
    centre = (row.get("visibility") or "") == "1"
    return Head(species=row["species"], box_xyxy=box, points_xy=points, mouth_is_centre=centre)  # type: ignore[arg-type]


def flip_head(head: Head, width_px: int) -> Head:
    """The head after a horizontal flip of its photo: left and right points trade places."""
    x0, y0, x1, y1 = head.box_xyxy
    points = head.points_xy[list(FLIPPED_POINTS)].copy()
    points[:, 0] = width_px - points[:, 0]
    return Head(
        species=head.species,
        box_xyxy=np.array([width_px - x1, y0, width_px - x0, y1], np.float32),
        points_xy=points,
        mouth_is_centre=head.mouth_is_centre,
    )


def read_people(root: Path, ship_only: bool = True) -> Iterator[tuple[HeadPhoto, UInt8[np.ndarray, "H W 3"]]]:
    """Labelled frames of the corpus' human clips, split by identity, with their pixels.

    Args:
        root: folder with manifest.csv, human_heads.csv and human/*.mp4.
        ship_only: only clips whose licence lets weights trained on them be passed on.
    """
    for name in ("manifest.csv", "human_heads.csv"):
        if not (root / name).is_file():
            raise LabelError(f"{root / name} does not exist: data.people must be a corpus folder (or null)")
    with (root / "manifest.csv").open(newline="") as lines:
        clips = {Path(row["path"]).name: row for row in csv.DictReader(lines) if row["species"] == "human"}
    frames: dict[str, dict[int, dict[str, str]]] = {}
    with (root / "human_heads.csv").open(newline="") as lines:
        for row in csv.DictReader(lines):
            frames.setdefault(row["clip"], {})[int(row["frame"])] = row
    for clip, wanted in sorted(frames.items()):
        info = clips[clip]
        if ship_only and info["ship"] != "1":
            continue
        for index, frame in enumerate(read_frames(root / info["path"])):
            if index not in wanted:
                continue
            head = _head({**wanted[index], "species": "human"})
            photo = HeadPhoto(
                path=Path(f"human/{Path(clip).stem}_{index:05d}.jpg"),
                split=identity_split(info["identity"]),
                heads=(head,) if head else (),
                complete=float(info["multi_rate"] or 0) < 0.05,
                subset="corpus",
                identity=info["identity"],
            )
            yield photo, frame


def read_puppets(root: Path, frames_per_clip: int = 4) -> Iterator[tuple[HeadPhoto, UInt8[np.ndarray, "H W 3"]]]:
    """Stills and evenly spaced clip frames of an `lp-puppets` folder, with their exact boxes and points."""
    manifest = root / "manifest.json"
    if not manifest.is_file():
        raise LabelError(f"{manifest} does not exist: data.puppets must be a folder that lp-puppets wrote (or null)")
    for truth_path in sorted(root.rglob("*.truth.npz")):
        stem = truth_path.name.removesuffix(".truth.npz")
        media = next((p for s in (".jpg", ".png", ".mp4") if (p := truth_path.with_name(stem + s)).is_file()), None)
        if media is None:
            continue
        with np.load(truth_path, allow_pickle=False) as truth:
            points, boxes = truth["points"].astype(np.float32), truth["head_box"].astype(np.float32)
            species, identity = str(truth["species"]), str(truth["identity"])
        if species not in SPECIES:
            continue
        keep = {int(t) for t in np.linspace(0, len(boxes) - 1, min(frames_per_clip, len(boxes)))}
        for index, frame in enumerate(read_frames(media)):
            if index in keep:
                head = Head(species=species, box_xyxy=boxes[index], points_xy=points[index])
                photo = HeadPhoto(
                    path=Path(f"puppets/{identity}-{stem}-{index:05d}.jpg"),
                    split="train",
                    heads=(head,),
                    subset="puppet",
                    identity=identity,
                )
                yield photo, frame


def yolo_lines(photo: HeadPhoto, height_px: int, width_px: int) -> list[str]:
    """YOLO-pose label lines: class, box centre and size, then x y v of the five points, all as fractions.

    v is 2 for a labelled point and 0 otherwise; mouth corners that hold the mouth's middle get 0 as well, because
    teaching them would pull both corners together.
    """
    lines = []
    for head in photo.heads:
        x0, y0, x1, y1 = (float(v) for v in head.box_xyxy)
        x0, x1 = max(x0, 0.0), min(x1, float(width_px))
        y0, y1 = max(y0, 0.0), min(y1, float(height_px))
        numbers = [(x0 + x1) / 2 / width_px, (y0 + y1) / 2 / height_px, (x1 - x0) / width_px, (y1 - y0) / height_px]
        for index, (x, y) in enumerate(head.points_xy):
            labelled = math.isfinite(x) and 0 <= x < width_px and 0 <= y < height_px
            if not labelled or (head.mouth_is_centre and index >= 3):
                numbers += [0.0, 0.0, 0]
            else:
                numbers += [float(x) / width_px, float(y) / height_px, 2]
        lines.append(" ".join([str(SPECIES.index(head.species)), *(f"{v:.6g}" for v in numbers)]))
    return lines


TABLE_COLUMNS = (
    *("split", "path", "species", *BOX_COLUMNS),
    *(f"{name}_{axis}" for name in POINT_COLUMNS for axis in "xy"),
    *("visibility", "subset", "identity"),
)


def write_dataset(out: Path, photos: Iterable[tuple[HeadPhoto, UInt8[np.ndarray, "H W 3"]]]) -> dict[str, int]:
    """Write images/<split>, labels/<split>, data.yaml (what ultralytics reads) and labels.csv (what we read).

    Photos that may hold unboxed heads are left out of the YOLO part's training, but kept as rows of labels.csv.
    Photos with the name of one already written are an error. Returns the number of photos per split and species.
    """
    import cv2

    counts: dict[str, int] = {}
    rows: list[dict[str, object]] = []
    identities: dict[str, str] = {}
    for photo, image in photos:
        if identities.setdefault(photo.identity, photo.split) != photo.split:
            raise LabelError(f"identity {photo.identity} is in two splits: {identities[photo.identity]}, {photo.split}")
        name = "-".join(photo.path.with_suffix(".jpg").parts[-2:])
        image_path = out / "images" / photo.split / name
        label_path = out / "labels" / photo.split / f"{image_path.stem}.txt"
        for path in (image_path, label_path):
            path.parent.mkdir(parents=True, exist_ok=True)
        _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
        write_bytes(image_path, data.tobytes())
        write_bytes(label_path, ("\n".join(yolo_lines(photo, *image.shape[:2])) + "\n").encode())
        rows += _rows(photo, f"images/{photo.split}/{name}")
        key = f"{photo.split}/{photo.heads[0].species if photo.heads else 'none'}"
        counts[key] = counts.get(key, 0) + 1
    names = "".join(f"  {index}: {species}\n" for index, species in enumerate(SPECIES))
    yaml = f"path: {json.dumps(str(out.resolve()))}\ntrain: images/train\nval: images/val\nkpt_shape: [5, 3]\n"
    write_bytes(out / "data.yaml", f"{yaml}flip_idx: {list(FLIPPED_POINTS)}\nnames:\n{names}".encode())
    with whole_file(out / "labels.csv") as part, write_errors(out / "labels.csv"), part.open("w", newline="") as lines:
        writer = csv.DictWriter(lines, TABLE_COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return dict(sorted(counts.items()))


def _rows(photo: HeadPhoto, path: str) -> list[dict[str, object]]:
    shared = {"split": photo.split, "path": path, "subset": photo.subset, "identity": photo.identity}
    if not photo.heads:
        return [{**shared, "species": "none"}]
    rows = []
    for head in photo.heads:
        row: dict[str, object] = {**shared, "species": head.species}
        row |= {column: f"{v:.2f}" for column, v in zip(BOX_COLUMNS, head.box_xyxy, strict=True)}
        labelled = bool(np.isfinite(head.points_xy).all())
        for name, (x, y) in zip(POINT_COLUMNS, head.points_xy, strict=True):
            if math.isfinite(x):
                row |= {f"{name}_x": f"{x:.2f}", f"{name}_y": f"{y:.2f}"}
        row["visibility"] = ("1" if head.mouth_is_centre else "2") if labelled else ""
        rows.append(row)
    return rows
