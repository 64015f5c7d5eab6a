import sys

import pytest

from evaluation.metrics import fault_reactions
from evaluation.metrics.catalog import BY_NAME
from evaluation.metrics.fault_reactions import Everything, everything, main
from evaluation.metrics.planted_faults import FAULTS, STAGES, Fault, Stage
from evaluation.metrics.reaction import Reaction, badness, reactions
from evaluation.metrics.standard import standard_measures
from evaluation.metrics.suite import MetricSuite

SMALL = Stage(num_frames=12, size_px=96)
UNSTEADY = {
    ("dog, other light", "mirrored motion", "yaw_corr"),
    ("dog, other light", "mirrored motion", "pose_error_deg"),
}
"""The reader errs on this dog's truth by more than the first dose: the last one is worse, the first is not."""
IDS = [fault.name for fault in FAULTS]


def by_place(found: list[Reaction]) -> dict[tuple[str, str], Reaction]:
    return {(one.fault, one.metric): one for one in found}


@pytest.fixture(scope="module")
def seen() -> dict[tuple[str, str], Reaction]:
    """What all measures that need no network say."""
    measures = standard_measures(None)
    return by_place(reactions(Everything(MetricSuite(extra=measures.per_pair), measures.of_set), SMALL))


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=IDS)
def test_the_metrics_meant_to_see_a_fault_get_worse_with_each_dose(seen, fault: Fault) -> None:
    asked = [seen[fault.name, metric] for metric in fault.meant if (fault.name, metric) in seen]
    assert asked
    assert [one for one in asked if one.verdict != "sees it"] == []


@pytest.mark.slow
def test_some_metrics_are_blind_to_some_faults(seen) -> None:
    assert seen["background moved", "l1_face"].verdict == "blind"
    assert seen["background moved", "l1_mouth"].verdict == "blind"
    assert seen["mouth frozen", "background_drift"].verdict == "blind"
    assert seen["time lag", "flicker_excess"].verdict in ("blind", "deceived")
    assert seen["mirrored motion", "motion_gain"].verdict == "sees it"
    assert seen["mirrored motion", "motion_gain"].values[-1] > 0  # and yet it does not say that the way is wrong


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES, ids=[stage.name for stage in STAGES])
def test_every_fault_is_seen_by_all_that_are_meant_to(stage: Stage) -> None:
    """With detector, stand-ins, judge and face reader."""
    found = by_place(reactions(everything(), stage))
    meant = [found.get((fault.name, metric), (fault.name, metric)) for fault in FAULTS for metric in fault.meant]
    assert [one for one in meant if not isinstance(one, Reaction)] == []  # all were measured
    wrong = {one for one in meant if isinstance(one, Reaction) and one.verdict != "sees it"}
    assert {one for one in wrong if one[:3] not in UNSTEADY} == set()
    for one in wrong:
        better = BY_NAME[one.metric].better
        assert badness(one.values[-1], better) > badness(one.values[0], better), one


@pytest.mark.parametrize("words", [[], ["x.md"], ["out=x.md", "stages=9"], ["out=x.md", "stages=0"]])
def test_a_mistake_is_one_sentence(monkeypatch, capsys, words: list[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["fault_reactions", *words])
    with pytest.raises(SystemExit):
        main()
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_the_command_writes_a_page_of_what_it_measured(monkeypatch, tmp_path) -> None:
    small = Stage(num_frames=4, size_px=48)
    monkeypatch.setattr(fault_reactions, "everything", lambda: Everything(MetricSuite()))
    monkeypatch.setattr(fault_reactions, "STAGES", (small, small))
    monkeypatch.setattr(sys, "argv", ["fault_reactions", f"out={tmp_path / 'f.md'}", "stages=1"])
    main()
    page = (tmp_path / "f.md").read_text()
    assert "| L1 background |" in page
    assert f"out={tmp_path / 'f.md'} stages=1" in page
    assert all(f"<summary>{fault.name}</summary>" in page for fault in FAULTS)
