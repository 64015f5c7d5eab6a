from pathlib import Path

import numpy as np
import pytest

from finetune.loggers import Film
from finetune.loggers.wandb_run import WandbRun


def test_it_is_offline_unless_there_is_a_key_or_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    assert WandbRun(str(tmp_path)).mode == "offline"
    monkeypatch.setenv("WANDB_API_KEY", "x")
    assert WandbRun(str(tmp_path)).mode == "online"
    assert WandbRun(str(tmp_path), mode="offline").mode == "offline"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert WandbRun(str(tmp_path)).mode == "disabled"
    with pytest.raises(ValueError, match="of sorts"):
        WandbRun(str(tmp_path), mode="of sorts")
    # Nothing has begun, so there is nothing to end, and no file.
    WandbRun(str(tmp_path)).finalize("success")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_offline_run_holds_everything_and_goes_on_under_its_id(tmp_path: Path) -> None:
    film_path = tmp_path / "a.mp4"
    film_path.write_bytes(b"not looked into")
    for _ in range(2):
        run = WandbRun(str(tmp_path), mode="offline")
        run.scalars({"total": 1.0, "cat/l1": 0.5}, 3)
        run.pictures({"samples/grid": np.zeros((8, 8, 3), np.uint8)}, 3)
        run.videos({"samples/video": Film(film_path, np.zeros((1, 8, 8, 3), np.uint8), 25.0)}, 3)
        run.texts({"config.yaml": "a: 1\n"})
        run.finalize("success")
    folders = sorted((tmp_path / "wandb").glob("offline-run-*"))
    own = (tmp_path / "wandb_run_id.txt").read_text()
    assert len(folders) >= 1
    assert all(own in folder.name for folder in folders)  # two within one second get a number behind the id
    assert list(folders[0].rglob("grid*.png"))
    assert list(folders[0].rglob("video*.mp4"))
