"""AP-10K (COCO keypoints of animal bodies) on disk -> photos with the heads that its eyes and nose tell."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_pipeline.adapters.folder import MediaFile, SourceError
from data_pipeline.adapters.points import AP10K
from data_pipeline.adapters.walk import NO_SPECIES, dataset_root, picked, species_named
from data_pipeline.records import KnownHead
from data_pipeline.whole_file import shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Ap10kSource:
    """AP-10K: `data/*.jpg` and `annotations/ap10k-{train,val,test}-split<n>.json`; the category is the species.

    Its boxes are of bodies and it has no mouth: visible eyes and nose tell which head of the detector is meant, and all
    17 keypoints are kept. The three splits hold the same photos, so one of them is read.
    """

    path: str
    split: int = 1
    classes: dict[str, str] | None = None
    """Category -> species; cat, dog and panda need no entry, the other 51 are left out."""
    licence: str = "CC BY 4.0"
    origin: str = "AP-10K"
    limit: int = 0

    def __call__(self) -> list[MediaFile]:
        """The photos, sorted by path; absent ones and those of other species are drops.

        Raises:
            SourceError: not an AP-10K folder, or an annotation file that cannot be read.
        """
        pattern = f"annotations/ap10k-*-split{self.split}.json"
        root = dataset_root(self.path, "AP-10K", {"data": "data", pattern: pattern})
        files = [file for table in sorted(root.glob(pattern)) for file in self._files(root, table)]
        return picked(files, self.limit, root, "photo of a species in source.classes")

    def _files(self, root: Path, table: Path) -> Iterator[MediaFile]:
        try:
            record = json.loads(table.read_text(encoding="utf-8"))
            names = {int(c["id"]): str(c["name"]) for c in record["categories"]}
            photos = {int(i["id"]): str(i["file_name"]) for i in record["images"]}
            by_photo: dict[int, list[Mapping[str, Any]]] = {}
            for entry in record["annotations"]:
                by_photo.setdefault(int(entry["image_id"]), []).append(entry)
        except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
            raise SourceError(f"{shown(table)} is no COCO keypoint file ({error!r})") from error
        for number, name in photos.items():
            yield self._file(root, name, by_photo.get(number, []), names)

    def _file(self, root: Path, name: str, entries: Sequence[Mapping[str, Any]], names: Mapping[int, str]) -> MediaFile:
        path = root / "data" / name
        if not path.resolve().is_relative_to((root / "data").resolve()):
            return MediaFile(path=path, problem="annotation damaged", detail="file_name leads out of the data folder")
        if not path.is_file():
            return MediaFile(path=path, problem="listed but absent", detail="named in annotations")
        heads, others = [], []
        try:
            for entry in entries:
                category = names[int(entry["category_id"])]
                species = species_named(category, self.classes)
                points = np.array(entry["keypoints"], np.float32).reshape(AP10K.num_landmarks, 3)
                landmarks = np.where(points[:, 2:] > 0, points[:, :2], np.nan).astype(np.float32)
                anchors = AP10K.anchors(landmarks)
                if species is None:
                    others.append(category)
                elif anchors is not None:
                    heads.append(
                        KnownHead(species=species, anchors_xy=anchors, scheme=AP10K.scheme, landmarks_xy=landmarks)
                    )
        except (KeyError, TypeError, ValueError) as error:
            return MediaFile(path=path, problem="annotation damaged", detail=repr(error))
        if not heads:
            what = f"category {others[0]!r}; add it to source.classes to keep it" if others else "no eye, no nose"
            return MediaFile(path=path, problem=NO_SPECIES if others else "no head labelled", detail=what)
        return MediaFile(path=path, licence=self.licence, origin=self.origin, heads=tuple(heads))
