import pytest

from data_pipeline import progress
from data_pipeline.progress import track


def test_items_pass_unchanged_and_lazily() -> None:
    pulled = []

    def source():
        for i in range(5):
            pulled.append(i)
            yield i

    stream = track(source(), total=5)
    assert next(iter(stream)) == 0
    assert pulled == [0]
    assert list(track(range(4))) == [0, 1, 2, 3]


def test_slow_work_is_reported_with_rate_and_time_left(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    clock = iter(6.0 * i for i in range(200))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    assert list(track(range(6), what="baking", unit="cakes")) == list(range(6))
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("baking: 2/6 cakes, 0.2/s, 0:24 left")
    assert said[-1].startswith("baking: 6 cakes in ")


def test_quick_work_says_nothing(capsys) -> None:
    list(track(range(3)))
    assert capsys.readouterr().err == ""


def test_a_second_measure_is_shown_per_second(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    clock = iter(6.0 * i for i in range(200))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    list(track(range(1, 5), what="curating", unit="files", weigh=lambda item: 30.0 * item, weight_unit="media s"))
    said = capsys.readouterr().err.splitlines()
    assert "curating: 2/4 files, 0.2/s, 7.5 media s/s, 0:12 left" in said
