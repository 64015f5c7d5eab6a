import io
import json
import tarfile
from pathlib import Path

import pytest

from data_pipeline.doctor import MAX_OF_A_KIND, dealing, doctor, doctor_action
from data_pipeline.shards import ShardError, ShardWriter, read_manifest, read_tar, shard_entry, write_tar
from tests.data_pipeline.shard_folder import groups, sample, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "s", [sample(i, 1 + i % 2 * 3) for i in range(4)] + [sample(9, split="val")], max_samples=2)
    return tmp_path / "s"


def kinds(folder: Path, **options) -> set[str]:
    return {finding.kind for finding in doctor(folder, **options) if finding.severity == "error"}


def rewrite(folder: Path, name: str, change) -> None:
    """Change a shard's groups and make the manifest's entry right again, so that only the content is wrong."""
    groups = list(read_tar(folder / name))
    change(groups)
    write_tar(folder / name, groups)
    enter(folder, name, len(groups))


def enter(folder: Path, name: str, num_samples: int) -> None:
    manifest = read_manifest(folder)
    manifest["shards"] = [
        shard_entry(folder / name, num_samples) if s["name"] == name else s for s in manifest["shards"]
    ]
    (folder / "manifest.json").write_text(json.dumps(manifest))


def edited(groups: list, number: int, **fields: object) -> None:
    key, members = groups[number]
    record = json.loads(members["json"]) | fields
    groups[number] = (key, {**members, "json": json.dumps(record).encode()})


def test_a_sound_folder_has_no_findings(folder: Path) -> None:
    assert doctor(folder, decode="all") == []
    doctor_action(folder)
    assert json.loads((folder / "doctor.json").read_text())["findings"] == []


def test_changed_bytes_are_found_without_decoding(folder: Path) -> None:
    path = folder / "train-00000.tar"
    data = bytearray(path.read_bytes())
    data[2000] ^= 255
    path.write_bytes(data)
    assert "sha256 differ from manifest" in kinds(folder, decode="none")


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_tar_cut_short_is_found(folder: Path, share: float) -> None:
    path = folder / "train-00000.tar"
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    found = kinds(folder, decode="none")
    assert "bytes differ from manifest" in found
    assert "sha256 differ from manifest" in found
    if share < 0.5:  # further back lies the padding that a tar ends with
        assert "tar cut short" in found


def test_a_tar_without_its_end_mark_is_found_at_a_member_border(folder: Path) -> None:
    path = folder / "val-00000.tar"
    with tarfile.open(path) as tar:
        last = tar.getmembers()[-1]
    path.write_bytes(path.read_bytes()[: last.offset_data + (last.size + 511) // 512 * 512])
    enter(folder, path.name, 1)
    assert kinds(folder, decode="none") == {"tar cut short"}


def test_a_tar_of_nothing_and_a_missing_one_are_found(folder: Path) -> None:
    (folder / "train-00000.tar").write_bytes(b"")
    (folder / "train-00001.tar").unlink()
    assert {"tar cut short", "shard missing"} <= kinds(folder)


def test_members_that_lead_out_and_foreign_ones_are_found(folder: Path) -> None:
    path = folder / "val-00000.tar"
    with tarfile.open(path, "a") as tar:
        for name in ("../evil.json", "/etc/evil.jpg", "notes.txt", "folder/a.jpg"):
            info = tarfile.TarInfo(name)
            info.size = 3
            tar.addfile(info, io.BytesIO(b"abc"))
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    enter(folder, path.name, 1)
    found = [(f.kind, f.severity) for f in doctor(folder)]
    assert found.count(("path escape", "error")) == 2
    assert found.count(("foreign member", "error")) == 1
    assert found.count(("foreign member", "warning")) == 2


def test_a_key_twice_in_a_shard_or_in_two_is_found(folder: Path) -> None:
    rewrite(folder, "train-00000.tar", lambda groups: groups.append(groups[0]))
    assert "duplicate key" in kinds(folder)
    first = next(read_tar(folder / "train-00000.tar"))
    rewrite(folder, "train-00001.tar", lambda groups: groups.append(first))
    places = [f.place for f in doctor(folder) if f.kind == "duplicate key"]
    assert any(place.startswith("train-00001") for place in places)


@pytest.mark.parametrize("gone", ["json", "jpg"])
def test_a_missing_twin_is_found(folder: Path, gone: str) -> None:
    rewrite(folder, "train-00000.tar", lambda groups: groups[0][1].pop(gone))
    assert "twin missing" in kinds(folder, decode="none")


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"num_frames": 3}, "record damaged"),
        ({"split": "val"}, "record damaged"),
        ({"key": "other"}, "record damaged"),
        ({"kind": "image"}, "record damaged"),
        ({"side_px": 64}, "picture does not fit"),
        ({"licence": "secret"}, "sums differ from manifest"),
    ],
)
def test_records_that_do_not_fit_are_found(folder: Path, fields: dict, kind: str) -> None:
    rewrite(folder, "train-00000.tar", lambda groups: edited(groups, 1, **fields))
    assert kind in kinds(folder, decode="all")


