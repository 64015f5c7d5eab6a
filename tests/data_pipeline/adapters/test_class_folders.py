from pathlib import Path

import pytest
from PIL import Image

from data_pipeline.adapters.class_folders import AfhqSource, ClassFolderSource, IPandaSource, PetFaceSource
from data_pipeline.adapters.folder import FolderSource, MediaFile, SourceError
from data_pipeline.adapters.walk import walk


def put(root: Path, *names: str) -> None:
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (24, 24), (number * 9, 3, 5)).save(root / name)


def shown(root: Path, files: list[MediaFile]) -> dict[str, str]:
    return {f.path.relative_to(root).as_posix(): f.problem or str(f.species) for f in files}


def test_the_nearest_folder_with_a_species_counts(tmp_path: Path) -> None:
    put(tmp_path, "train/Cats/a.jpg", "dogs/old cats/b.jpg", "lions/c.jpg", "tabby/d.png", "e.jpg")
    files = ClassFolderSource(path=str(tmp_path), classes={"tabby": "cat", "lions": "none"}, licence="CC0")()
    assert shown(tmp_path, files) == {
        "train/Cats/a.jpg": "cat",
        "dogs/old cats/b.jpg": "dog",
        "lions/c.jpg": "species not mapped",
        "tabby/d.png": "cat",
        "e.jpg": "species not mapped",
    }
    assert {f.licence for f in files if not f.problem} == {"CC0"}


def test_folders_that_name_no_species_are_told(tmp_path: Path) -> None:
    put(tmp_path, "n02123045/a.jpg")
    with pytest.raises(SourceError, match=r"n02123045.*classes"):
        ClassFolderSource(path=str(tmp_path))()
    with pytest.raises(SourceError, match="yeti"):
        ClassFolderSource(path=str(tmp_path), classes={"n02123045": "yeti"})()


def test_afhq(tmp_path: Path) -> None:
    put(tmp_path, "train/cat/1.png", "train/dog/1.png", "train/wild/1.png", "val/cat/2.png")
    files = AfhqSource(path=str(tmp_path))()
    assert shown(tmp_path, files) == {
        "train/cat/1.png": "cat",
        "train/dog/1.png": "dog",
        "train/wild/1.png": "species not mapped",
        "val/cat/2.png": "cat",
    }
    assert files[0].licence == "CC BY-NC 4.0"
    with pytest.raises(SourceError, match="does not look like AFHQ: no train/cat and no train/dog"):
        AfhqSource(path=str(tmp_path / "val"))()


def test_ipanda_folders_are_identities(tmp_path: Path) -> None:
    put(tmp_path, "iPanda50-images/00_爱 浜/1.jpg", "iPanda50-images/00_爱 浜/2.jpg", "iPanda50-images/01_b/1.jpg")
    files = IPandaSource(path=str(tmp_path))()
    assert [f.identity for f in files] == ["ipanda50/00_爱 浜"] * 2 + ["ipanda50/01_b"]
    assert {f.species for f in files} == {"panda"}
    with pytest.raises(SourceError, match="iPanda-50"):
        IPandaSource(path=str(tmp_path / "iPanda50-images" / "01_b"))()


def test_petface_families_and_individuals(tmp_path: Path) -> None:
    put(tmp_path, "images/cat/000001/00.png", "images/dog/000001/00.png", "images/hamster/000002/00.png")
    put(tmp_path, "images/cat/stray.png")
    files = PetFaceSource(path=str(tmp_path))()
    assert shown(tmp_path, files) == {
        "images/cat/000001/00.png": "cat",
        "images/cat/stray.png": "no individual",
        "images/dog/000001/00.png": "dog",
        "images/hamster/000002/00.png": "species not mapped",
    }
    assert [f.identity for f in files if f.identity] == ["petface/cat/000001", "petface/dog/000001"]


def test_odd_names_and_link_loops(tmp_path: Path) -> None:
    put(tmp_path, 'a b/it\'s "one".png', "a b/two\nlines.png", "🐼/🐱.png", ".hidden/x.png")
    (tmp_path / "a b" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "self.png").symlink_to(tmp_path / "self.png")
    files = FolderSource(path=str(tmp_path))()
    assert sorted(f.path.name for f in files if not f.problem) == ['it\'s "one".png', "two\nlines.png", "🐱.png"]
    assert [(f.path.name, f.problem) for f in files if f.problem] == [("self.png", "broken link")]


def test_an_unreadable_folder_is_a_drop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    put(tmp_path, "shut/a.png", "open/b.png")
    real = os.scandir

    def scandir(place: str) -> object:
        if str(place).endswith("shut"):
            raise PermissionError(13, "Permission denied", str(place))
        return real(place)

    monkeypatch.setattr(os, "scandir", scandir)  # tests may run as root, whom no mode keeps out
    paths, problems = walk(tmp_path)
    assert [p.name for p in paths] == ["b.png"]
    assert [(p.path.name, p.problem) for p in problems] == [("shut", "folder unreadable")]
    assert "Permission denied" in problems[0].detail
