import numpy as np
import pytest
import torch

from evaluation.driving import DrivingOptions
from evaluation.engine import Engine, chunks
from lp_models.weights import load_pretrained


@pytest.fixture
def engine(lively_weights):
    """Maker of an engine with the lively weights."""

    def make(**options) -> Engine:
        return Engine(load_pretrained(lively_weights), **{"precision": "float32", **options})

    return make


def animated(engine: Engine, frames: np.ndarray) -> np.ndarray:
    return np.stack(list(engine.animate(frames[0], frames, DrivingOptions(), stitching=True))).astype(int)


def test_fast_and_plain_networks_give_the_same_frames_in_any_batch(engine, moves) -> None:
    frames = moves(7)
    expected = animated(engine(kind="plain", precision=None, batch_frames=1), frames)
    assert expected.shape == (7, 128, 128, 3)
    assert np.abs(expected - expected[0]).max() > 10  # it moves
    for batch_frames in (1, 3, 4):
        assert np.abs(animated(engine(batch_frames=batch_frames), frames) - expected).max() <= 1
    assert np.abs(animated(engine(kind="plain", batch_frames=4), frames) - expected).max() <= 1


@pytest.mark.parametrize("kind", ["fast", "plain"])
def test_several_crops_are_prepared_as_each_alone(engine, moves, kind) -> None:
    one = engine(kind=kind, batch_frames=2)
    frames = moves(5)
    together = one.prepare(frames)
    x_d = together.x_s.roll(1, 0)
    pictures = np.stack(list(one.render(together, x_d))).astype(int)
    for i, frame in enumerate(frames):
        alone = one.prepare(frame)
        assert torch.allclose(alone.x_s, together.x_s[i : i + 1], atol=1e-5)
        assert np.abs(next(one.render(alone, x_d[i : i + 1])).astype(int) - pictures[i]).max() <= 1


def test_faces_are_read_as_motion_and_shape(engine, moves) -> None:
    one = engine()
    motion, canonical = one.read_face(moves(3))
    for read, again in zip(motion, one.read_motion(moves(3)), strict=True):
        assert torch.equal(read, again)
    assert torch.allclose(canonical, one.prepare(moves(3)).canonical, atol=1e-6)


def test_frames_are_made_one_batch_at_a_time(engine, moves) -> None:
    """An hour-long driver must not be decoded further than what has been asked for."""
    read = []

    def endless():
        while True:
            read.append(1)
            yield frames[len(read) % 4]

    frames = moves(4)
    result = engine(batch_frames=3).animate(frames[0], endless(), DrivingOptions())
    for _ in range(7):
        next(result)
    assert len(read) == 9
    result.close()


def test_a_batch_is_chosen_where_none_is_given(engine) -> None:
    assert engine().batch_frames == 4  # small networks gain by batches
    assert engine(batch_frames=2).batch_frames == 2


def test_what_cannot_be_is_refused(engine) -> None:
    with pytest.raises(ValueError, match="the crops are 40x40 px; these weights read 64x64"):
        engine().prepare(np.zeros((40, 40, 3), np.uint8))
    with pytest.raises(ValueError, match="batch_frames=-1 is out of range"):
        engine(batch_frames=-1)


@pytest.mark.usefixtures("as_installed")
def test_an_unknown_kind_is_refused(engine) -> None:
    with pytest.raises(ValueError, match="engine='quick' is unknown; choose one of fast, plain"):
        engine(kind="quick")
    with pytest.raises(ValueError, match="precision='half' is unknown"):
        engine(precision="half")


def test_chunks_read_no_further_than_the_list_they_give() -> None:
    read = []
    pieces = chunks((read.append(i) or np.zeros(1) for i in range(8)), 3)
    assert (len(next(pieces)), len(read)) == (3, 3)
    assert [len(piece) for piece in pieces] == [3, 2]
    assert list(chunks([], 3)) == []