def test_fewer_frames_than_the_record_says_are_found_by_decoding_only(folder: Path) -> None:
    more = {"num_frames": 5, "points": [[[1, 1]] * 5] * 5}
    rewrite(folder, "train-00000.tar", lambda groups: edited(groups, 1, **more))
    assert "picture does not fit" in kinds(folder, decode="all")
    assert "picture does not fit" not in kinds(folder, decode="none")


def test_a_picture_that_does_not_decode_is_found(folder: Path) -> None:
    def spoil(groups: list) -> None:
        groups[0] = (groups[0][0], {**groups[0][1], "jpg": b"no picture"})
        groups[1] = (groups[1][0], {**groups[1][1], "mp4": groups[1][1]["mp4"][:700]})

    rewrite(folder, "train-00000.tar", spoil)
    found = [f for f in doctor(folder, decode="all") if f.kind == "picture does not fit"]
    assert [f.place.rpartition(".")[2] for f in found] == ["jpg", "mp4"]
    sampled = [f for f in doctor(folder, decode="sample") if f.kind == "picture does not fit"]
    assert found[0] in sampled  # the first of a shard is always drawn


@pytest.mark.parametrize("name", ["identity", "source_id", "cluster"])
def test_what_is_in_two_splits_is_found(folder: Path, name: str) -> None:
    rewrite(folder, "train-00000.tar", lambda groups: edited(groups, 0, **{name: "both"}))
    rewrite(folder, "val-00000.tar", lambda groups: edited(groups, 0, **{name: "both"}))
    assert "in two splits" in kinds(folder)


def test_an_incomplete_manifest_and_tars_it_does_not_know_are_found(folder: Path) -> None:
    manifest = read_manifest(folder)
    del manifest["code_version"], manifest["shards"][0]["sha256"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "train-00007.tar").write_bytes(b"")
    found = [f.message for f in doctor(folder) if f.severity == "error"]
    assert len(found) == 3
    assert any("code_version" in message for message in found)
    assert any("sha256" in message for message in found)


def test_a_name_in_the_manifest_cannot_lead_out(folder: Path) -> None:
    manifest = read_manifest(folder)
    manifest["shards"][0]["name"] = "../s/train-00000.tar"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert "shard missing" in kinds(folder)


def test_starving_workers_are_named(folder: Path) -> None:
    found = doctor(folder, world_size=2, workers=2)
    assert [f.kind for f in found] == ["starving workers"]
    assert "rank 0 worker 1, rank 1 worker 1 get nothing" in found[0].message
    assert doctor(folder, world_size=2, workers=1) == []


def entries(*samples: int) -> list[dict]:
    return [
        {"name": f"train-{i:05d}.tar", "samples": n, "bytes": n * 100, "sha256": "x"} for i, n in enumerate(samples)
    ]


def test_uneven_shards_and_shares_are_told() -> None:
    assert [f.kind for f in dealing(entries(10, 2, 10, 10, 1), 1, 1)] == ["uneven shards"]
    assert dealing(entries(10, 10, 10, 1), 1, 1) == []  # the last one holds what was left
    told = dealing(entries(10, 10, 10), 2, 1)
    assert [f.kind for f in told] == ["uneven workers"]
    assert "rank 0 worker 0 gets 20 samples, rank 1 worker 0 10" in told[0].message
    assert "writer.max_samples=3" in told[0].remedy


def test_errors_end_the_action_with_one_sentence(folder: Path, capsys) -> None:
    (folder / "train-00000.tar").unlink()
    with pytest.raises(ValueError, match=r"1 errors \(shard missing\)"):
        doctor_action(folder)
    assert "train-00000.tar" in capsys.readouterr().out
    stored = json.loads((folder / "doctor.json").read_text())
    assert stored["counts"] == {"error": 1}
    assert set(stored["findings"][0]) == {"severity", "kind", "place", "message", "remedy"}


def test_many_findings_of_a_kind_are_counted_not_listed(folder: Path) -> None:
    for number in range(MAX_OF_A_KIND + 5):
        (folder / f"left-{number}.part").write_text("")
    found = doctor(folder, decode="none")
    assert len(found) == MAX_OF_A_KIND + 1
    assert found[-1].message == "and 5 more of this kind"


def test_no_shard_is_held_in_memory(tmp_path: Path) -> None:
    import tracemalloc

    samples = [sample(i) for i in range(20)]
    packed = [(record, {**members, "jpg": members["jpg"] + bytes(2_000_000)}) for record, members in groups(samples)]
    ShardWriter()(tmp_path, packed, {"config": {}})
    assert (tmp_path / "train-00000.tar").stat().st_size > 40_000_000
    del packed
    tracemalloc.start()
    try:
        assert doctor(tmp_path, decode="all") == []
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16_000_000


def test_wrong_arguments_and_no_folder_are_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="world_size=0"):
        doctor(folder, world_size=0)
    with pytest.raises(ShardError, match="lp-curate"):
        doctor(tmp_path)
