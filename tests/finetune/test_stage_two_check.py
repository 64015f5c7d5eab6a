import json
from pathlib import Path

import pytest
import torch

from finetune.landmarks import OpeningRuler, save_ruler
from finetune.stage_two_check import CheckPlan, check
from finetune.stage_two_faces import faces, held_out_clips, performances
from finetune.stage_two_measures import COMMANDS, Stillness, Sweep, angle_deg, flow_px
from finetune.stage_two_report import meets, report, stillness_numbers, sweep_numbers
from lp_models import LivePortrait, LivePortraitConfig, save_pretrained
from lp_models.geometry import rotation_matrix


def sweep(readings: list[float], by_hand: tuple[float, float] = (0.0, 0.8), beside: float = 0.01) -> Sweep:
    return Sweep("cat", "eyes", readings, readings, list(by_hand), beside, 0.0, (0.02, 0.02))


def test_openings_that_obey_meet_their_goals_and_others_do_not():
    good = sweep_numbers([sweep([c + 0.02 for c in COMMANDS])] * 3, "judge")
    assert good["correlation"] == pytest.approx(1)
    assert good["mean_error"] == pytest.approx(0.02)
    assert good["identity_change_ratio"] == pytest.approx(0.5)
    assert all(meets(name, good[name]) for name in ("correlation", "mean_error", "monotone_frac"))
    stuck = sweep_numbers([sweep([0.4] * 9)], "judge")
    assert stuck["correlation"] == stuck["monotone_frac"] == 0
    assert not meets("mean_error", stuck["mean_error"])
    falling = sweep_numbers([sweep([0.8 - c for c in COMMANDS])], "judge")
    assert falling["monotone_frac"] == 0
    assert falling["correlation"] == pytest.approx(-1)


def test_what_the_generator_cannot_do_is_told_apart_from_disobedience():
    readings = [min(max(c, 0.3), 0.5) for c in COMMANDS]
    found = sweep_numbers([sweep(readings, by_hand=(0.3, 0.5))], "judge")
    assert found["mean_error"] > 0.1
    assert found["mean_error_within_by_hand"] == pytest.approx(0)


def test_shoulder_motion_is_a_share_of_the_unstitched_one():
    rows = [
        Stillness("cat", "human", False, (0.10, 0.01), (0.08, 0.0), (4.0, 1.0), 20.0, (2.0, 2.2)),
        Stillness("cat", "human", False, (0.30, 0.03), (0.08, 0.0), (4.0, 1.0), 20.0, (2.0, 2.2)),
    ]
    found = stillness_numbers(rows)
    assert found["shoulder_motion_frac"] == pytest.approx(0.1)
    assert found["shoulder_flow_frac"] == pytest.approx(0.25)
    assert found["head_accuracy_without"] == pytest.approx(0.9)
    assert found["head_accuracy_loss"] == pytest.approx(0.01)
    everything = report(rows, [sweep(list(COMMANDS)), sweep(list(COMMANDS))._replace(part="lips")])
    assert all(everything["met"].values())
    assert set(everything["species"]) == {"all", "cat"}
    assert everything["species"]["cat"]["stitching_human_drives_animal"]["frames"] == 2


def test_angles_and_flow_are_measured():
    zero, turn = torch.zeros(1), torch.tensor([12.0])
    assert float(angle_deg(rotation_matrix(zero, zero, zero), rotation_matrix(zero, turn, zero))) == pytest.approx(
        12, abs=0.01
    )
    torch.manual_seed(0)
    image = torch.nn.functional.interpolate(torch.rand(1, 3, 16, 16), (96, 96), mode="bicubic").clamp(0, 1)[0]
    mask = torch.zeros(96, 96)
    mask[30:60, 30:60] = 1
    assert flow_px(image, image.roll(3, dims=2), mask) == pytest.approx(3, abs=0.5)
    assert flow_px(image, image, mask) == pytest.approx(0, abs=0.01)


def test_faces_are_different_individuals_and_others_drive_them(shards):
    clips = held_out_clips(Path(shards), ["train"])
    chosen = faces(clips, 2)
    assert [face.species for face in chosen].count("cat") >= 1
    cat = next(face for face in chosen if face.species == "cat")
    drivers = performances(clips, cat, 2, 2)
    assert drivers[0].species == "human"
    assert len(drivers[0].frames) == 2
    with pytest.raises(ValueError, match="identity_offset"):
        held_out_clips(Path(shards), ["test"])


def test_a_check_writes_table_report_and_sheet(shards, tmp_path):
    torch.manual_seed(0)
    model = LivePortrait(LivePortraitConfig.named("tiny"))
    save_pretrained(model, tmp_path / "weights")
    save_ruler(OpeningRuler(width=8).state_dict(), tmp_path / "judge.safetensors")
    plan = CheckPlan(
        weights=str(tmp_path / "weights"), shards=str(shards), out=str(tmp_path / "report.json"),
        judge=str(tmp_path / "judge.safetensors"), splits="train", faces=1, drivers=1, frames=1,
    )  # fmt: skip
    text = check(plan)
    assert "goals not met" in text
    found = json.loads((tmp_path / "report.json").read_text())
    # Untrained corrections are zero: nothing is held, nothing is lost, nothing obeys.
    everyone = found["species"]["all"]
    assert everyone["stitching"]["shoulder_motion_frac"] == pytest.approx(1)
    assert everyone["stitching"]["head_accuracy_loss"] == pytest.approx(0)
    assert everyone["eyes"]["judge"]["correlation"] == pytest.approx(0, abs=1e-6)
    assert everyone["eyes"]["judge"]["identity_change_ratio"] == pytest.approx(0, abs=1e-6)
    assert (tmp_path / "report.png").is_file()


def test_options_out_of_range_are_named():
    with pytest.raises(ValueError, match="splits"):
        CheckPlan(weights="w", shards="s", out="o", judge="j", splits="val,tests")
    with pytest.raises(ValueError, match="faces"):
        CheckPlan(weights="w", shards="s", out="o", judge="j", faces=0)
