"""What verify and inspect say of whole, damaged and foreign weights."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from finetune.checkpoints import Checkpoints
from lp_models import LivePortrait, LivePortraitConfig, WeightsError, save_pretrained
from lp_models.inspection import inspect, verify
from lp_models.lock import Lock, LockedFile, write_lock
from lp_models.state_files import sha256_of
from lp_models.weights import STEMS, save_official


@pytest.fixture(scope="module")
def model() -> LivePortrait:
    torch.manual_seed(3)
    return LivePortrait(LivePortraitConfig.named("tiny"))


@pytest.fixture
def ours(model: LivePortrait, tmp_path: Path) -> Path:
    return save_pretrained(model, tmp_path / "ours", {"species": ["cat"], "steps": 3})


@pytest.fixture
def checkpoint(model: LivePortrait, tmp_path: Path) -> Path:
    state = {"kind": "base", "config": model.config.as_dict(), "model": model.state_dict(), "ema": None}
    return Checkpoints(folder=tmp_path / "checkpoints").save(12, state)


@pytest.fixture
def download(model: LivePortrait, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The published layout with two models, v1 of the animals and a lock; tiny stands in for official."""
    root = tmp_path / "download"
    save_official(model, root / "liveportrait")
    save_official(LivePortrait(model.config), root / "liveportrait_animals")
    shutil.copytree(root / "liveportrait" / "base_models", root / "liveportrait_animals" / "base_models_v1.1")
    shutil.rmtree(root / "liveportrait_animals" / "retargeting_models")
    files = {}
    for path in sorted(root.rglob("*.pth")):
        entry = LockedFile(num_bytes=path.stat().st_size, sha256=sha256_of(path), when="2026-01-01T00:00:00+00:00")
        files[path.relative_to(root).as_posix()] = entry
    for path in root.rglob("model.json"):
        path.unlink()
    write_lock(root, Lock(repo="KwaiVGI/LivePortrait", revision="ab" * 20, asked="main", files=files))
    config = model.config
    monkeypatch.setattr(LivePortraitConfig, "named", lambda name: config)
    return root


def test_whole_weights_pass_file_by_file(model: LivePortrait, ours: Path) -> None:
    passed = list(verify(ours))
    assert [row.network for row in passed] == list(STEMS)
    assert {row.sum_from for row in passed} == {"model.json"}
    assert sum(row.num_entries for row in passed) == len(model.state_dict())


def test_the_first_fault_ends_it_after_what_passed(ours: Path) -> None:
    path = ours / "warping_module.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    passed = []
    with pytest.raises(WeightsError, match=r"warping_module.*sha256 differs"):
        passed.extend(verify(ours))
    assert [row.network for row in passed] == ["appearance", "motion"]


def test_a_download_is_verified_model_by_model_and_by_its_lock(download: Path) -> None:
    passed = list(verify(download))
    assert len(passed) == len({row.path for row in passed}) == 13  # three times four, and one stitching file
    assert {row.sum_from for row in passed} == {"weights.lock.json"}
    assert len(list(verify(download / "liveportrait_animals" / "base_models"))) == 5
    path = download / "liveportrait_animals" / "base_models" / "motion_extractor.pth"
    state = torch.load(path, weights_only=True)
    state["detector.norm.weight"] += 1
    torch.save(state, path)
    with pytest.raises(WeightsError, match=r"base_models/motion_extractor.*weights\.lock\.json.*sha256 differs"):
        list(verify(download))
    assert len(list(verify(download / "liveportrait_animals"))) == 5  # v1.1 is whole


def test_a_single_file_is_verified_by_its_name_or_by_what_is_in_it(ours: Path, tmp_path: Path) -> None:
    (row,) = verify(ours / "spade_generator.safetensors")
    assert (row.network, row.sum_from) == ("generator", "model.json")
    renamed = ours / "mine.safetensors"
    for child, stem in STEMS.items():
        shutil.copy(ours / f"{stem}.safetensors", renamed)
        (row,) = verify(renamed)
        assert (row.network, row.sum_from) == (child, "none known")
    save_file({"something": torch.zeros(1)}, renamed)
    with pytest.raises(WeightsError, match=r"mine.*no file of this model.*the first is something"):
        list(verify(renamed))


