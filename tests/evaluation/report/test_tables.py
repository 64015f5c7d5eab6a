import pytest

from evaluation.metrics.catalog import BY_NAME
from evaluation.report.tables import difference_cell, number
from evaluation.statistics import Comparison, compare


def compared(metric: str, *values: float) -> Comparison:
    """Second minus first is these values, on sources of their own."""
    zero = {f"{i}": 0.0 for i in range(len(values))}
    return compare(metric, zero, {f"{i}": value for i, value in enumerate(values)}, {name: name for name in zero})


@pytest.mark.parametrize(
    ("value", "shown"), [(-0.00001, "0.0000"), (0.0, "0.0000"), (-0.00006, "-0.0001"), (0.12345, "0.1235")]
)
def test_nought_has_no_sign(value: float, shown: str) -> None:
    assert number(BY_NAME["l1"], value) == shown


@pytest.mark.parametrize(
    ("values", "mean"),
    [
        ((0.01, 0.03), "+0.0200"),  # the metric's own four digits tell it
        ((0.0001, 0.0003), "+0.00020"),  # two digits that are not 0
        ((-1e-7, -3e-7), "-0.0000002"),  # three more than usual at most
        ((1e-9, 3e-9), "0.0000000"),
        ((0.0, 0.0), "0.0000"),
    ],
)
def test_a_small_difference_gets_the_digits_that_show_its_sign(values: tuple[float, ...], mean: str) -> None:
    cell = difference_cell(BY_NAME["l1"], compared("l1", *values))
    assert cell.text == mean
    assert "-0.0000 " not in cell.note
    assert "+0.0000 " not in cell.note


def test_what_one_source_says_has_no_p() -> None:
    assert "p unknown" in difference_cell(BY_NAME["l1"], compared("l1", 0.1)).note
    assert difference_cell(BY_NAME["l1"], None).text == "–"
