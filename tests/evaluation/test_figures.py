import xml.etree.ElementTree as ElementTree

from evaluation.figures import grouped_bars, radar


def test_bars_are_well_formed_and_a_failure_does_not_flatten_the_rest() -> None:
    figure = ElementTree.fromstring(grouped_bars({"a < b": {"x": 100.0, "y": 5000.0}}, ["x", "y"], mark=100.0))
    widths = [float(bar.get("width") or 0) for bar in figure.iter("rect")]
    assert widths[0] > 0.3 * widths[1]
    assert "» 5000%" in "".join(figure.itertext())


def test_a_radar_has_one_shape_per_method_and_three_rings() -> None:
    figure = ElementTree.fromstring(radar(["a", "b", "c"], {"m": [0.0, 0.5, 1.0], "n": [-9.0, 0.0, 2.0]}))
    assert len(list(figure.iter("polygon"))) == 5
