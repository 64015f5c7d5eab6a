"""The list of a gallery: what the repository's own one holds, and what is said of a wrong one."""

from pathlib import Path

import pytest

from evaluation.gallery_cast import Animal, check_files, read_cast
from evaluation.gallery_rows import RATE, driver_clip

LIST = Path(__file__).resolve().parents[2] / "docs" / "gallery" / "gallery.yaml"
GOOD = """
animals:
  - {name: Old Cat, file: cat.jpg, species: cat, origin: here, licence: CC0}
drivers:
  - {name: nod, file: nod.mp4, start_s: 1, origin: here, licence: CC0}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "list.yaml"
    path.write_text(text)
    return path


def test_the_gallery_has_the_animals_that_were_promised() -> None:
    cast = read_cast(LIST)
    species = [animal.species for animal in cast.animals]
    assert (species.count("cat"), species.count("dog"), species.count("panda")) == (6, 6, 3)
    assert len(cast.drivers) == 3
    assert all(person.file.startswith("human/") for person in cast.drivers)
    assert all(one.licence and one.origin for one in (*cast.animals, *cast.drivers))
    assert sum(animal.note.startswith("hard") for animal in cast.animals) >= 4


def test_its_files_are_there_and_its_drivers_long_enough(shared_data) -> None:
    cast = read_cast(LIST)
    check_files(cast, shared_data / "media")
    for person in cast.drivers:
        clip = driver_clip(person, shared_data / "media", 30)
        assert len(clip.frames) == 30
        assert RATE == 12.5


def test_an_entry_becomes_a_record(tmp_path) -> None:
    cast = read_cast(written(tmp_path, GOOD))
    assert cast.animals == [Animal(name="Old Cat", file="cat.jpg", species="cat", origin="here", licence="CC0")]
    assert cast.animals[0].slug == "old_cat"
    assert cast.drivers[0].start_s == 1.0


def test_some_animals_can_be_picked(tmp_path) -> None:
    cast = read_cast(written(tmp_path, GOOD))
    assert cast.only(["Old Cat"]).animals == cast.animals
    assert cast.only([]).animals == cast.animals
    with pytest.raises(ValueError, match=r"only=cow is no animal of the gallery; choose among Old Cat"):
        cast.only(["cow"])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("species: cat", "species: human", r"animals\[0\]\.species: 'human' is no animal"),
        ("species: cat", "species: cow", r"animals\[0\]\.species: 'cow'"),
        (", species: cat", "", r"animals\[0\]\.species is missing"),
        ("species: cat", "species: cat, colour: red", r"animals\[0\]\.colour is unknown"),
        ("name: Old Cat", "name: 7", r"animals\[0\]\.name=7 cannot be used; give words"),
        ("name: Old Cat", "name: '!'", r"a name of animals holds no letter"),
        ("licence: CC0}\ndrivers", "licence: ' '}\ndrivers", r"animals\[0\]\.licence=' ' cannot be used"),
        ("start_s: 1", "start_s: soon", r"drivers\[0\]\.start_s='soon' cannot be used; give a number"),
        ("start_s: 1", "start_s: -1", r"drivers\[0\]\.start_s: -1\.0 is out of range"),
        ("start_s: 1", "start_s: .nan", r"drivers\[0\]\.start_s: nan is out of range"),
        ("drivers:", "people:", r"must hold two lists, animals and drivers"),
        ("  - {name: nod", "  {name: nod", r"drivers must be a list"),
        ("animals:", "animals: [", r"cannot be read as a gallery's list"),
    ],
)
def test_a_wrong_list_is_told_in_one_sentence(tmp_path, as_installed, old, new, said) -> None:
    path = written(tmp_path, GOOD.replace(old, new))
    with pytest.raises(ValueError, match=said) as told:
        read_cast(path)
    assert str(path) in str(told.value)
    assert "\n" not in str(told.value)


def test_two_animals_of_one_file_name_are_refused(tmp_path) -> None:
    entry = "  - {name: Old Cat, file: cat.jpg, species: cat, origin: here, licence: CC0}\n"
    twice = GOOD.replace(entry, entry + entry.replace("Old Cat", "old-cat"))
    with pytest.raises(ValueError, match="two animals are called old_cat"):
        read_cast(written(tmp_path, twice))


def test_a_missing_list_or_file_is_told(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"give cast=FILE\.yaml"):
        read_cast(tmp_path / "none.yaml")
    with pytest.raises(ValueError, match=r"does not hold cat\.jpg \(Old Cat\)"):
        check_files(read_cast(written(tmp_path, GOOD)), tmp_path)
