"""Stages from calls: every moment counts once, generators leave at each yield, threads count too."""

import threading
import time

import numpy as np
import pytest

from data_pipeline import crop, photo, shots
from evaluation.stage_times import OTHER, StageTimes, stage_of


def test_functions_belong_to_the_stage_of_their_file() -> None:
    assert stage_of(_code(crop.warp_crop)) == "track and crop"
    assert stage_of(_code(frames)) is None
    assert stage_of(_code(photo.encode_jpeg)) == "encode"
    assert stage_of(_code(photo.read_photo)) == "decode"


def _code(function):
    return getattr(function, "__wrapped__", function).__code__


def test_time_goes_to_the_innermost_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluation.stage_times._ROOT", __file__.rsplit("/", 1)[0] + "/")
    monkeypatch.setattr("evaluation.stage_times.STAGES", {})
    monkeypatch.setattr("evaluation.stage_times.FUNCTIONS", {
        ("test_stage_times.py", "frames"): "decode", ("test_stage_times.py", "shown"): "shots",
    })  # fmt: skip
    with StageTimes() as times:
        shown()
        time.sleep(0.03)
        thread = threading.Thread(target=frames_of_a_thread)
        thread.start()
        thread.join()
    assert times.seconds["decode"] == pytest.approx(0.02 * 2 + 0.02 * 2, abs=0.03)
    assert times.seconds["shots"] == pytest.approx(0.05 * 2, abs=0.03)
    assert times.seconds[OTHER] > 0.03


def frames():
    for _ in range(2):
        time.sleep(0.02)
        yield


def shown() -> None:
    for _ in frames():
        time.sleep(0.05)


def frames_of_a_thread() -> None:
    list(frames())


def test_a_real_function_is_seen() -> None:
    with StageTimes() as times:
        for _ in range(50):
            shots.thumbnail(np.zeros((256, 256, 3), np.uint8))
    assert 0 < times.seconds["shots"] < 5
