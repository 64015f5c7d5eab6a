import errno
import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from data_pipeline.adapters.folder import MediaFile, SourceError
from data_pipeline.adapters.tars import WebdatasetSource
from data_pipeline.whole_file import WriteError


def jpeg(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), (shade, 0, 0)).save(buffer, "JPEG")
    return buffer.getvalue()


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def run(tmp_path: Path) -> list[MediaFile]:
    return WebdatasetSource(path=str(tmp_path / "in"), cache=str(tmp_path / "cache"), licence="CC0")()


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "00000.tar"
    path.parent.mkdir()
    with tarfile.open(path, "w") as tar:
        add(tar, "00/a 🐱.jpg", jpeg(1))
        add(tar, "00/a 🐱.json", json.dumps({"species": "cat", "identity": "tom", "url": "u"}).encode())
        add(tar, "00/a 🐱.txt", b"a caption")
        add(tar, "b.jpg", jpeg(2))
        add(tar, "b.json", b"{no json")
    return path


def test_members_come_out_whole_with_what_their_json_says(shard: Path, tmp_path: Path) -> None:
    one, other = run(tmp_path)
    assert one.path.read_bytes() == jpeg(1)
    assert (one.species, one.identity, one.origin, one.licence) == ("cat", "tom", "u", "CC0")
    assert (other.species, other.identity) == (None, "")
    assert not list((tmp_path / "cache").rglob("*.part"))


def test_a_tar_is_read_once_until_it_changes(shard: Path, tmp_path: Path) -> None:
    first = run(tmp_path)
    before = first[0].path.stat().st_mtime_ns
    assert [f.path for f in run(tmp_path)] == [f.path for f in first]
    assert first[0].path.stat().st_mtime_ns == before
    with tarfile.open(shard, "a") as tar:
        add(tar, "c.png", jpeg(3))
    assert len(run(tmp_path)) == 3


def test_names_that_lead_out_and_links_are_never_written(shard: Path, tmp_path: Path) -> None:
    with tarfile.open(shard, "a") as tar:
        add(tar, "../../escaped.jpg", jpeg(4))
        add(tar, str(tmp_path / "absolute.jpg"), jpeg(5))
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    problems = {f.problem for f in run(tmp_path) if f.problem}
    assert problems == {"leads out of its tar", "no plain file"}
    assert not list(tmp_path.rglob("escaped*"))
    assert not (tmp_path / "absolute.jpg").exists()
    assert not list(tmp_path.rglob("link.jpg"))


@pytest.mark.parametrize("cut", [700, 2000])
def test_a_tar_cut_short_keeps_what_came_before(shard: Path, tmp_path: Path, cut: int) -> None:
    whole = shard.read_bytes()
    end = len(whole.rstrip(b"\0"))
    shard.write_bytes(whole[: end - cut])
    files = run(tmp_path)
    assert [f.problem for f in files if f.problem] == ["tar cut short"]
    good = [f for f in files if not f.problem]
    assert good[0].path.read_bytes() == jpeg(1)
    assert all(f.path.read_bytes() in (jpeg(1), jpeg(2)) for f in good), "a half member must not appear"


def test_wrong_places_are_told(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(SourceError, match="holds no tar"):
        run(tmp_path)
    (tmp_path / "in" / "x.tar").write_bytes(b"no tar" * 200)
    with pytest.raises(SourceError, match=r"no usable photo or clip.*tar cut short"):
        run(tmp_path)


def test_names_that_no_disk_takes_are_told_and_the_rest_comes_out(shard: Path, tmp_path: Path) -> None:
    with tarfile.open(shard, "a") as tar:
        add(tar, "x" * 300 + ".jpg", jpeg(4))
        add(tar, "b.jpg/inside.jpg", jpeg(5))
        add(tar, "last.jpg", jpeg(6))
    files = run(tmp_path)
    assert sorted(f.problem for f in files if f.problem) == ["name cannot be used"] * 2
    assert [f.path.read_bytes() for f in files if f.path.name == "last.jpg"] == [jpeg(6)]


def test_a_full_disk_is_not_taken_for_a_damaged_tar(shard: Path, tmp_path: Path, monkeypatch) -> None:
    def full(self: Path, mode: str = "r", *args: object, **more: object) -> object:
        if mode == "wb":
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, mode, *args, **more)  # type: ignore[arg-type]

    real = Path.open
    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(WriteError, match="the disk is full; free some space"):
        run(tmp_path)


def test_damaged_compression_keeps_what_came_before(shard: Path, tmp_path: Path) -> None:
    with tarfile.open(shard, "a") as tar:
        add(tar, "c.jpg", " ".join(str(i * i) for i in range(50_000)).encode())
    data = bytearray(gzip.compress(shard.read_bytes()))
    data[len(data) // 2 : len(data) // 2 + 3000] = b"\xff" * 3000
    shard.unlink()
    (shard.parent / "0.tar.gz").write_bytes(bytes(data))
    files = run(tmp_path)
    assert [f.problem for f in files if f.problem] == ["tar cut short"]
    assert any(not f.problem for f in files)