def test_a_checkpoint_is_verified_network_by_network(checkpoint: Path) -> None:
    assert [row.network for row in verify(checkpoint)] == list(STEMS)


def test_whole_weights_are_described(model: LivePortrait, ours: Path) -> None:
    found = inspect(ours)
    assert found.fault == ""
    assert found.kind == "weights directory, tiny size"
    assert [row.network for row in found.rows] == list(STEMS)
    assert sum(row.num_parameters for row in found.rows) == sum(p.numel() for p in model.parameters())
    assert found.provenance == {"told by": "model.json", "species": ["cat"], "steps": 3}
    motion = found.rows[1]
    assert motion.sha256 == sha256_of(ours / "motion_extractor.safetensors")
    assert motion.dtypes == "float32"
    assert {(t.name, t.shape) for t in motion.tensors} == {
        (k, tuple(v.shape)) for k, v in model.motion.state_dict().items()
    }
    weight = max(model.motion.state_dict().values(), key=torch.numel)
    assert f"largest {'x'.join(map(str, weight.shape))}" in motion.shapes
    assert f"{sum(v.ndim == 1 for v in model.motion.state_dict().values())} of 1-D" in motion.shapes


def test_a_download_is_described_with_its_commit(download: Path) -> None:
    found = inspect(download)
    assert found.fault == ""
    assert found.kind.startswith("3 models, official size")
    assert len(found.rows) == 13
    assert found.provenance["revision"] == "ab" * 20
    stitching = inspect(download / "liveportrait").rows[-1]
    assert "retarget_eye/module.mlp.0.weight" in {t.name for t in stitching.tensors}


def test_a_checkpoint_is_described(checkpoint: Path) -> None:
    found = inspect(checkpoint)
    assert (found.fault, found.kind) == ("", "checkpoint of lp-finetune, tiny size")
    assert [row.network for row in found.rows] == list(STEMS)
    assert found.provenance["steps"] == 12
    assert len({row.sha256 for row in found.rows}) == 1


def test_weights_that_do_not_load_are_shown_with_the_reason(ours: Path) -> None:
    state = load_file(ours / "motion_extractor.safetensors")
    del state["detector.norm.weight"]
    save_file(state, ours / "motion_extractor.safetensors")
    (ours / "spade_generator.safetensors").write_text("<html>Sign in</html>")
    (ours / "stitching_retargeting_module.safetensors").unlink()
    (ours / "model.json").write_text("{")
    found = inspect(ours)
    assert "model.json is damaged" in found.fault
    rows = {row.network: row for row in found.rows}
    assert sorted(rows) == ["appearance", "generator", "motion", "warping"]
    assert len(rows["motion"].tensors) == len(state)
    assert "web page" in rows["generator"].fault
    assert rows["generator"].tensors == ()
    (ours / "model.json").unlink()
    assert "no such file of official size" in inspect(ours).fault


def test_foreign_files_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"a.weight": torch.zeros(3, 2)}, path)
    found = inspect(path)
    assert found.rows[0].tensors[0] == ("a.weight", (3, 2), "float32")
    assert found.rows[0].network == "unknown"
    assert "no file of this model" in found.fault
    foreign = tmp_path / "other.ckpt"
    torch.save({"state_dict": {}, "pytorch-lightning_version": "2.6"}, foreign)
    found = inspect(foreign)
    assert "another program" in found.fault
    assert found.rows[0].num_bytes == foreign.stat().st_size


def test_there_must_be_something_to_look_at(tmp_path: Path) -> None:
    for look in (inspect, lambda path: list(verify(path))):
        with pytest.raises(WeightsError, match="holds no weights"):
            look(tmp_path)
        with pytest.raises(WeightsError, match="not a directory"):
            look(tmp_path / "nowhere")
