"""The command that makes a gallery: its files, that it goes on, and how it tells mistakes."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_pipeline.photo import encode_jpeg
from evaluation import gallery
from evaluation.gallery import GalleryPlan
from tests.evaluation.stand_ins import Run, called

LIST = """
animals:
  - {name: red, file: red.jpg, species: cat, origin: here, licence: CC0}
  - {name: gold, file: gold.jpg, species: cat, origin: here, licence: CC0}
drivers:
  - {name: swing, file: swing.mp4, start_s: 0.08, origin: here, licence: CC0}
"""


@pytest.fixture
def make(tmp_path, monkeypatch, capsys, picture, ball_video, lively_weights, tiny_weights, find_head):
    """Run the command on two photos and a driver that were made on the spot; later options win."""
    red = picture(120, 90)
    gold = red.copy()
    gold[..., 1] = np.maximum(gold[..., 1], 200)
    (tmp_path / "red.jpg").write_bytes(encode_jpeg(red))
    (tmp_path / "gold.jpg").write_bytes(encode_jpeg(gold))
    ball_video("swing.mp4", [(130 + 10 * np.sin(i / 3), 100) for i in range(22)], Fraction(25))
    (tmp_path / "list.yaml").write_text(LIST)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gallery, "load_detector", lambda name: find_head)
    usual = {
        "weights": lively_weights, "before": tiny_weights, "media": ".", "cast": "list.yaml", "out": "pics",
        "page": "gallery.md", "work": "work", "frames": 8, "tile_px": 32, "sheet_px": 24,
    }  # fmt: skip

    def call(**options: object) -> Run:
        words = [f"{name}={value}" for name, value in (usual | options).items() if value is not None]
        return called(gallery.main, ["gallery", *words], monkeypatch, capsys)

    return call


@pytest.fixture
def made_animals(monkeypatch) -> list[str]:
    """Names of the animals that are animated, not taken from an earlier run."""
    names: list[str] = []
    real = gallery.GalleryRun._make

    def counted(run, animal, film):
        names.append(animal.name)
        return real(run, animal, film)

    monkeypatch.setattr(gallery.GalleryRun, "_make", counted)
    return names


def test_a_gallery_is_made_and_goes_on(make, made_animals, tmp_path) -> None:
    done = make()
    assert done.code == 0, done.err
    assert "made gallery.md, 2 films and 2 sheets in pics" in done.out
    with Image.open("pics/red.webp") as film:
        assert film.n_frames == 8
        assert film.width == 5 * 32 + 4 * 4
    assert {path.name for path in Path("pics").iterdir()} == {
        "red.webp", "gold.webp", "sheet_cat.jpg", "sheet_worst.jpg",
    }  # fmt: skip
    first = Path("gallery.md").read_text()
    assert "`python -m evaluation.gallery weights=" in first
    assert "| red | swing | " in first
    assert "2 animals × 1 human drivers" in first

    assert made_animals == ["red", "gold"]
    assert make().code == 0
    assert made_animals == ["red", "gold"]  # all was there
    assert Path("gallery.md").read_text() == first

    Path("pics/gold.webp").write_bytes(b"damaged")
    assert make().code == 0
    assert made_animals == ["red", "gold", "gold"]
    with Image.open("pics/gold.webp") as film:
        assert film.n_frames == 8


def test_other_options_make_other_animals(make, made_animals) -> None:
    assert make(only="[red]").code == 0
    assert made_animals == ["red"]
    assert "gold" not in Path("gallery.md").read_text().split("## Cats")[1]
    assert make(only="[red]", multiplier=1.5, stitching="true").code == 0
    assert made_animals == ["red", "red"]
    assert "with stitching" in Path("gallery.md").read_text()


def test_all_files_keep_within_their_bytes(make) -> None:
    assert make(max_mb=0.06).code == 0
    assert sum(path.stat().st_size for path in Path("pics").iterdir()) <= 60_000


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"weights": None}, "evaluation.gallery needs weights="),
        ({"weights": "nowhere"}, "nowhere is not a directory"),
        ({"media": "nowhere"}, "media=nowhere does not hold red.jpg (red)"),
        ({"cast": "nowhere.yaml"}, "nowhere.yaml cannot be read as a gallery's list"),
        ({"only": "[blue]"}, "only=blue is no animal of the gallery; choose among red, gold"),
        ({"frames": 30}, "ends before 2.5 s"),
        ({"frames": 4}, "frames=4 is too small; give 8 or more"),
        ({"max_mb": 0}, "max_mb=0.0 is out of range"),
        ({"max_mb": 0.001}, "give a larger max_mb"),
        ({"rules": "cow"}, "rules='cow'"),
        ({"colour": 1}, "has no option 'colour=1'"),
        ({"out": "list.yaml/pics"}, "a part of its path is a file"),
    ],
)
def test_a_mistake_is_one_sentence(make, as_installed, options, said) -> None:
    done = make(**options)
    assert done.code == 1
    assert said in done.err
    assert "Traceback" not in done.err
    assert not Path("gallery.md").exists()


def test_a_photo_without_a_head_is_named(make, tmp_path) -> None:
    (tmp_path / "gold.jpg").write_bytes(encode_jpeg(np.zeros((64, 64, 3), np.uint8)))
    done = make()
    assert done.code == 1
    assert "gold.jpg: no head found" in done.err
    assert Path("pics/red.webp").exists()  # what was finished stays


def test_an_animal_must_be_a_photo(make, tmp_path) -> None:
    (tmp_path / "gold.jpg").write_bytes((tmp_path / "swing.mp4").read_bytes())
    done = make()
    assert done.code == 1
    assert "gold.jpg is a video; the animals of a gallery are photos" in done.err


def test_the_defaults_are_those_of_the_repository() -> None:
    plan = GalleryPlan(weights="starter", before="starter")
    assert (plan.frames, plan.tile_px, plan.max_mb) == (30, 128, 8.0)
    assert plan.driving().pasteback is False
