import numpy as np

from evaluation.side_by_side import row_of, row_picture


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
