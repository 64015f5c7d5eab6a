"""Conversions: every layout into every other, other weights never overwritten by accident, nothing half-written."""

import errno
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from finetune.checkpoints import Checkpoints
from lp_models import LivePortrait, LivePortraitConfig, WeightsError, load_pretrained, save_pretrained
from lp_models.conversion import convert
from lp_models.lock import Lock, write_lock
from lp_models.weights import STEMS, read_card


@pytest.fixture(scope="module")
def model() -> LivePortrait:
    torch.manual_seed(3)
    return LivePortrait(LivePortraitConfig.named("tiny"))


@pytest.fixture
def ours(model: LivePortrait, tmp_path: Path) -> Path:
    return save_pretrained(model, tmp_path / "ours", {"species": ["cat"], "steps": 3})


def other_weights(folder: Path) -> dict[str, bytes]:
    save_pretrained(LivePortrait(LivePortraitConfig.named("tiny")), folder)
    return content(folder)


def content(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def assert_same_state(model: LivePortrait, folder: Path) -> None:
    loaded = load_pretrained(folder).state_dict()
    assert [key for key, value in model.state_dict().items() if not torch.equal(value, loaded[key])] == []


def test_there_and_back_again_is_the_same_to_the_bit(model: LivePortrait, ours: Path, tmp_path: Path) -> None:
    there = convert(ours, tmp_path / "official", layout="official")
    assert there.is_new
    assert [p.suffix for p in there.files] == [".pth"] * 5 + [".json"]
    assert all(p.is_file() for p in there.files)
    assert_same_state(model, there.folder)
    back = convert(there.folder, tmp_path / "back")
    for stem in STEMS.values():
        assert (back.folder / f"{stem}.safetensors").read_bytes() == (ours / f"{stem}.safetensors").read_bytes()
    card = read_card(back.folder)
    assert card["species"] == ["cat"]
    assert card["provenance"] == {"steps": 3, "converted_from": str(there.folder)}


def test_half_precision_is_written_when_asked_for(ours: Path, tmp_path: Path) -> None:
    half = convert(ours, tmp_path / "half", dtype="float16").folder
    assert read_card(half)["dtype"] == "float16"
    assert {p.dtype for p in load_pretrained(half).parameters()} == {torch.float32}
    official = convert(half, tmp_path / "official", layout="official", dtype="float16").folder
    state = torch.load(official / "base_models" / "motion_extractor.pth", weights_only=True)
    assert {value.dtype for value in state.values()} == {torch.float16}


def test_a_checkpoint_is_converted_with_what_is_known_of_it(model: LivePortrait, tmp_path: Path) -> None:
    state = {"kind": "base", "config": model.config.as_dict(), "model": model.state_dict(), "ema": None}
    path = Checkpoints(folder=tmp_path / "checkpoints").save(12, state)
    done = convert(path, tmp_path / "out")
    assert_same_state(model, done.folder)
    provenance = read_card(done.folder)["provenance"]
    assert (provenance["recipe"], provenance["steps"], provenance["weights"]) == ("base", 12, "last step")


def test_the_flat_public_conversion_is_read(
    model: LivePortrait, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for child in ("appearance", "motion", "warping", "generator"):
        save_file(model.get_submodule(child).state_dict(), flat / f"{STEMS[child]}.safetensors")
    parts = {"retarget_shoulder": "stitching", "retarget_mouth": "lip", "retarget_eye": "eye"}
    state = {
        f"{name}_module.{key}": value
        for name, part in parts.items()
        for key, value in model.stitching.get_submodule(part).state_dict().items()
    }
    save_file(state, flat / f"{STEMS['stitching']}.safetensors")
    config = model.config
    monkeypatch.setattr(LivePortraitConfig, "named", lambda name: config)  # tiny stands in for official
    assert_same_state(model, convert(flat, tmp_path / "official", layout="official").folder)


@pytest.mark.parametrize("layout", ["ours", "official"])
def test_the_same_again_changes_nothing(ours: Path, tmp_path: Path, layout: str) -> None:
    out = tmp_path / "out"
    first = convert(ours, out, layout=layout)
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    again = convert(ours, out, layout=layout)
    assert not again.is_new
    assert again.files == first.files
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*")} == before


@pytest.mark.parametrize("options", [{}, {"layout": "official"}, {"dtype": "float16"}])
def test_other_weights_are_only_replaced_by_force(
    model: LivePortrait, ours: Path, tmp_path: Path, options: dict
) -> None:
    out = tmp_path / "out"
    before = other_weights(out)
    with pytest.raises(WeightsError, match=r"out holds other weights.*force=true"):
        convert(ours, out, **options)
    assert content(out) == before
    done = convert(ours, out, force=True, **options)
    assert done.is_new
    assert sorted(content(out)) == sorted(p.relative_to(out).as_posix() for p in done.files)  # no stale file is left
    if "dtype" not in options:
        assert_same_state(model, out)


def test_the_wrong_folders_are_refused(ours: Path, tmp_path: Path) -> None:
    before = content(ours)
    for out in (ours, ours / "." / "x" / ".."):
        with pytest.raises(WeightsError, match="is where the weights come from"):
            convert(ours, out, force=True)
    assert content(ours) == before
    (tmp_path / "file").touch()
    with pytest.raises(WeightsError, match=r"out=.*file is a file; give a folder"):
        convert(ours, tmp_path / "file")
    with pytest.raises(WeightsError, match=r"below/appearance.* could not be written \(Not a directory\)"):
        convert(ours, tmp_path / "file" / "below")
    download = tmp_path / "download"
    download.mkdir()
    write_lock(download, Lock(repo="a/b", revision="0" * 40, asked="main", files={}))
    with pytest.raises(WeightsError, match="in a folder of lp-weights download"):
        convert(ours, download / "liveportrait", force=True)


def test_unknown_words_are_refused(ours: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="dtype='int8' is unknown; choose float32 or float16"):
        convert(ours, tmp_path / "out", dtype="int8")
    assert not (tmp_path / "out").exists()


def test_weights_that_do_not_load_are_not_converted(ours: Path, tmp_path: Path) -> None:
    path = ours / "warping_module.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(WeightsError, match=r"warping_module"):
        convert(ours, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_full_disk_leaves_the_former_weights(ours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    before = other_weights(out)
    real = Path.write_bytes

    def write(path: Path, data: bytes) -> int:
        if path.name.startswith("warping"):
            real(path, data[:100])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(path, data)

    monkeypatch.setattr(Path, "write_bytes", write)
    with pytest.raises(WeightsError, match=r"warping_module\.pth could not be written \(No space left on device\)"):
        convert(ours, out, layout="official", force=True)
    assert content(out) == before
