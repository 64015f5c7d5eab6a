import pytest

from evaluation.results import Evaluation
from evaluation.rows import PairRow


def made(**more) -> Evaluation:
    rows = [
        PairRow(
            pair_id=f"p{i}", protocol="self", species="cat" if i % 2 else "dog", driver_species="human", method=method,
            num_frames=10, seconds=1.0, metrics={"l1": 0.1 + 0.01 * i + step, "motion_gain": gain},
            source_identity=f"{'cat' if i % 2 else 'dog'}-{i}", tags={"level": "plain" if i < 6 else "occlusion"},
        )
        for i in range(12)
        for method, step, gain in (("copy source", 0.2, 0.0), ("over", 0.1, 2.0), ("good", 0.0, 0.9))
    ]  # fmt: skip
    usual = {
        "protocol": "self",
        "rows": rows,
        "methods": {"copy source": {}, "over": {}, "good": {}},
        "not_measured": {},
    }
    return Evaluation(**usual | more)


def test_means_are_of_pairs_and_can_be_asked_for_a_part() -> None:
    result = made()
    assert result.num_pairs == 12
    assert result.num_frames == 120
    assert result.mean("good", "l1").mean == pytest.approx(0.155)
    assert result.mean("good", "l1", "dog").num_pairs == 6
    assert result.mean("good", "l1", tags={"level": "occlusion"}).mean == pytest.approx(0.185)
    assert result.mean("good", "lpips") is None
    assert result.tag_values() == {"level": ["occlusion", "plain"]}


def test_differences_are_of_the_last_with_each_or_of_each_with_the_reference() -> None:
    assert made().compared == [("copy source", "good"), ("over", "good")]
    assert made(reference="over").compared == [("over", "copy source"), ("over", "good")]


def test_where_one_is_right_the_distance_from_it_is_compared() -> None:
    found = {one.metric: one for one in made().comparisons("over", "good")}
    assert found["l1"].difference.mean == pytest.approx(-0.1)
    # 2.0 and 0.9: off by 1.0 and by 0.1.
    assert found["motion_gain"].difference.mean == pytest.approx(-0.9)
    assert found["l1"].p == pytest.approx(2 / 2**12)
    assert found["l1"].p_holm == pytest.approx(4 / 2**12)


def test_the_worst_pairs_come_first() -> None:
    worst = made().worst("good", 3)
    assert [row.pair_id for row, _ in worst] == ["p11", "p10", "p9"]
    assert worst[0][1] == pytest.approx(0.21)
    assert made().in_question == "good"


def test_a_set_number_is_a_number_too() -> None:
    from evaluation.metrics.catalog import BY_NAME

    result = made(set_values={"good": {"fid": 3.0}})
    assert "fid" in result.measured()
    assert result.value("good", BY_NAME["fid"]) == 3.0
    assert result.value("over", BY_NAME["fid"]) is None
    assert [one.metric for one in result.comparisons("over", "good")] == ["l1", "motion_gain"]
