"""Reactions of all metrics to planted faults -> a Markdown page: who sees what, who is blind, and the values."""

from collections.abc import Sequence

from evaluation.metrics.catalog import BY_NAME, METRICS
from evaluation.metrics.metric import Metric
from evaluation.metrics.planted_faults import Fault
from evaluation.metrics.reaction import Reaction, Verdict

SIGNS: dict[Verdict, str] = {"sees it": "**yes**", "blind": "–", "unsteady": "~", "deceived": "wrong way"}
MIXED = "some"
"""Not the same on all stages."""
LEGEND = (
    "**yes**: worse with each dose, on every stage. –: no reaction (below 3 % of the metric's strongest one, lost "
    "frames left out). ~: a reaction that does not grow with the dose. wrong way: it calls the fault an improvement. "
    "2 of 3: worse with each dose on two of three stages. some: other reactions, not the same on all. Empty: not "
    "measured. Underlined: meant to see this fault."
)


def fault_table(found: Sequence[Reaction], faults: Sequence[Fault]) -> str:
    """Reactions -> a table, a line per metric, a column per fault; underlined where it must see the fault."""
    shown = [fault for fault in faults if any(one.fault == fault.name for one in found)]
    lines = [f"| metric | {' | '.join(fault.name for fault in shown)} |", f"|---|{'---|' * len(shown)}"]
    for metric in _measured(found):
        cells = []
        for fault in shown:
            sign = _sign([one.verdict for one in found if (one.fault, one.metric) == (fault.name, metric.name)])
            cells.append(f"<u>{sign}</u>" if sign and metric.name in fault.meant else sign)
        lines.append(f"| {metric.title} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def values_table(found: Sequence[Reaction], fault: Fault) -> str:
    """Reactions to one fault -> the values at each dose, a line per metric that reacts on some stage."""
    mine = [one for one in found if one.fault == fault.name]
    stages = list(dict.fromkeys(one.stage for one in mine))
    doses = ", ".join(f"{dose:g}" for dose in (0, *fault.doses))
    lines = [f"| {fault.dose}: {doses} | {' | '.join(stages)} |", f"|---|{'---|' * len(stages)}"]
    for metric in _measured(mine):
        by_stage = {one.stage: one for one in mine if one.metric == metric.name}
        if all(one.verdict == "blind" for one in by_stage.values()):
            continue
        cells = [_values(metric, by_stage[stage]) if stage in by_stage else "" for stage in stages]
        lines.append(f"| {metric.title} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def fault_page(found: Sequence[Reaction], faults: Sequence[Fault], made_by: str) -> str:
    """Reactions on one or several stages -> the page.

    Args:
        found: of all stages.
        faults: that were planted.
        made_by: a line that says with which command and code.
    """
    stages = list(dict.fromkeys(one.stage for one in found))
    measured = {one.metric for one in found}
    others = [metric for metric in METRICS if metric.name not in measured]
    blind = [_title(name) for name in _never(found, {"sees it"})]
    parts = [
        "# Which measure sees which fault?",
        made_by,
        f"A perfect result is spoiled in one way at a time, in growing doses, on stages of growing difficulty: "
        f"{'; '.join(stages)} (as in the puppet benchmark). A person performs the same as driver.",
        LEGEND,
        fault_table(found, faults).rstrip(),
        "Metrics that see no fault on any stage: " + (f"{', '.join(blind)}." if blind else "none."),
        f"Not measured here: {', '.join(metric.title for metric in others)}." if others else "",
        "## The values",
        "At dose 0 and at each dose; ✓: worse with each dose. Metrics that are blind on every stage are named below "
        "each table.",
        *(_section(found, fault) for fault in faults if any(one.fault == fault.name for one in found)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _section(found: Sequence[Reaction], fault: Fault) -> str:
    mine = [one for one in found if one.fault == fault.name]
    blind = [_title(name) for name in _never(mine, {"sees it", "unsteady", "deceived"})]
    said = [f"<details><summary>{fault.name}</summary>", values_table(mine, fault).rstrip()]
    said += [f"Blind to it: {', '.join(blind)}."] if blind else []
    return "\n\n".join([*said, "</details>"])


def _never(found: Sequence[Reaction], verdicts: set[str]) -> list[str]:
    """Metrics that never got one of these verdicts."""
    names = [metric.name for metric in _measured(found)]
    return [name for name in names if not any(one.metric == name and one.verdict in verdicts for one in found)]


def _measured(found: Sequence[Reaction]) -> list[Metric]:
    names = {one.metric for one in found}
    return [metric for metric in METRICS if metric.name in names]


def _title(name: str) -> str:
    return BY_NAME[name].title


def _sign(verdicts: Sequence[Verdict]) -> str:
    if not verdicts:
        return ""
    if len(set(verdicts)) == 1:
        return SIGNS[verdicts[0]]
    seen = verdicts.count("sees it")
    return f"{seen} of {len(verdicts)}" if seen else MIXED


def _values(metric: Metric, one: Reaction) -> str:
    shown = " → ".join(f"{value:.{metric.digits}f}" for value in one.values)
    return shown + (" ✓" if one.verdict == "sees it" else "")
