"""Weights directories: bit-exact round trips, both official layouts, and one clear sentence for every way to fail."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lp_models import LivePortrait, LivePortraitConfig, WeightsError, load_pretrained, save_pretrained
from lp_models.weights import STEMS, read_card, save_official
from tests.lp_models.same_state import assert_same_state


def without_checksums(directory: Path) -> Path:
    """The faults behind the checksum are only reached without it (or in an official layout, which has none)."""
    path = directory / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"files": {}}))
    return directory


def test_a_saved_model_loads_bit_exactly(model: LivePortrait, pristine: Path) -> None:
    loaded = load_pretrained(pristine)
    assert_same_state(model, loaded)
    assert loaded.config == model.config
    assert not loaded.training
    assert all(p.requires_grad for p in loaded.parameters())


def test_the_starter_size_loads_strictly_what_it_saved(tmp_path: Path) -> None:
    starter = LivePortrait(LivePortraitConfig.named("starter"))
    assert_same_state(starter, load_pretrained(save_pretrained(starter, tmp_path)))


def test_half_precision_files_are_small_and_load_as_float32(
    model: LivePortrait, pristine: Path, tmp_path: Path
) -> None:
    save_pretrained(model, tmp_path, dtype=torch.float16)
    loaded = load_pretrained(tmp_path)
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    half, full = (sum(f.stat().st_size for f in d.glob("*.safetensors")) for d in (tmp_path, pristine))
    assert half < 0.7 * full
    for before, after in zip(model.parameters(), loaded.parameters(), strict=True):
        assert torch.allclose(before, after, rtol=1e-3, atol=1e-6)


def test_the_card_tells_config_species_provenance_and_checksums(pristine: Path) -> None:
    card = read_card(pristine)
    assert card["species"] == ["cat", "dog"]
    assert card["provenance"] == {"made_by": "a test", "steps": 3}
    assert card["config"]["name"] == "tiny"
    assert sorted(card["files"]) == sorted(f"{stem}.safetensors" for stem in STEMS.values())


def test_nothing_half_written_is_left(pristine: Path) -> None:
    assert sorted(p.suffix for p in pristine.iterdir()) == [".json"] + [".safetensors"] * 5


def test_the_official_layout_is_written_and_read(
    model: LivePortrait, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_official(model, tmp_path)
    found = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.pth"))
    assert found == [
        "base_models/appearance_feature_extractor.pth",
        "base_models/motion_extractor.pth",
        "base_models/spade_generator.pth",
        "base_models/warping_module.pth",
        "retargeting_models/stitching_retargeting_module.pth",
    ]
    parts = torch.load(tmp_path / found[-1], weights_only=True)
    assert sorted(parts) == ["retarget_eye", "retarget_mouth", "retarget_shoulder"]
    assert all(key.startswith("module.mlp.") for part in parts.values() for key in part)
    monkeypatch.setattr(LivePortraitConfig, "named", lambda name: model.config)  # tiny stands in for official
    (tmp_path / "model.json").unlink()
    assert_same_state(model, load_pretrained(tmp_path))


def load_as_upstream_does(folder: Path, model: LivePortrait) -> LivePortrait:
    """Strictly, without changing a name, except that every `module.` goes out of the stitching file's parts."""
    loaded = LivePortrait(model.config)
    for child in ("appearance", "motion", "warping", "generator"):
        state = torch.load(folder / "base_models" / f"{STEMS[child]}.pth", map_location=lambda storage, _: storage)
        loaded.get_submodule(child).load_state_dict(state)
    parts = torch.load(folder / "retargeting_models" / f"{STEMS['stitching']}.pth", map_location="cpu")
    for ours, theirs in (("stitching", "shoulder"), ("lip", "mouth"), ("eye", "eye")):
        state = {key.replace("module.", ""): value for key, value in parts[f"retarget_{theirs}"].items()}
        loaded.stitching.get_submodule(ours).load_state_dict(state)
    return loaded


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_loader_of_upstream_reads_the_official_layout(
    model: LivePortrait, tmp_path: Path, dtype: torch.dtype
) -> None:
    loaded = load_as_upstream_does(save_official(model, tmp_path, dtype=dtype), model)
    for key, value in model.state_dict().items():
        expected = value.to(dtype).to(value.dtype) if value.is_floating_point() else value
        assert torch.equal(loaded.state_dict()[key], expected), key


