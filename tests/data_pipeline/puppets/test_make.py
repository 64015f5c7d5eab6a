"""A set is written as the contract says, exactly repeatable, and goes on where it stopped."""

import hashlib
import json
from pathlib import Path

import av
import numpy as np
import pytest

from data_pipeline.puppets.make import PuppetSet
from data_pipeline.puppets.motion import MOTION_NAMES


def tiny(out: Path, **options: object) -> PuppetSet:
    values: dict = {"identities": 1, "seconds": 0.4, "stills": 1, "size_px": 64, "workers": 1} | options
    return PuppetSet(out=out, **values)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    out = tmp_path_factory.mktemp("puppets")
    return out, tiny(out)()


def digests(out: Path) -> dict[str, str]:
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.suffix in (".mp4", ".jpg", ".npz")
    }


def test_every_file_is_listed_with_its_sum(made: tuple[Path, dict]) -> None:
    out, manifest = made
    assert json.loads((out / "manifest.json").read_text()) == manifest
    sums = digests(out)
    assert {entry["path"]: entry["sha256"] for entry in manifest["files"]} == {
        name: sums[name] for name in sums if not name.endswith(".npz")
    }
    assert len(manifest["files"]) == 8
    assert {entry["species"] for entry in manifest["files"]} == {"human", "cat", "dog", "panda"}
    assert not list(out.rglob("*.part"))


def test_videos_hold_the_promised_frames(made: tuple[Path, dict]) -> None:
    out, manifest = made
    for entry in manifest["files"]:
        with av.open(str(out / entry["path"])) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert len(frames) == entry["frames"] == (10 if entry["kind"] == "video" else 1)
        assert frames[0].shape == (64, 64, 3)


def test_truth_has_the_contract_arrays(made: tuple[Path, dict]) -> None:
    out, manifest = made
    for entry in manifest["files"]:
        stem = entry["path"].rsplit(".", 1)[0]
        num = entry["frames"]
        with np.load(out / f"{stem}.truth.npz", allow_pickle=False) as truth:
            shapes = {name: (truth[name].shape, truth[name].dtype.name) for name in truth}
            assert str(truth["identity"]) == entry["identity"]
            assert str(truth["species"]) == entry["species"]
            assert str(truth["performance"]) == entry["performance"]
            assert np.isfinite(truth["landmarks"]).all()
        assert shapes["points"] == ((num, 5, 2), "float32")
        assert shapes["landmarks"] == ((num, 70, 2), "float32")
        assert shapes["landmark_visible"] == ((num, 70), "bool")
        assert shapes["eye_open"] == ((num, 2), "float32")
        assert shapes["lip_open"] == ((num,), "float32")
        assert shapes["pose_deg"] == ((num, 3), "float32")
        assert shapes["motion"] == ((num, len(MOTION_NAMES)), "float32")
        assert shapes["head_box"] == ((num, 4), "float32")
        assert shapes["fps"][0] == ()
        with np.load(out / f"{stem}.masks.npz", allow_pickle=False) as masks:
            assert masks["labels"].shape == (num, 64, 64)
            assert masks["labels"].dtype == np.uint8


def test_shared_performances_are_equal_across_species(made: tuple[Path, dict]) -> None:
    out, manifest = made
    videos = [entry["path"] for entry in manifest["files"] if entry["kind"] == "video"]
    codes = [np.load(out / path.replace(".mp4", ".truth.npz"))["motion"] for path in videos]
    assert len(codes) == 4
    assert all(np.array_equal(code, codes[0]) for code in codes)


def test_own_performances_differ(tmp_path: Path) -> None:
    jobs = tiny(tmp_path, performances="own", stills=0).jobs()
    assert len({job.performance for job in jobs}) == 4
    assert not np.array_equal(jobs[0].motion(), jobs[1].motion())


