from evaluation.metrics.fault_page import fault_page, fault_table, values_table
from evaluation.metrics.planted_faults import FAULTS
from evaluation.metrics.reaction import Reaction, Verdict

LAG = next(fault for fault in FAULTS if fault.name == "time lag")
BLUR = next(fault for fault in FAULTS if fault.name == "blurred")


def one(stage: str, metric: str, verdict: Verdict, fault: str = "time lag") -> Reaction:
    return Reaction(stage, fault, metric, (0.0, 0.1, 0.2, 0.25), verdict)


FOUND = [
    one("easy", "l1", "sees it"), one("hard", "l1", "unsteady"), one("easy", "l1_face", "sees it"),
    one("hard", "l1_face", "sees it"), one("easy", "flicker", "blind"), one("hard", "flicker", "blind"),
    one("easy", "warp_error", "deceived"), one("hard", "warp_error", "blind"),
    one("easy", "flicker", "sees it", "blurred"), one("hard", "flicker", "unsteady", "blurred"),
    one("easy", "broken", "blind"),
]  # fmt: skip


def rows(table: str) -> dict[str, list[str]]:
    return {
        cells[0]: cells[1:] for cells in ([c.strip() for c in line.split("|")[1:-1]] for line in table.splitlines())
    }


def test_the_table_says_on_how_many_stages_a_metric_sees_a_fault() -> None:
    found = rows(fault_table(FOUND, FAULTS))
    assert found["metric"] == ["time lag", "blurred"]
    assert found["L1"] == ["1 of 2", ""]
    assert found["L1 head"] == ["<u>**yes**</u>", ""]
    assert found["flicker"] == ["–", "1 of 2"]
    assert found["flow-warp error beyond the driver"] == ["some", ""]


def test_the_values_of_each_dose_stand_beside_the_stage() -> None:
    found = rows(values_table(FOUND, LAG))
    assert found["frames: 0, 1, 2, 4"] == ["easy", "hard"]
    assert found["L1"] == ["0.0000 → 0.1000 → 0.2000 → 0.2500 ✓", "0.0000 → 0.1000 → 0.2000 → 0.2500"]
    assert "flicker" not in found
    assert rows(values_table(FOUND, BLUR)).keys() == {"px: 0, 1, 2, 4", "---", "flicker"}


def test_the_page_names_the_command_and_who_is_blind() -> None:
    page = fault_page(FOUND, FAULTS, "Written by me.")
    assert "Written by me." in page
    assert "on stages of growing difficulty: easy; hard" in page
    never = next(line for line in page.splitlines() if line.startswith("Metrics that see no fault"))
    assert never == "Metrics that see no fault on any stage: broken frames, flow-warp error beyond the driver."
    assert "Blind to it: broken frames, flicker." in page
    assert "Not measured here: PSNR, " in page
    assert page.count("<details>") == page.count("</details>") == 2