def test_the_official_layout_of_any_size_is_read_with_its_card_and_checksums(
    model: LivePortrait, tmp_path: Path
) -> None:
    save_official(model, tmp_path, {"species": ["dog"], "steps": 4})
    assert_same_state(model, load_pretrained(tmp_path))
    assert_same_state(model, load_pretrained(tmp_path / "base_models"))
    assert read_card(tmp_path)["provenance"] == {"steps": 4}
    path = tmp_path / "retargeting_models" / "stitching_retargeting_module.pth"
    state = torch.load(path, weights_only=True)
    state["retarget_eye"]["module.mlp.0.bias"] += 1
    torch.save(state, path)
    with pytest.raises(WeightsError, match=r"stitching_retargeting_module.*model\.json.*sha256 differs"):
        load_pretrained(tmp_path)


def test_prefixes_extra_parts_and_a_missing_prefix_are_all_read(model: LivePortrait, directory: Path) -> None:
    for stem in ("motion_extractor", "stitching_retargeting_module"):
        (directory / f"{stem}.safetensors").unlink()
    state = {f"module.{key}": value for key, value in model.motion.state_dict().items()}
    torch.save(state, directory / "motion_extractor.pth")
    nested = {
        "retarget_shoulder": model.stitching.stitching.state_dict(),
        "retarget_mouth": {f"module.{k}": v for k, v in model.stitching.lip.state_dict().items()},
        "retarget_eye": model.stitching.eye.state_dict(),
        "something_else": {"a": torch.zeros(1)},
    }
    torch.save(nested, directory / "stitching_retargeting_module.pth")
    assert_same_state(model, load_pretrained(directory))


class Evil:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, ...]]:
        return eval, ("print('run')",)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def as_pth(directory: Path, content: object, stem: str = "motion_extractor") -> None:
    (directory / f"{stem}.safetensors").unlink()
    path = directory / f"{stem}.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)


def resave(
    directory: Path, change: Callable[[dict[str, torch.Tensor]], object], stem: str = "motion_extractor"
) -> None:
    state = load_file(directory / f"{stem}.safetensors")
    change(state)
    save_file(state, directory / f"{stem}.safetensors")


def drop_stitching_part(state: dict[str, torch.Tensor]) -> None:
    for key in [key for key in state if key.startswith("retarget_eye")]:
        del state[key]


def plain_pickle(content: object) -> bytes:
    return pickle.dumps(content)


