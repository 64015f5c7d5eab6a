from dataclasses import fields
from fractions import Fraction

import pytest
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra

from evaluation.animate_cli import options_of
from evaluation.options import Options
from evaluation.sliders import RANGES, PortraitEdit

FILES = {"source", "driving", "out", "side_by_side", "save_crops", "save_template", "also", "audio", "crf"}
LISTS = {"jobs", "part", "devices"}
COMPUTE = {"weights", "detector", "openings", "engine", "precision", "compiled", "device", "batch_frames"}
IN_MEMORY = {"fps"}
"""Fields that only driving frames in memory need; files know theirs."""


@pytest.fixture
def config():
    GlobalHydra.instance().clear()
    with initialize_config_module(version_base="1.3", config_module="conf"):
        return compose("animate", ["out=x.mp4"])


def test_every_field_is_an_option_of_the_program_and_the_other_way_round(config) -> None:
    names = {field.name for field in fields(Options)}
    assert names - set(config) == IN_MEMORY
    assert set(config) - names == FILES | LISTS | COMPUTE
    assert set(config.edit) == {field.name for field in fields(PortraitEdit)} - {"eyes_open", "lips_open"}
    assert set(RANGES) == {field.name for field in fields(PortraitEdit)}


def test_the_programs_defaults_are_the_interfaces(config) -> None:
    assert options_of(config) == Options()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"stitching": "flase"}, "stitching='flase' cannot be used; give true or false"),
        ({"relative": 1}, "relative=1 cannot be used; give true or false"),
        ({"multiplier": "a lot"}, "multiplier='a lot' cannot be used; give a number"),
        ({"multiplier": True}, "multiplier=True cannot be used; give a number"),
        ({"multiplier": -1}, "multiplier=-1.0 is out of range"),
        ({"multiplier": float("nan")}, "multiplier=nan is out of range"),
        ({"region": "nose"}, "region='nose' cannot be used; give one of all, exp, pose, lip, eyes"),
        ({"driving_option": "x"}, "driving_option='x' cannot be used; give one of expression-friendly, pose-friendly"),
        ({"rules": "cat"}, "rules='cat' cannot be used; give one of human, animal, animal-stitched"),
        ({"rules": "animal", "region": "lip"}, "region=lip needs rules=human"),
        ({"reference": "frist"}, "reference='frist' is unknown; choose first, neutral, closest or a frame's number"),
        ({"reference": -1}, "reference=-1 is unknown"),
        ({"reference": 1.5}, "reference=1.5 cannot be used; give a whole number or a word"),
        ({"smoothing": "much"}, "smoothing='much' cannot be used; give one of auto, none, kalman, one-euro"),
        ({"smoothing_variance": 0.0}, "smoothing_variance=0.0 is out of range"),
        ({"head": "left"}, "head='left' is unknown; give largest, all, or a number from 0"),
        ({"head": True}, "head=True cannot be used; give a whole number or a word"),
        ({"head": "all", "pasteback": False}, "it needs pasteback=true"),
        ({"source_box": "80,50,160,130"}, r"source_box='80,50,160,130' cannot be used; give numbers in brackets"),
        ({"driving_box": [1, "x"]}, r"driving_box=\[1, 'x'\] cannot be used; give numbers in brackets"),
        ({"source_scale": 0}, "source_scale=0 is out of range; give a number above 0"),
        ({"driving_scale": float("inf")}, "driving_scale=inf is out of range"),
        ({"seconds": -1}, "seconds=-1 is out of range"),
        ({"fps": 0}, "fps=0 is out of range"),
        ({"source_eyes": 5}, "source_eyes=5 is out of range"),
        ({"source_eyes": [0.1, 0.2, 0.3]}, "source_eyes=.* is not one number for both eyes, or two"),
        ({"source_lips": -0.1}, "source_lips=-0.1 is out of range"),
        ({"eyes": [0.3]}, r"eyes=\[0.3\] cannot be used; give a number or a word or null"),
        ({"edit": PortraitEdit(eyes_open=0.4)}, "edit.eyes_open=0.4 is for the editor; here give eyes=0.4"),
        ({"edit": PortraitEdit(lips_open=0.4)}, "edit.lips_open=0.4 is for the editor; here give lips=0.4"),
        ({"edit": 3}, "edit=3 cannot be used; give a PortraitEdit"),
    ],
)
@pytest.mark.usefixtures("as_installed")
def test_a_value_that_makes_no_sense_is_refused_by_its_name(given, message) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Options(**given)
    assert "\n" not in str(caught.value)


def test_numbers_may_be_whole_or_not() -> None:
    options = Options(multiplier=2, source_box=(1, 2, 3.5, 4), source_eyes=(0.2, 1), eyes="driver", lips=0, seconds=2)
    assert options.driving().multiplier == 2.0
    for fps in (25, 29.97, Fraction(30000, 1001)):
        assert Options(fps=fps).fps == fps


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("edit.smile=abc", "edit.smile=abc cannot be used; give a number"),
        ("edit.smile=true", "edit.smile=True cannot be used; give a number"),
        ("edit.smile=9", "edit.smile=9.0 is out of range; give -0.3 to 1.3"),
        ("edit=3", "edit=3 cannot be used; give single sliders, for example edit.smile=1"),
        ("+edit.smil=1", "edit: .*smil.*see docs/animation.md"),
        ("+edit.eyes_open=0.3", "edit.eyes_open=0.3 is for the editor; here give eyes=0.3"),
    ],
)
def test_sliders_are_refused_by_their_names(given, message) -> None:
    GlobalHydra.instance().clear()
    with initialize_config_module(version_base="1.3", config_module="conf"):
        config = compose("animate", ["out=x.mp4", given])
    with pytest.raises(ValueError, match=message):
        options_of(config)
