"""Oxford-IIIT Pet on disk -> photos with species and, where annotated, the head's box."""

import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from data_pipeline.adapters.folder import MediaFile, SourceError
from data_pipeline.adapters.walk import dataset_root, picked
from data_pipeline.records import KnownHead, Species
from data_pipeline.whole_file import shown

_SPECIES: dict[str, Species] = {"1": "cat", "2": "dog"}
_MAX_XML_BYTES = 1_000_000
"""The set's own are 1 kB; what is much larger is no annotation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OxfordPetsSource:
    """Oxford-IIIT Pet: `images/*.jpg`, `annotations/list.txt` (species, breed), `annotations/xmls/*.xml` (head boxes).

    The test half has no boxes: there the detector looks. Boxes are PASCAL VOC's, whose first pixel is 1. The breed is
    told in the origin. Licence: what the data set states.
    """

    path: str
    licence: str = "CC BY-SA 4.0"
    origin: str = "Oxford-IIIT Pet"
    limit: int = 0

    def __call__(self) -> list[MediaFile]:
        """The photos of list.txt, sorted by path; absent or damaged ones become drops.

        Raises:
            SourceError: not an Oxford-IIIT Pet folder, or list.txt cannot be read.
        """
        needed = {
            "annotations/list.txt": "annotations/list.txt",
            "annotations/xmls": "annotations/xmls",
            "images": "images",
        }
        root = dataset_root(self.path, "Oxford-IIIT Pet", needed)
        table = root / "annotations" / "list.txt"
        try:
            lines = table.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise SourceError(f"{shown(table)} cannot be read ({error})") from error
        rows = [(n, line) for n, line in enumerate(lines, start=1) if line.strip() and not line.startswith("#")]
        return picked((self._file(root, n, line) for n, line in rows), self.limit, root, "photo")

    def _file(self, root: Path, number: int, line: str) -> MediaFile:
        words = line.rsplit(maxsplit=3)
        if len(words) != 4 or words[2] not in _SPECIES:
            place = root / "annotations" / f"list.txt#line{number}"
            return MediaFile(
                path=place, problem="annotation damaged", detail=f"no name, class, species, breed: {line!r}"
            )
        name, species = words[0], _SPECIES[words[2]]
        path = root / "images" / f"{name}.jpg"
        if not path.is_file():
            return MediaFile(path=path, problem="listed but absent", detail=f"line {number} of annotations/list.txt")
        xml = root / "annotations" / "xmls" / f"{name}.xml"
        try:
            heads = read_voc_heads(xml, species) if xml.is_file() else ()
        except ValueError as error:
            return MediaFile(path=path, problem="annotation damaged", detail=str(error))
        breed = re.sub(r"_\d+$", "", name).replace("_", " ")
        return MediaFile(
            path=path, licence=self.licence, origin=f"{self.origin}: {breed}", species=species, heads=heads
        )


def read_voc_heads(xml: Path, species: Species) -> tuple[KnownHead, ...]:
    """The boxes of a PASCAL VOC file as heads of one species.

    Raises:
        ValueError: damaged, or a box without a size.
    """
    try:
        if xml.stat().st_size > _MAX_XML_BYTES:
            raise ValueError(f"{shown(xml)} is too large for an annotation")
        tree = ElementTree.fromstring(xml.read_bytes())
        boxes = [
            [float(node.findtext(f"bndbox/{side}", "")) for side in ("xmin", "ymin", "xmax", "ymax")]
            for node in tree.iter("object")
        ]
    except (ElementTree.ParseError, OSError, ValueError) as error:
        raise ValueError(f"{shown(xml)} cannot be read ({error})") from error
    if not boxes or any(x1 <= x0 or y1 <= y0 for x0, y0, x1, y1 in boxes):
        raise ValueError(f"{shown(xml)} has no box, or one without a size")
    # VOC counts pixels from 1 and includes the last one.
    return tuple(KnownHead(species=species, box_xyxy=np.array([b[0] - 1, b[1] - 1, *b[2:]], np.float32)) for b in boxes)
