import errno
from pathlib import Path

import pytest

from data_pipeline.whole_file import WriteError, check_writable, shown, whole_file, whole_folder, write_errors


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_at_the_end_and_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    for text in ("one", "two"):
        with whole_file(path) as part:
            part.write_text(text)
            assert not path.exists() or path.read_text() == "one"
        assert path.read_text() == text
    assert names(path.parent) == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), GeneratorExit()])
def test_after_an_error_the_old_file_is_untouched(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write_half() -> None:
        with whole_file(path) as part:
            part.write_text("half")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_folder_appears_at_the_end_and_replaces_only_frames(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    for count in (3, 2):
        with whole_folder(folder, ".png") as part:
            for i in range(count):
                (part / f"{i}.png").touch()
        assert names(folder) == [f"{i}.png" for i in range(count)]
    (folder / "notes.txt").touch()
    with pytest.raises(WriteError, match="other files"), whole_folder(folder, ".png"):
        pass
    assert names(tmp_path) == ["frames"]
    assert names(folder) == ["0.png", "1.png", "notes.txt"]


def test_after_an_error_the_old_folder_is_untouched(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    (folder / "0.png").touch()

    def write_half() -> None:
        with whole_folder(folder, ".png") as part:
            (part / "1.png").touch()
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        write_half()
    assert names(tmp_path) == ["frames"]
    assert names(folder) == ["0.png"]


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EFBIG, "larger than files may be"),
        (errno.EACCES, "does not allow it"),
        (errno.EROFS, "does not allow it"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_what_the_system_says_becomes_one_sentence(number: int, said: str) -> None:
    import os

    with pytest.raises(WriteError, match=said) as caught, write_errors(Path("/films/cat.mp4")):
        raise OSError(number, os.strerror(number))
    assert "/films/cat.mp4" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_output_that_cannot_be_written_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match="is a file and not a folder"):
        check_writable(tmp_path / "file" / "cat.mp4")
    check_writable(tmp_path / "new" / "cat.mp4")
    assert names(tmp_path / "new") == []
    with pytest.raises(WriteError, match="is a folder"), whole_file(tmp_path / "new"):
        pass


def test_a_message_shows_every_name_in_one_short_line() -> None:
    assert shown(Path("/a/имя 猫.jpg")) == "/a/имя 猫.jpg"
    assert shown(Path("/a/new\nline.jpg")) == "/a/new\\nline.jpg"
    long = Path("/" + "folder/" * 60 + "cat.mp4")
    assert len(shown(long)) <= 121
    assert shown(long).endswith("cat.mp4")
