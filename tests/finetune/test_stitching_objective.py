import pytest
import torch

from finetune.landmarks import OpeningRuler
from finetune.pairs import Annotation, Batch
from finetune.stitching_objective import TERMS, StitchingObjective, ask, retarget_terms, stitch_terms


def batch(num: int = 2, side: int = 64) -> Batch:
    points = torch.tensor([[0.4, 0.4], [0.6, 0.4], [0.5, 0.5], [0.42, 0.58], [0.58, 0.58]]).expand(num, -1, -1)
    truth = Annotation(
        points, torch.zeros(num, 70, 2), torch.ones(num, 70), torch.full((num, 2), 0.4), torch.zeros(num, 1),
        torch.zeros(num, 3),
    )  # fmt: skip
    image, yes = torch.zeros(num, 3, side, side), torch.ones(num, dtype=torch.bool)
    labels = torch.zeros(num, side, side, dtype=torch.uint8)
    labels[:, 48:] = 1
    labels[:, 16:48, 16:48] = 2
    given = {
        "source": image, "driving": image, "target": image, "source_truth": truth, "driving_truth": truth,
        "target_truth": truth, "species": torch.zeros(num, dtype=torch.long), "source_labels": labels,
        "roll_offset_deg": torch.zeros(num),
    }  # fmt: skip
    return Batch(**{name: given.get(name, yes) for name in Batch._fields})


def test_wanted_openings_are_spread_and_a_fifth_of_the_lips_close():
    asked = ask(
        StitchingObjective(), torch.full((4000, 2), 0.4), torch.zeros(4000, 1), torch.Generator().manual_seed(0)
    )
    assert 0 <= asked.eyes.min() < 0.02
    assert 0.78 < asked.eyes.max() <= 0.8
    assert float(asked.eyes.mean()) == pytest.approx(0.4, abs=0.02)
    assert float((asked.lips == 0).float().mean()) == pytest.approx(0.2, abs=0.03)
    assert (asked.sets_eyes | asked.sets_lips).all()
    assert float((asked.sets_eyes & asked.sets_lips).float().mean()) == pytest.approx(0.2, abs=0.03)
    assert float(asked.now_eyes.std()) == pytest.approx(0.02, abs=0.002)
    assert (asked.now_lips >= 0).all()


def test_only_shoulders_away_from_the_head_are_held_and_only_the_head_is_kept_moving():
    objective, given = StitchingObjective(margin_frac=4 / 64), batch()
    kept = torch.zeros(2, 3, 64, 64)
    moved, no_correction = torch.zeros_like(kept), torch.zeros(2, 21, 3)

    def terms(place: tuple[slice, slice]) -> dict[str, float]:
        held = kept.clone()
        held[..., place[0], place[1]] = 1
        return {k: float(v) for k, v in stitch_terms(objective, given, kept, moved, held, no_correction).items()}

    low, left, neck = slice(56, 64), slice(0, 8), slice(49, 51)
    assert terms((low, left))["stitch"] > 0
    assert terms((low, left))["stitch_head"] == 0
    assert terms((neck, slice(20, 44))) == {"stitch": 0, "stitch_head": 0, "stitch_size": 0}
    assert terms((slice(20, 40), slice(20, 40)))["stitch_head"] > 0
    assert terms((slice(20, 40), slice(20, 40)))["stitch"] == 0


def test_what_a_row_does_not_set_costs_nothing():
    torch.manual_seed(0)
    ruler, given = OpeningRuler(width=8), batch()
    asked = ask(
        StitchingObjective(both_frac=0.0), torch.zeros(2, 2), torch.zeros(2, 1), torch.Generator().manual_seed(1)
    )
    asked = asked._replace(sets_eyes=torch.tensor([True, True]), sets_lips=torch.tensor([False, False]))
    kept = torch.rand(2, 3, 64, 64)
    delta = torch.ones(2, 21, 3)
    found = retarget_terms(ruler, given, kept, kept, asked, delta, delta)
    assert found["lips"] == found["lips_size"] == found["lips_still"] == 0
    assert found["eyes"] > 0
    assert found["eyes_size"] == 1
    assert found["eyes_still"] == 0
    shifted = kept.clone()
    shifted[..., 55:] = 0  # far from the eyes
    assert retarget_terms(ruler, given, kept, shifted, asked, delta, delta)["eyes_still"] > 0
    blinked = kept.clone()
    blinked[..., 24:27, 24:27] = 0  # an eye
    assert retarget_terms(ruler, given, kept, blinked, asked, delta, delta)["eyes_still"] == 0


def test_unknown_terms_and_bad_ranges_are_refused():
    assert set(StitchingObjective().weights) == set(TERMS)
    with pytest.raises(ValueError, match="stich"):
        StitchingObjective(weights={"stich": 1.0})
    with pytest.raises(ValueError, match="lip_range"):
        StitchingObjective(lip_range=(0.8, 0.1))
