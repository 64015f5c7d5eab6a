import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_pipeline.adapters.known import with_landmarks
from data_pipeline.records import Landmarks, Quality, Sample
from data_pipeline.shards import (
    ShardError,
    ShardWriter,
    from_members,
    read_manifest,
    read_samples,
    read_tar,
    to_members,
    write_tar,
)

QUALITY = Quality(
    min_side_px=99.0, sharpness=50.0, luminance=120.0, contrast=40.0, motion_px=1.0, coverage_frac=1.0, score=0.9
)


def sample(number: int, count: int = 1, split: str = "train", truth: bool = False) -> Sample:
    ramp = np.linspace(0, 200, 32, dtype=np.uint8)[None, None, :, None] + np.zeros((count, 32, 32, 3), np.uint8)
    frames = ramp + np.arange(count, dtype=np.uint8)[:, None, None, None] * 5
    return Sample(
        key=f"{number:016x}-000000-0",
        split=split,  # type: ignore[arg-type]
        species="panda",
        kind="image" if count == 1 else "video",
        frames=frames,
        points=np.random.default_rng(number).uniform(0, 32, (count, 5, 2)).astype(np.float32),
        source_from_crop=np.tile(np.float32([[2, 0, 3], [0, 2, 4]]), (count, 1, 1)),
        start=7,
        fps=25.0,
        source_id=f"{number:016x}",
        identity=f"panda-{number}",
        performance="p1" if truth else "",
        licence="CC0",
        origin="here",
        quality=QUALITY,
        truth={"eye_open": np.full((count, 2), 0.3, np.float32)} if truth else {},
    )


@pytest.mark.parametrize("count", [1, 9])
def test_a_sample_survives_the_round_trip(count: int) -> None:
    one = sample(3, count, truth=True)
    back = from_members(to_members(one))
    assert np.abs(back.frames.astype(int) - one.frames).mean() < 2
    assert np.allclose(back.points, one.points, atol=0.006)
    assert np.array_equal(back.truth["eye_open"], one.truth["eye_open"])
    for name in ("key", "split", "species", "kind", "start", "fps", "identity", "performance", "licence", "quality"):
        assert getattr(back, name) == getattr(one, name)


def test_landmarks_come_back_with_what_is_not_known() -> None:
    points = np.random.default_rng(0).uniform(0, 32, (2, 3, 2)).astype(np.float32)
    points[1, 2] = np.nan
    one = replace(sample(3, 2), landmarks=Landmarks(scheme="cat3", points=points))
    back = from_members(with_landmarks(to_members(one), one)).landmarks
    assert back is not None
    assert back.scheme == "cat3"
    assert np.allclose(back.points, points, atol=0.006, equal_nan=True)
    assert from_members(to_members(one)).landmarks is None


def write(out: Path, samples: list[Sample], **limits: int) -> dict:
    out.mkdir(exist_ok=True)
    members = [to_members(s) for s in samples]
    return ShardWriter(**limits)(out, [(json.loads(m["json"]), m) for m in members], {"config": {"a": 1}})


def test_the_same_samples_give_the_same_bytes(tmp_path: Path) -> None:
    samples = [sample(i, 4, truth=True) for i in range(3)]
    write(tmp_path / "a", samples)
    write(tmp_path / "b", samples)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_shards_are_bounded_by_count_and_by_bytes(tmp_path: Path) -> None:
    samples = [sample(i) for i in range(7)]
    by_count = write(tmp_path / "a", samples, max_samples=3)
    assert [s["samples"] for s in by_count["shards"]] == [3, 3, 1]
    by_bytes = write(tmp_path / "b", samples, max_bytes=1)
    assert len(by_bytes["shards"]) == 7


def test_the_manifest_counts_and_proves_what_is_there(tmp_path: Path) -> None:
    write(tmp_path, [sample(0), sample(1, 5), sample(2, split="val")])
    manifest = read_manifest(tmp_path)
    assert manifest["counts"]["split"] == {"train": 2, "val": 1}
    assert manifest["counts"]["kind"] == {"image": 2, "video": 1}
    assert manifest["frames"] == {"train": 6, "val": 1}
    for shard in manifest["shards"]:
        assert hashlib.sha256((tmp_path / shard["name"]).read_bytes()).hexdigest() == shard["sha256"]


def test_reading_gives_one_split_or_all(tmp_path: Path) -> None:
    write(tmp_path, [sample(0), sample(1, split="val"), sample(2)])
    assert {s.source_id[-1] for s in read_samples(tmp_path, "train")} == {"0", "2"}
    assert len(list(read_samples(tmp_path))) == 3


def test_shards_of_an_earlier_run_do_not_stay(tmp_path: Path) -> None:
    write(tmp_path, [sample(i) for i in range(4)], max_samples=1)
    write(tmp_path, [sample(0)], max_samples=1)
    assert [p.name for p in sorted(tmp_path.glob("*.tar"))] == ["train-00000.tar"]


def test_a_cut_off_tar_is_told_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "train-00000.tar"
    write_tar(path, [("a", {"json": b"x" * 5000})])
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ShardError, match="train-00000"):
        list(read_tar(path))


def test_a_folder_without_manifest_is_told(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match="lp-curate"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": 99}')
    with pytest.raises(ShardError, match="99"):
        read_manifest(tmp_path)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset_reads_what_we_write(tmp_path: Path) -> None:
    import gc

    import webdataset as wds  # leaves the tar to the garbage collector, hence the filters

    write(tmp_path, [sample(0), sample(1, 3, truth=True)])
    groups = list(wds.WebDataset(str(tmp_path / "train-00000.tar"), shardshuffle=False, empty_check=False))
    assert [sorted(k for k in g if not k.startswith("__")) for g in groups] == [
        ["jpg", "json"],
        ["json", "mp4", "truth.npz"],
    ]
    gc.collect()
