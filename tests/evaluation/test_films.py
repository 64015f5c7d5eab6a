"""The command that shows weights side by side: its panels, sweeps, and how it tells mistakes."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_pipeline.photo import encode_jpeg
from evaluation import films
from evaluation.films import FilmPlan, Row, _gauge, _wanted, read_list
from tests.evaluation.stand_ins import Run, called

LIST = """
columns:
  - {name: one, weights: before, options: {stitching: false}}
  - {name: two, weights: after}
rows:
  - {source: here/red.jpg, driver: here/swing.mp4, start_s: 0.16}
  - {source: here/red.jpg, eyes: 0.6, options: {source_eyes: 0.4}}
"""
TILE, GAP, HEAD = 32, 4, 18


@pytest.fixture
def make(tmp_path, monkeypatch, capsys, picture, ball_video, lively_weights, tiny_weights, find_head):
    """Run the command on a photo and a short driver that were made on the spot; later options win."""
    (tmp_path / "red.jpg").write_bytes(encode_jpeg(picture(120, 90)))
    ball_video("swing.mp4", [(130 + 10 * np.sin(i / 3), 100) for i in range(14)], Fraction(25))
    (tmp_path / "list.yaml").write_text(LIST)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(films, "load_detector", lambda name: find_head)
    usual = {
        "scenes": "list.yaml", "out": "film.webp", "roots": "{here: .}", "frames": 8, "tile_px": TILE,
        "weights": f"{{before: {tiny_weights}, after: {lively_weights}}}",
    }  # fmt: skip

    def run(**options: object) -> Run:
        words = [f"{name}={value}" for name, value in (usual | options).items()]
        return called(films.main, ["films", *words], monkeypatch, capsys)

    return run


def frames_of(path) -> np.ndarray:
    film = Image.open(path)
    found = []
    for i in range(film.n_frames):
        film.seek(i)
        found.append(np.asarray(film.convert("RGB")))
    return np.stack(found).astype(float)


def test_a_film_shows_driver_source_and_every_column(make, tmp_path) -> None:
    done = make()
    assert done.code == 0, done.err
    film = frames_of(tmp_path / "film.webp")
    assert film.shape[1:] == (HEAD + 2 * (TILE + GAP), 4 * TILE + 3 * GAP, 3)
    top, below = HEAD + GAP, HEAD + TILE + 2 * GAP

    def panel(row: int, column: int) -> np.ndarray:
        left = column * (TILE + GAP)
        return film[:, row : row + TILE, left : left + TILE]

    change = {c: np.abs(panel(top, c) - panel(top, c)[:1]).mean() for c in range(4)}
    assert change[1] < 3.0  # the source stands still
    assert change[0] > 2 * change[1]  # the driver moves
    assert np.abs(panel(top, 2) - panel(top, 3)).mean() > 1.0  # other weights paint another picture
    assert np.abs(panel(below, 0) - panel(below, 0)[:1]).mean() > 1.0  # the gauge rises


def test_a_sweep_opens_in_the_middle_and_shuts_again() -> None:
    row = Row(source="a/b.jpg", lips=0.8)
    wanted = [_wanted(row, i, 9) for i in range(9)]
    assert wanted[0] == pytest.approx(0)
    assert wanted[4] == pytest.approx(0.8)
    assert wanted[8] == pytest.approx(0)
    filled = [(_gauge(row, i, 9) != 235).any(axis=2).sum() for i in range(9)]
    assert filled.index(max(filled)) == 4


def test_the_lists_that_ship_can_be_read(monkeypatch) -> None:
    monkeypatch.setattr(films, "_found", lambda name, roots, path: path)
    lists = sorted((Path(__file__).parents[2] / "docs" / "films").glob("*.yaml"))
    assert len(lists) == 2
    for path in lists:
        plan = FilmPlan(scenes=str(path), out="a.webp", weights={"before": "starter", "after": "starter"})
        columns, rows = read_list(path, plan)
        assert columns
        assert rows


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"weights": "{before: tiny}"}, "names the weights after"),
        ({"roots": "{there: .}"}, "has a path below here/"),
        ({"roots": "{here: nowhere}"}, "is missing; give the folder that holds it as here"),
        ({"scenes": "none.yaml"}, "cannot be used as a list of columns and rows"),
        ({"out": "film.gif"}, "must end in .webp"),
        ({"frames": 1}, "frames=2 or more"),
    ],
)
def test_mistakes_are_told(make, options: dict, words: str) -> None:
    done = make(**options)
    assert done.code == 1
    assert words in done.err


def test_a_row_needs_one_thing_that_moves_it(make, tmp_path) -> None:
    (tmp_path / "list.yaml").write_text(LIST.replace("eyes: 0.6", "eyes: 0.6, lips: 0.2"))
    assert "give one of driver, eyes and lips" in make().err
    (tmp_path / "list.yaml").write_text(LIST.replace("eyes: 0.6", "eyes: 1.6"))
    assert "openings lie between 0 and 0.8" in make().err
    (tmp_path / "list.yaml").write_text(LIST.replace("eyes: 0.6", "lips: -0.5"))
    assert "openings lie between 0 and 0.8" in make().err
    (tmp_path / "list.yaml").write_text(LIST.replace("stitching", "stiching"))
    assert "cannot be used as a list" in make().err
    (tmp_path / "list.yaml").write_text("columns: []\nrows: []")
    assert "needs one column and one row" in make().err
    (tmp_path / "list.yaml").write_text(LIST.replace("0.16", "9"))
    assert "ends before 9 s" in make().err
