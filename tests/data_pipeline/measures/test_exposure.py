import numpy as np
import pytest

from data_pipeline.measures.exposure import clipping


def test_clipped_shares_are_counted_inside_only() -> None:
    grey = np.full((100, 100), 128, np.uint8)
    grey[:10] = 2
    grey[10:40] = 254
    inside = np.ones((100, 100), bool)
    assert clipping(grey, inside) == pytest.approx((0.1, 0.3))
    inside[:10] = False
    assert clipping(grey, inside) == pytest.approx((0.0, 1 / 3))
    assert clipping(grey, np.zeros((100, 100), bool)) == (0, 0)
