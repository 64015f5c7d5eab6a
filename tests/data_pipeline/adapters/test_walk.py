import os
from pathlib import Path

import pytest

from data_pipeline.adapters.folder import FolderSource, SourceError
from data_pipeline.adapters.walk import walk

NAMES = (
    b"a b.png", b"it's \"quoted\" $(x);&.png", b"new\nline.png", "cat \N{CAT FACE}.png".encode(), b"bytes\xe9\xff.png",
    b"-dash.png",
)  # fmt: skip


def test_every_name_that_a_disk_can_hold_is_found(tmp_path: Path) -> None:
    for name in NAMES:
        Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name))).write_bytes(b"x")  # noqa: PTH118
    found, problems = walk(tmp_path)
    assert sorted(os.fsencode(path.name) for path in found) == sorted(NAMES)
    assert problems == []


def test_links_in_circles_end_and_broken_ones_are_told(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.png").write_bytes(b"x")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "self.png").symlink_to("self.png")
    (tmp_path / "dangling.jpg").symlink_to("nowhere.jpg")
    found, problems = walk(tmp_path)
    assert [path.name for path in found] == ["x.png"]
    assert sorted((p.path.name, p.problem) for p in problems) == [
        ("dangling.jpg", "broken link"),
        ("self.png", "broken link"),
    ]
    assert all(p.path.name in p.detail and "remove the link" in p.detail for p in problems)


def test_a_folder_that_cannot_be_opened_is_told_and_the_rest_goes_on(tmp_path: Path, monkeypatch) -> None:
    for name in ("locked", "open"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.png").write_bytes(b"x")
    real = os.scandir

    def scandir(path):  # root may open everything, so the refusal is played
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    files = FolderSource(path=str(tmp_path))()
    assert [(f.path.name, f.problem) for f in files] == [("locked", "folder unreadable"), ("x.png", "")]
    assert "locked: Permission denied; check its rights" in files[0].detail


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\ufefffile,x\na,b\n", "has no column path; it has file, x"),
        ("", "has no column path; it is empty"),
        ("path,ship\na.png,1\n,1\n", "line 3 has no path"),
        ("path\na.png\n", "has no column ship"),
    ],
)
def test_a_wrong_manifest_is_told_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "list.csv").write_text(text, encoding="utf-8")
    with pytest.raises(SourceError, match=said):
        FolderSource(path=str(tmp_path), manifest="list.csv", only={"ship": "1"} if "path" in text else None)()


def test_a_manifest_of_excel_is_read(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("\ufeffpath,licence\na b.png,MIT\n", encoding="utf-8")
    (file,) = FolderSource(path=str(tmp_path), manifest="list.csv")()
    assert (file.path.name, file.licence) == ("a b.png", "MIT")