def test_the_same_plan_gives_the_same_bytes(made: tuple[Path, dict], tmp_path: Path) -> None:
    tiny(tmp_path, species=("cat",))()
    first = digests(made[0])
    assert digests(tmp_path) == {name: first[name] for name in first if name.startswith("cat/")}


def test_a_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    plan = tiny(tmp_path, species=("panda",), stills=2)
    plan()
    kept, lost = tmp_path / "panda/panda-0000/still-0.jpg", tmp_path / "panda/panda-0000/still-1.jpg"
    before, content = kept.stat().st_mtime_ns, lost.read_bytes()
    lost.unlink()
    plan()
    assert kept.stat().st_mtime_ns == before
    assert lost.read_bytes() == content


def test_an_interrupted_run_keeps_its_journal(tmp_path: Path) -> None:
    plan = tiny(tmp_path, species=("dog",), clips=0, stills=1)
    manifest = plan()
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "manifest.journal").write_text(json.dumps(manifest["files"][0]) + '\n{"path": "cut o')
    before = (tmp_path / "dog/dog-0000/still-0.jpg").stat().st_mtime_ns
    assert plan() == manifest
    assert (tmp_path / "dog/dog-0000/still-0.jpg").stat().st_mtime_ns == before


def test_changed_options_make_files_anew(tmp_path: Path) -> None:
    tiny(tmp_path, species=("dog",), clips=0)()
    before = digests(tmp_path)
    tiny(tmp_path, species=("dog",), clips=0, size_px=96)()
    assert digests(tmp_path) != before


def test_masks_can_be_left_out_and_offsets_give_others(tmp_path: Path) -> None:
    manifest = tiny(tmp_path, species=("cat",), clips=0, masks=False, identity_offset=40)()
    assert [entry["identity"] for entry in manifest["files"]] == ["cat-0040"]
    assert not list(tmp_path.rglob("*.masks.npz"))


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"identities": 0}, "identities"),
        ({"species": ("cow",)}, "species"),
        ({"species": ()}, "species"),
        ({"size_px": 65}, "size_px"),
        ({"clips": 0, "stills": 0}, "nothing to make"),
        ({"seconds": 0.0}, "less than one frame"),
        ({"performances": "both"}, "performances"),
    ],
)
def test_wrong_options_are_named(tmp_path: Path, options: dict, word: str) -> None:
    from jaxtyping import TypeCheckError

    with pytest.raises((ValueError, TypeCheckError), match=word):
        tiny(tmp_path, **options)


def test_a_cast_shares_performances_and_the_next_one_gets_others(tmp_path: Path) -> None:
    jobs = tiny(tmp_path, identities=4, clips=2, cast=2, species=("human", "cat")).jobs()
    played = {(job.identity, job.performance) for job in jobs if job.kind == "video"}
    by_identity = {name: {p for i, p in played if i == name} for name, _ in played}
    assert by_identity["human-0000"] == by_identity["human-0001"] == by_identity["cat-0000"]
    assert not by_identity["human-0000"] & by_identity["human-0002"]
    assert by_identity["human-0003"] == by_identity["cat-0002"]
    assert len({p for _, p in played}) == 4


def test_exercises_have_names_and_motion_of_their_own(tmp_path: Path) -> None:
    act, drill = (tiny(tmp_path, acting=acting).jobs()[0] for acting in ("performance", "exercises"))
    assert act.performance != drill.performance
    assert act.config_hash != drill.config_hash
    assert not np.array_equal(act.motion(), drill.motion())


def test_options_that_came_later_leave_the_hash_of_finished_files(tmp_path: Path) -> None:
    assert tiny(tmp_path).jobs()[0].config_hash == "87ad23ddbba40ba0"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cast": 2, "performances": "own"}, "cast says who shares"),
        ({"cast": -1}, "cast must be at least 0"),
    ],
)
def test_bad_casts_are_refused(tmp_path: Path, options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        tiny(tmp_path, **options)
