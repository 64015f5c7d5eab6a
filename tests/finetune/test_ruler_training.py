import json

import pytest
import torch

from finetune.landmarks import OpeningRuler, load_ruler
from finetune.ruler_training import HELD_OUT, RulerPlan, accuracy_table, make_ruler, puppet_lessons


@pytest.mark.slow
def test_the_command_draws_trains_measures_and_writes(tmp_path):
    plan = RulerPlan(
        out=str(tmp_path / "ruler.safetensors"), identities=2, pictures=6, held_out=1, steps=4, batch_size=16, width=8,
        workers=1,
    )  # fmt: skip
    ruler, table = make_ruler(plan)
    loaded = load_ruler(tmp_path / "ruler.safetensors")
    torch.testing.assert_close(loaded.state_dict(), ruler.state_dict())
    assert not torch.equal(ruler.eye.opening.weight, OpeningRuler(8).eye.opening.weight)
    report = json.loads((tmp_path / "ruler.json").read_text())
    assert report["plan"]["steps"] == 4
    assert set(report["held_out"]) == {"all", "human", "cat", "dog", "panda"}
    assert report["held_out"]["all"]["eyes"]["mean_error"] == pytest.approx(table["all"]["eyes"].mean_error)
    assert "panda" in accuracy_table(table)


def test_puppets_open_as_far_as_retargeting_asks_and_are_the_same_every_time():
    first, second = (puppet_lessons("cat", 77, 6, seed=1) for _ in range(2))
    assert torch.equal(first.cut, second.cut)
    assert first.opening.shape == (6, 3)
    assert first.opening[:, 2].max() > 0.3
    assert first.opening.min() == 0
    seen = first.weight > 0
    # Lids and lips lie within their patches.
    assert (first.marks[seen][:, 2:].abs() < 1.2).all()


def test_options_out_of_range_are_named():
    with pytest.raises(ValueError, match="steps"):
        RulerPlan(out="x", steps=0)
    with pytest.raises(ValueError, match="width"):
        RulerPlan(out="x", width=6)
    with pytest.raises(ValueError, match="first_identity"):
        RulerPlan(out="x", first_identity=HELD_OUT)
