import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipeline.smoothing import local_quadratic, steadied


@settings(deadline=None, max_examples=40)
@given(a=st.floats(-3, 3), b=st.floats(-3, 3), c=st.floats(-0.1, 0.1), seed=st.integers(0, 9))
def test_a_parabola_comes_out_as_it_was_at_uneven_times(a: float, b: float, c: float, seed: int) -> None:
    at = np.cumsum(np.random.default_rng(seed).uniform(2, 6, 25))
    path = np.stack([a + b * at + c * at**2, at], axis=1)
    assert np.allclose(local_quadratic(at, path, 20.0), path, atol=1e-4 * max(1, np.abs(path).max()))


def test_scatter_shrinks_and_the_mean_stays() -> None:
    at = np.arange(0, 200, 4.0)
    noisy = 100 + np.random.default_rng(0).normal(0, 0.4, (50, 4))
    calm = steadied(at, noisy, 20.0, side=100.0)
    assert calm.std() < 0.7 * noisy.std()
    assert abs(calm.mean() - noisy.mean()) < 0.05


def test_nothing_lags() -> None:
    at = np.arange(0, 200, 4.0)
    turn = np.stack([5 * np.sin(at / 25), 5 * np.cos(at / 25)], axis=1)
    backwards = steadied(at, turn[::-1].copy(), 20.0, side=100.0)[::-1]
    assert np.allclose(steadied(at, turn, 20.0, side=100.0), backwards, atol=1e-6)


def test_what_moves_stays_as_it_was_seen() -> None:
    at = np.arange(0, 200, 4.0)
    nod = np.stack([np.zeros(50), 6 * np.sin(at / 2.5)], axis=1)
    assert np.allclose(steadied(at, nod, 20.0, side=100.0), nod, atol=1e-6)


def test_few_sightings_and_no_window_change_nothing() -> None:
    at, values = np.arange(3.0), np.array([[1.0], [5.0], [2.0]])
    assert (steadied(at, values, 9.0, 100.0) == values).all()
    assert (steadied(np.arange(9.0), np.ones((9, 1)), 0.0, 100.0) == 1).all()
