import errno
import tarfile
import tracemalloc
from pathlib import Path

import pytest

from data_pipeline.group_tar import GroupWriter, ShardError, read_group, read_groups, read_records, read_tar, write_tar
from data_pipeline.shards import ShardWriter
from data_pipeline.whole_file import WriteError
from tests.data_pipeline.shard_folder import groups, sample, write

THREE = [("a", {"json": b'{"n": 1}', "jpg": b"x" * 700}), ("b", {"json": b"[]"}), ("c", {"mp4": b"y" * 1300})]


def test_groups_come_back_in_order_and_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "t.tar"
    write_tar(path, THREE)
    assert list(read_tar(path)) == THREE
    for group in read_groups(path):
        assert read_group(path, group.offset) == group
    assert list(read_records(path)) == [{"n": 1}]


def test_what_is_not_asked_for_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.tar"
    write_tar(path, THREE)
    read: list[str] = []
    real = tarfile.TarFile.extractfile
    monkeypatch.setattr(tarfile.TarFile, "extractfile", lambda tar, info: read.append(info.name) or real(tar, info))
    assert [group.members for group in read_groups(path, {"json"})] == [{"json": b'{"n": 1}'}, {"json": b"[]"}, {}]
    assert read == ["a.json", "b.json"]


def test_an_offset_that_is_none_is_told(tmp_path: Path) -> None:
    path = tmp_path / "t.tar"
    write_tar(path, THREE)
    for offset in (100, 10**6):
        with pytest.raises(ShardError, match=r"t\.tar is not a whole tar"):
            read_group(path, offset)


def test_nothing_appears_before_it_is_kept_nor_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / "t.tar"
    tar = GroupWriter(path)
    tar.add("a", {"json": b"{}"})
    tar.close()
    assert not path.exists()
    tar.keep()
    assert list(read_tar(path)) == [("a", {"json": b"{}"})]
    broken = (pair for pair in [("a", {"json": b"{}" * 9000}), ("b", None)])
    with pytest.raises(TypeError):
        write_tar(tmp_path / "u.tar", broken)  # type: ignore[arg-type]
    assert [one.name for one in tmp_path.iterdir()] == ["t.tar"]


def full_after(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the disk be full from the n-th member on."""
    real, left = tarfile.TarFile.addfile, [count]

    def addfile(tar: tarfile.TarFile, info: tarfile.TarInfo, data: object = None) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(tar, info, data)  # type: ignore[arg-type]

    monkeypatch.setattr(tarfile.TarFile, "addfile", addfile)


def test_a_full_disk_is_one_sentence_and_leaves_the_old_shards(tmp_path: Path, monkeypatch) -> None:
    write(tmp_path / "out", [sample(i) for i in range(4)], max_samples=2)
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    full_after(7, monkeypatch)
    with pytest.raises(WriteError, match=r"train-00001\.tar cannot be written: the disk is full; free some space"):
        write(tmp_path / "out", [sample(i) for i in range(4, 9)], max_samples=3)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_packing_holds_one_sample_and_not_a_shard(tmp_path: Path) -> None:
    one = groups([sample(0)])[0]
    data = {"json": one[1]["json"], "jpg": b"\xff" * 1_000_000}
    tracemalloc.start()
    ShardWriter()(tmp_path, ((one[0] | {"key": f"{i:016x}"}, dict(data)) for i in range(60)), {"config": {}})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (tmp_path / "train-00000.tar").stat().st_size > 60_000_000
    assert peak < 8_000_000
