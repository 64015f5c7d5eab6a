import numpy as np
import pytest

from evaluation.side_by_side import branched, row_of, row_picture


def test_panels_become_squares_of_one_size_and_an_even_width() -> None:
    row = row_of([np.zeros((s, s, 3), np.uint8) for s in (32, 64, 100)], 65)
    assert row.shape[0] == 65
    assert row.shape[1] % 2 == 0
    assert row.shape[1] >= 3 * 65


def test_a_row_of_a_step_leaves_out_what_the_step_has_not() -> None:
    picture = row_picture((lambda step: step["driving"], lambda _: np.zeros((8, 8, 3), np.uint8)), 32)
    with_driver = picture({"driving": np.full((16, 16, 3), 90, np.uint8)})
    assert with_driver.shape == (32, 2 * 32 + 4, 3)
    assert (with_driver[:, :32] == 90).all()
    assert picture({"driving": None}).shape == (32, 32, 3)


def frames(count: int):
    for i in range(count):
        yield np.full(1, i), np.full(1, -i)


def test_both_streams_come_whole_and_in_order() -> None:
    second = []
    first = [int(f[0]) for f in branched(frames(40), lambda stream: second.extend(int(f[0]) for f in stream))]
    assert first == list(range(40))
    assert second == [-i for i in range(40)]


def test_a_failing_second_writer_is_heard_at_the_end() -> None:
    def fail(stream) -> None:
        next(stream)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        list(branched(frames(40), fail))


def test_when_the_first_stops_the_second_is_ended_with_an_error() -> None:
    ended = []

    def write(stream) -> None:
        try:
            for _ in stream:
                pass
        except BaseException as error:
            ended.append(type(error))
            raise

    stream = branched(frames(40), write)
    next(stream)
    stream.close()
    assert ended == [GeneratorExit]
