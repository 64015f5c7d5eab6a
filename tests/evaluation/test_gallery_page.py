"""The page of a gallery: goals, worst cases first, every pair, links that lead to the pictures."""

import re
from pathlib import Path

import pytest

from evaluation.gallery_cast import Animal, Cast, Person
from evaluation.gallery_page import Gallery, cell, page, shown, table
from evaluation.gallery_rows import BASE, COPY, TUNED
from evaluation.gallery_scores import IDENTITY, POSE, PairScore, worst_cases

CAT = Animal(name="tom", file="tom.jpg", species="cat", origin="a|b", licence="CC0", note="hard, asleep")
DOG = Animal(name="rex", file="rex.jpg", species="dog", origin="here", licence="CC-BY-4.0")
NOD = Person(name="nod", file="nod.mp4", start_s=0.0, origin="there", licence="MIT", note="up and down")


def gallery(folder: Path, **tuned: float) -> Gallery:
    good = {IDENTITY: 1.0, POSE: 0.9}
    pairs = [
        PairScore(animal=CAT, driver="nod", values={COPY: {IDENTITY: 1.0}, BASE: {IDENTITY: 0.5}, TUNED: good}),
        PairScore(animal=DOG, driver="nod", values={COPY: {IDENTITY: 1.0}, BASE: {}, TUNED: tuned}),
    ]
    return Gallery(
        cast=Cast([CAT, DOG], [NOD]), pairs=pairs, worst=worst_cases(pairs),
        films={"tom": folder / "pics" / "tom.webp", "rex": folder / "pics" / "rex.webp"},
        sheets={name: folder / "pics" / f"sheet_{name}.jpg" for name in ("cat", "dog", "worst")},
        taken_for={"tom": "cat", "rex": "panda"}, about={"hash of the tuned weights": "abc123", "commit": "def456"},
        num_frames=30, num_bytes=7_500_000, stitching=False,
    )  # fmt: skip


def test_goals_are_told_as_reached_or_not(tmp_path) -> None:
    text = page(gallery(tmp_path, **{IDENTITY: 0.5, POSE: 0.8}), tmp_path / "gallery.md")
    assert "**Identity** 75 %: the goal is **not** reached" in text
    assert "**Head pose** 0.85: the goal is reached" in text
    assert "1 of 2 (50 %)" in text
    assert "2 of 2 (100 %)" in text
    assert "| yaw correlation, mean | – | – | – |" in text  # here only their mean was given


def test_what_was_not_measured_is_a_dash_and_no_zero(tmp_path) -> None:
    text = page(gallery(tmp_path), tmp_path / "gallery.md")
    assert "| rex | nod | – (–) |" in text
    assert "| tears and boils (highest flow-warp error) | not measured |" in text
    assert "| another animal (lowest identity kept) | no pair |" in text


def test_the_worst_cases_come_before_the_animals(tmp_path) -> None:
    text = page(gallery(tmp_path, **{IDENTITY: 0.25, POSE: -0.3}), tmp_path / "gallery.md")
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert headings == [
        "How much of it works", "Worst cases", "Cats", "Dogs", "Every pair", "Where photos and drivers come from",
    ]  # fmt: skip
    assert "| another animal (lowest identity kept) | rex / nod | 100 % | – | 25 % |" in text
    assert "rex (taken for a panda)" in text
    assert "tom (taken" not in text


def test_pictures_are_linked_from_where_the_page_lies(tmp_path) -> None:
    text = page(gallery(tmp_path), tmp_path / "gallery.md")
    links = re.findall(r"!\[.*?\]\((.+?)\)", text)
    assert links == [
        "pics/sheet_worst.jpg", "pics/tom.webp", "pics/sheet_cat.jpg", "pics/rex.webp", "pics/sheet_dog.jpg",
    ]  # fmt: skip
    assert "](../pics/tom.webp)" in page(gallery(tmp_path), tmp_path / "docs" / "gallery.md")


def test_weights_commit_and_licences_are_told(tmp_path) -> None:
    text = page(gallery(tmp_path), tmp_path / "gallery.md")
    for said in ("`abc123`", "`def456`", "CC-BY-4.0", "7.5 MB", "hard, asleep", "a/b", "without stitching"):
        assert said in text


def test_every_table_has_rows_as_long_as_its_head(tmp_path) -> None:
    lines = page(gallery(tmp_path, **{IDENTITY: 0.25}), tmp_path / "gallery.md").splitlines()
    widths = {}
    for before, line in zip(["", *lines], lines, strict=False):
        if line.startswith("|"):
            widths[line] = line.count("|")
            if before.startswith("|"):
                assert line.count("|") == before.count("|"), line
    assert len(widths) > 20


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [(IDENTITY, 0.876, "88 %"), ("detected", 93.4, "93 %"), (POSE, 0.705, "0.70"), ("warp_error", 0.00123, "0.0012")],
)
def test_numbers_have_the_digits_they_deserve(metric, value, text) -> None:
    assert shown(metric, value) == text
    assert shown(metric, float("nan")) == "–"


def test_a_table_is_not_broken_by_its_words() -> None:
    assert cell("a|b\nc") == "a/b c"
    assert table(["x", "y"], [["1", "2"]]) == "| x | y |\n| --- | --- |\n| 1 | 2 |"
