from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_pipeline.adapters.folder import SourceError
from data_pipeline.adapters.oxford_pets import OxfordPetsSource

XML = """<annotation><object><name>cat</name><bndbox>
<xmin>{}</xmin><ymin>4</ymin><xmax>30</xmax><ymax>33</ymax></bndbox></object></annotation>"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    (tmp_path / "annotations" / "xmls").mkdir(parents=True)
    for name in ("Abyssinian_1", "great_pyrenees_12", "Bombay_3", "Bombay_4"):
        Image.new("RGB", (40, 40)).save(tmp_path / "images" / f"{name}.jpg")
    lines = ["#Image CLASS-ID SPECIES BREED ID", "Abyssinian_1 1 1 1", "great_pyrenees_12 16 2 9", "Bombay_3 8 1 6"]
    lines += ["Bombay_4 8 1 6", "Gone_9 1 1 1", "no species here"]
    (tmp_path / "annotations" / "list.txt").write_text("\n".join(lines))
    xmls = tmp_path / "annotations" / "xmls"
    (xmls / "Abyssinian_1.xml").write_text(XML.format(11))
    (xmls / "Bombay_3.xml").write_text(XML.format(11)[:40])
    (xmls / "Bombay_4.xml").write_text(XML.format(30))
    return tmp_path


def test_species_breed_and_head_box(root: Path) -> None:
    files = {f.path.name: f for f in OxfordPetsSource(path=str(root))()}
    cat, dog = files["Abyssinian_1.jpg"], files["great_pyrenees_12.jpg"]
    np.testing.assert_array_equal(np.array(cat.heads[0].box_xyxy), [10, 3, 30, 33])
    assert (cat.species, cat.origin, cat.licence) == ("cat", "Oxford-IIIT Pet: Abyssinian", "CC BY-SA 4.0")
    assert (dog.species, dog.heads, dog.origin) == ("dog", (), "Oxford-IIIT Pet: great pyrenees")


def test_what_is_damaged_or_absent_is_a_drop(root: Path) -> None:
    problems = {f.path.name: f.problem for f in OxfordPetsSource(path=str(root))() if f.problem}
    assert problems == {
        "Bombay_3.jpg": "annotation damaged",
        "Bombay_4.jpg": "annotation damaged",
        "Gone_9.jpg": "listed but absent",
        "list.txt#line7": "annotation damaged",
    }


def test_another_folder_is_told(root: Path) -> None:
    with pytest.raises(SourceError, match=r"does not look like Oxford-IIIT Pet: no .*annotations/xmls"):
        OxfordPetsSource(path=str(root / "images"))()
