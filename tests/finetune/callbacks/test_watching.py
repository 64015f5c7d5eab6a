"""A real run with everything that watches it: what lies in `out`, and what loggers are told."""

import csv
from pathlib import Path
from typing import Any

import lightning
import pytest
from PIL import Image

from data_pipeline.video import read_frames
from finetune.augment import Augment
from finetune.base_module import BaseModule
from finetune.callbacks.facts import CONFIG, MANIFEST
from finetune.datamodule import PairData
from finetune.loggers.run_logger import RunLogger
from finetune.mixture import Mixture
from finetune.run import fit
from finetune.watching import watchers
from tests.finetune.rows import module

CPU = {"accelerator": "cpu", "devices": 1}


class Notes(RunLogger):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers: dict[str, list[int]] = {}
        self.media: dict[str, list[int]] = {}
        self.said: dict[str, str] = {}
        self.ended = ""

    @property
    def name(self) -> str:
        return "notes"

    def scalars(self, values: Any, step: int) -> None:
        for name in values:
            self.numbers.setdefault(name, []).append(step)

    def pictures(self, pictures: Any, step: int) -> None:
        for name in pictures:
            self.media.setdefault(name, []).append(step)

    def videos(self, films: Any, step: int) -> None:
        self.pictures(films, step)

    def texts(self, texts: Any) -> None:
        self.said.update(texts)

    def finalize(self, status: str) -> None:
        self.ended = status


class Slow(lightning.Callback):
    """Takes its time after each step, as drawing and saving do."""

    def on_train_batch_end(self, *_: object) -> None:
        import time

        time.sleep(0.2)


def data(shards: Path) -> PairData:
    return PairData(
        shards=shards, batch_size=2, side_px=64, target_scale=2, mixture=Mixture(cross_frac=0.7),
        augment=Augment(colour=0.0),
    )  # fmt: skip


def run(
    shards: Path, out: Path, steps: int, first: int = 0, grid_every: int = 2, **options: Any
) -> tuple[BaseModule, Notes]:
    trained, pairs, notes = module({"reconstruction": 1.0, "perceptual": 1.0, "guide": 1.0}), data(shards), Notes()
    trained.step, trained.max_steps = first, steps
    pairs.first_step, pairs.last_step = first, steps
    out.mkdir(exist_ok=True)
    (out / CONFIG).write_text("exactly: this\n")
    callbacks = watchers(
        trained, pairs, out, log_every=1, grid_every=grid_every, grid_rows=4, species_rows=8, **options
    )  # fmt: skip
    fit(trained, pairs, [*callbacks, Slow()], CPU, [notes])
    return trained, notes


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_everything_lies_in_the_folder_and_goes_to_the_logger(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, notes = run(shards, tmp_path, 3, peak_tflops=1e-3)
    rows = rows_of(tmp_path / "metrics.csv")
    assert [row["step"] for row in rows] == ["1", "2", "3"]
    for row in rows:
        assert float(row["samples_per_s"]) > 0
        assert float(row["peak_memory_mib"]) > 50
        assert float(row["mfu_frac"]) > 0
    # Steps took 0.2 s more each, in a callback: that is no waiting for the loader.
    assert float(rows[-1]["loader_wait_frac"]) < 0.5
    assert "step 3/3: reconstruction" in capsys.readouterr().out
    names = {path.name for path in (tmp_path / "samples").iterdir()}
    kinds = (".png", "-keypoints.png", "-warp.png", ".mp4")
    assert names == {f"step-{step:07d}{kind}" for step in (2, 3) for kind in kinds}
    with Image.open(tmp_path / "samples" / "step-0000002-warp.png") as warps:
        assert warps.size == (2 * 3 * 256, 2 * 256)
    film = list(read_frames(tmp_path / "samples" / "step-0000003.mp4"))
    assert film[0].shape == (256, 4 * 256, 3)
    assert len(film) == 4
    species = rows_of(tmp_path / "species.csv")
    assert [row["step"] for row in species] == ["2", "3"]
    for name in ("cat/l1", "human/l1", "cat/perceptual", "human/guide"):
        assert float(species[0][name]) > 0
        assert notes.numbers[name] == [2, 3]
    assert notes.numbers["total"] == [1, 2, 3]
    kinds = ("samples/grid", "samples/keypoints", "samples/warp", "samples/video")
    assert notes.media == {kind: [2, 3] for kind in kinds}
    manifest = (shards / "manifest.json").read_text()
    assert notes.said == {CONFIG: "exactly: this\n", MANIFEST: manifest}
    assert (tmp_path / MANIFEST).read_text() == manifest
    assert notes.ended == "success"
    assert not list(tmp_path.rglob("*.part"))


def test_a_run_that_goes_on_has_each_step_once_and_without_pictures_none(shards: Path, tmp_path: Path) -> None:
    run(shards, tmp_path, 3, grid_every=0)
    assert not (tmp_path / "samples").exists()
    run(shards, tmp_path, 4, first=2, grid_every=0)
    rows = rows_of(tmp_path / "metrics.csv")
    assert [row["step"] for row in rows] == ["1", "2", "3", "4"]
    assert "mfu_frac" not in rows[0]


def test_terms_that_come_and_go_are_means_over_the_steps_that_have_them(shards: Path, tmp_path: Path) -> None:
    import torch

    from finetune.callbacks import Numbers

    trained = module({"reconstruction": 1.0})
    numbers = Numbers(module=trained, path=tmp_path / "metrics.csv", every=2)
    trainer = lightning.Trainer(logger=False, enable_checkpointing=False, enable_progress_bar=False, **CPU)
    trained.max_steps = 10
    numbers.on_train_start(trainer, trained)
    for step, terms in ((1, {"a": 1.0}), (2, {"a": 3.0, "late": 5.0})):
        trained.step, trained.last_terms = step, {name: torch.tensor(value) for name, value in terms.items()}
        numbers.on_train_batch_end(trainer, trained, None, None, 0)
    (row,) = rows_of(tmp_path / "metrics.csv")
    assert (float(row["a"]), float(row["late"])) == (2.0, 5.0)
