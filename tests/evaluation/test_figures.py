import xml.etree.ElementTree as ElementTree

import pytest

from evaluation.figures import Bar, Place, curves, grouped_bars, legend_svg, radar, side_by_side

SVG = "{http://www.w3.org/2000/svg}"


def test_bars_are_well_formed_and_a_failure_does_not_flatten_the_rest() -> None:
    bars = {"a < b": {"x": Bar(100.0), "y": Bar(5000.0)}}
    figure = ElementTree.fromstring(grouped_bars(bars, ["x", "y"], unit="%", mark=100.0))
    widths = [float(bar.get("width") or 0) for bar in figure.iter(f"{SVG}rect")]
    assert widths[0] > 0.3 * widths[1]
    assert "» 5000%" in "".join(figure.itertext())


def test_a_bar_shows_its_interval_and_a_negative_value_only_its_number() -> None:
    figure = ElementTree.fromstring(
        grouped_bars({"r": {"x": Bar(0.5, 0.4, 0.7), "y": Bar(-0.2)}}, ["x", "y"], digits=1)
    )
    lines = list(figure.iter(f"{SVG}line"))
    assert len(lines) == 1
    assert float(lines[0].get("x1") or 0) < float(lines[0].get("x2") or 0)
    assert [bar.get("width") for bar in figure.iter(f"{SVG}rect")][1] == "0.0"
    assert "-0.2" in "".join(figure.itertext())


def test_a_radar_has_one_shape_per_method_and_three_rings() -> None:
    figure = ElementTree.fromstring(radar(["a", "b", "c"], {"m": [0.0, 0.5, 1.0], "n": [-9.0, 0.0, 2.0]}))
    assert len(list(figure.iter(f"{SVG}polygon"))) == 5


def test_a_radar_without_scores_below_0_uses_its_whole_radius() -> None:
    scores = {"m": [0.0, 0.5, 1.0], "n": [0.2, 0.5, 0.9]}
    figure = ElementTree.fromstring(radar(["a", "b", "c"], scores, lowest=0.0))
    assert len(list(figure.iter(f"{SVG}polygon"))) == 4
    dots = list(figure.iter(f"{SVG}circle"))
    assert (dots[0].get("cx"), dots[0].get("cy")) == ("250.0", "180.0")


def test_long_titles_of_axes_lie_inside_the_drawing() -> None:
    title = "flicker beyond the driver"
    figure = ElementTree.fromstring(radar(["a", "b", title, "c", "d", title], {"m": [0.5] * 6}))
    width = float(figure.get("width") or 0)
    for text in (text for text in figure.iter(f"{SVG}text") if text.text == title):
        x, long = float(text.get("x") or 0), 6.5 * len(title)
        assert (x - long if text.get("text-anchor") == "end" else x) >= 0
        assert (x if text.get("text-anchor") == "end" else x + long) <= width


def test_dots_of_equal_methods_do_not_hide_each_other() -> None:
    figure = ElementTree.fromstring(radar(["a", "b", "c"], {name: [0.5, 0.5, 0.5] for name in "mnk"}))
    dots = [(dot.get("cx"), dot.get("cy")) for dot in figure.iter(f"{SVG}circle")]
    assert len(set(dots)) == 9
    assert side_by_side([0, 100, 4, 8.0], 6) == [-6, 0, 0, 6]
    assert side_by_side([50], 6) == [0]


def test_a_score_that_nobody_measured_leaves_a_gap() -> None:
    figure = ElementTree.fromstring(radar(["a", "b", "c"], {"m": [0.0, None, 1.0]}))
    (line,) = figure.iter(f"{SVG}polyline")
    assert len((line.get("points") or "").split()) == 2


def test_what_obeys_exactly_lies_on_the_diagonal() -> None:
    places = [Place(x, x, x, x) for x in (0.0, 0.25, 0.5)]
    figure = ElementTree.fromstring(curves({"m": places}, ["m"], x_title="asked", y_title="got"))
    (line,) = figure.iter(f"{SVG}polyline")
    (x0, y0), (x1, y1), (x2, y2) = ([float(v) for v in p.split(",")] for p in (line.get("points") or "").split())
    assert (x1 - x0) / (x2 - x0) == pytest.approx((y1 - y0) / (y2 - y0))
    diagonal = next(figure.iter(f"{SVG}line"))
    assert float(diagonal.get("x1") or 0) == pytest.approx(x0, abs=0.1)
    assert float(diagonal.get("y2") or 0) == pytest.approx(y2, abs=0.1)


def test_a_legend_names_every_method() -> None:
    assert "".join(ElementTree.fromstring(legend_svg(["a & b", "c"])).itertext()) == "a & bc"