NORM = "detector.norm.weight"
FAULTS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "missing file": (lambda d: (d / "motion_extractor.safetensors").unlink(), "motion_extractor", "complete set"),
    "missing key": (lambda d: resave(d, lambda s: s.pop(NORM)), NORM, "give another"),
    "unknown key": (lambda d: resave(d, lambda s: s.update(more=torch.zeros(1))), "unknown more", "model.json"),
    "wrong shape": (
        lambda d: resave(d, lambda s: s.update({NORM: torch.ones(5)})),
        r"\[5\].*wants \[32",
        "this size",
    ),
    "not finite": (lambda d: resave(d, lambda s: s[NORM].fill_(torch.nan)), f"{NORM} holds", "earlier checkpoint"),
    "truncated safetensors": (lambda d: cut(d / "motion_extractor.safetensors"), "cut off", "again"),
    "truncated pth": (
        lambda d: (as_pth(d, {"a": torch.zeros(1000)}), cut(d / "motion_extractor.pth")),
        "cut off",
        "again",
    ),
    "empty": (lambda d: (d / "motion_extractor.safetensors").write_bytes(b""), "is empty", "again"),
    "web page": (
        lambda d: as_pth(d, b"<!DOCTYPE html><html><body>Sign in</body></html>"),
        "a web page",
        "download it again",
    ),
    "git-lfs pointer": (
        lambda d: as_pth(d, b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n"),
        "git-lfs pointer",
        "git lfs pull",
    ),
    "malicious zip pickle": (lambda d: as_pth(d, {"a": Evil()}), "was refused", "safetensors"),
    "malicious plain pickle": (lambda d: as_pth(d, plain_pickle({"a": Evil()})), "was refused", "safetensors"),
    "random bytes": (lambda d: as_pth(d, bytes(range(256)) * 8), "motion_extractor.pth", "again|publisher"),
    "a list": (lambda d: as_pth(d, [torch.zeros(1)]), "holds a list", "official or exported"),
    "a sparse tensor": (
        lambda d: as_pth(d, load_file(d / "motion_extractor.safetensors") | {NORM: torch.ones(32).to_sparse()}),
        f"{NORM} is a torch.sparse_coo",
        "not compressed",
    ),
    "whole numbers": (
        lambda d: resave(d, lambda s: s.update({NORM: torch.ones(32, dtype=torch.int64)})),
        f"{NORM} is a .*int64",
        "not compressed",
    ),
    "numbered entries": (lambda d: as_pth(d, {0: torch.zeros(1)}), "entries without names", "exported"),
    "no stitching part": (
        lambda d: resave(d, drop_stitching_part, "stitching_retargeting_module"),
        "no part retarget_eye",
        "complete",
    ),
    "nothing but a card": (
        lambda d: [p.unlink() for p in d.glob("*.safetensors")],
        "holds no weights",
        "complete set of five",
    ),
    "card that lists no files": (
        lambda d: (d / "model.json").write_text('{"format": 1, "config": {}, "files": [1]}'),
        "model.json is damaged",
        "again",
    ),
    "damaged card": (lambda d: (d / "model.json").write_text('{"format": 1'), "model.json is damaged", "again"),
    "newer card": (lambda d: (d / "model.json").write_text('{"format": 99, "config": {}}'), "format 99", "update"),
    "card without sizes": (
        lambda d: (d / "model.json").write_text('{"format": 1, "config": {"name": "x"}}'),
        "does not describe a model",
        "export",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_in_one_sentence_with_the_file_and_a_remedy(
    fault: str, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage, what, remedy = FAULTS[fault]
    damage(without_checksums(directory))
    with pytest.raises(WeightsError, match=what) as caught:
        load_pretrained(directory)
    message = str(caught.value)
    assert str(directory) in message
    assert pytest.approx(0) == message.count("\n")
    assert any(word in message for word in remedy.split("|"))
    assert len(message) < 400
    assert "run" not in capsys.readouterr().out


def test_a_changed_file_is_caught_by_its_checksum(directory: Path) -> None:
    resave(directory, lambda state: state[NORM].add_(1))
    with pytest.raises(WeightsError, match=r"motion_extractor.*sha256 differs"):
        load_pretrained(directory)


def test_weights_of_another_size_are_refused(directory: Path) -> None:
    card = json.loads((directory / "model.json").read_text())
    card["config"]["spade_hidden"] = 8
    (directory / "model.json").write_text(json.dumps(card))
    with pytest.raises(WeightsError, match=r"spade_generator.*mlp_shared.*wants \[8"):
        load_pretrained(directory)


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    broken = LivePortrait(LivePortraitConfig.named("tiny"))
    torch.nn.init.constant_(broken.generator.fc.bias, torch.inf)
    with pytest.raises(WeightsError, match=r"fc\.bias"):
        save_pretrained(broken, tmp_path)
    assert not (tmp_path / "model.json").exists()
