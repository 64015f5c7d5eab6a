import errno
import resource
import signal
from pathlib import Path

import pytest
import torch

from finetune.checkpoints import CheckpointError, Checkpoints, refuse_other_settings
from tests.finetune.ranks import exit_codes


def test_newest_stay_and_parts_do_not_count(tmp_path):
    checkpoints = Checkpoints(folder=tmp_path, keep=3)
    for step in range(1, 6):
        checkpoints.save(step, {"x": torch.tensor(step)})
    checkpoints.path(9).with_suffix(".ckpt.part").write_bytes(b"half")
    assert [path.name for path in checkpoints.found()] == [f"step-{n:07d}.ckpt" for n in (5, 4, 3)]
    assert checkpoints.latest()["x"] == 5
    with pytest.raises(ValueError, match="keep_last is 0"):
        Checkpoints(folder=tmp_path, keep=0)


@pytest.mark.parametrize("damage", [
    lambda data: b"",
    lambda data: data[: len(data) // 2],
    lambda data: data[:200] + b"\xff" * 200 + data[400:],
    lambda data: b"PK\x03\x04 not a zip file",
])  # fmt: skip
def test_every_kind_of_damage_makes_way_for_the_one_before(tmp_path, capsys, damage):
    checkpoints = Checkpoints(folder=tmp_path)
    for step in (1, 2):
        checkpoints.save(step, {"x": torch.arange(100) + step})
    newest = checkpoints.path(2)
    newest.write_bytes(damage(newest.read_bytes()))
    assert checkpoints.latest()["step"] == 1
    assert "step-0000002.ckpt cannot be read" in capsys.readouterr().err
    checkpoints.set_aside_newer(1)
    assert [path.name for path in checkpoints.found()] == ["step-0000001.ckpt"]
    assert (tmp_path / "step-0000002.ckpt.damaged").is_file()


def write_until_full(rank: int, folder: Path) -> str:
    checkpoints = Checkpoints(folder=folder)
    checkpoints.save(1, {"x": torch.zeros(1000)})
    # The system itself refuses the bytes, as on a full disk.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        checkpoints.save(2, {"x": torch.zeros(1_000_000)})
    except CheckpointError as error:
        return str(error)
    return "it fitted"


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path):
    folder = tmp_path / "checkpoints"
    assert exit_codes(1, write_until_full, folder, folder=str(tmp_path)) == [0]
    said = torch.load(tmp_path / "0.pt", weights_only=True)
    assert "step-0000002.ckpt could not be written" in said
    assert "run the same command again: it goes on from the checkpoint before (step-0000001.ckpt)" in said
    assert [path.name for path in folder.iterdir()] == ["step-0000001.ckpt"]
    assert Checkpoints(folder=folder).latest()["step"] == 1


def test_a_disk_that_is_full_at_once_leaves_nothing(tmp_path, monkeypatch):
    def fails(value, file):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", fails)
    with pytest.raises(CheckpointError, match=r"No space left on device.*goes on from the beginning"):
        Checkpoints(folder=tmp_path).save(1, {})
    assert list(tmp_path.iterdir()) == []


def test_the_best_is_kept_by_its_score_and_by_its_term(tmp_path):
    checkpoints = Checkpoints(folder=tmp_path, keep=1)
    kept = []
    for step, score in ((1, 3.0), (2, 2.0), (3, 2.5)):
        checkpoints.save(step, {"x": torch.tensor(step)})
        kept.append(checkpoints.mark_best(step, "total", score))
    assert kept == [True, True, False]
    assert torch.load(tmp_path / "best.ckpt", weights_only=True)["x"] == 2
    assert [path.name for path in checkpoints.found()] == ["step-0000003.ckpt"]
    assert checkpoints.mark_best(3, "guide", 9.0)  # of another term: nothing to compare with
    (tmp_path / "best.json").write_text("{")
    with pytest.raises(CheckpointError, match="delete it"):
        checkpoints.mark_best(3, "guide", 1.0)


def test_other_settings_are_refused_by_name(tmp_path):
    path = tmp_path / "step-0000001.ckpt"
    saved = {"settings": {"recipe.optimiser.lr": "0.1", "seed": "0"}}
    refuse_other_settings(saved, {"recipe.optimiser.lr": "0.1", "seed": "0"}, path)
    refuse_other_settings({}, {"seed": "0"}, path)
    with pytest.raises(CheckpointError, match=r"step-0000001.ckpt .* seed was 0 and is 1 now; .*resume=force"):
        refuse_other_settings(saved, {"recipe.optimiser.lr": "0.1", "seed": "1"}, path)
