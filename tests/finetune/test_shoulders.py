import torch

from data_pipeline.records import SPECIES
from finetune.shoulders import eyes_mask, grown, head_mask, lips_mask, masked_mean, shoulder_mask

POINTS = torch.tensor([[[0.4, 0.4], [0.6, 0.4], [0.5, 0.5], [0.42, 0.58], [0.58, 0.58]]])
CAT = torch.tensor([SPECIES.index("cat")])
HUMAN = torch.tensor([SPECIES.index("human")])


def labels(side: int = 64) -> torch.Tensor:
    found = torch.zeros(1, side, side, dtype=torch.uint8)
    found[:, 48:] = 1
    found[:, 16:48, 16:48] = 2
    found[:, 24:28, 24:28] = 3
    return found


def test_labels_are_taken_as_they_are_where_known():
    mask = shoulder_mask(labels(), torch.tensor([True]), POINTS, CAT, 64)
    assert torch.equal(mask[0, 0], (labels()[0] == 1).float())
    larger = shoulder_mask(labels(), torch.tensor([True]), POINTS, CAT, 128)
    assert torch.equal(larger[0, 0, ::2, ::2], mask[0, 0])


def test_shoulders_near_the_head_may_be_left_out():
    mask = shoulder_mask(labels(), torch.tensor([True]), POINTS, CAT, 64, margin_frac=4 / 64)
    assert mask[0, 0, 48:52, 12:52].sum() == 0
    assert mask[0, 0, 52:].all()
    assert mask[0, 0, 48:, :12].all()


def test_elsewhere_shoulders_are_below_and_outside_the_species_head():
    for species in (CAT, HUMAN):
        mask = shoulder_mask(labels(), torch.tensor([False]), POINTS, species, 64)[0, 0]
        assert mask[:37].sum() == 0  # above the mouth
        assert mask[int(0.6 * 64), 32] == 0  # under the mouth, in the head
        assert mask[61:].all()  # the lower border
        assert mask[50, 2] == 1
    cat, human = (shoulder_mask(labels(), torch.tensor([False]), POINTS, s, 64) for s in (CAT, HUMAN))
    assert cat.sum() > human.sum()  # a person's head, with its hair, is wider for its eyes


def test_head_and_shoulders_do_not_overlap():
    for known in (True, False):
        shoulders = shoulder_mask(labels(), torch.tensor([known]), POINTS, CAT, 64)
        head = head_mask(labels(), torch.tensor([known]), POINTS, shoulders)
        assert (head * shoulders).sum() == 0
        assert head[0, 0, 26, 32] == 1
        assert head[0, 0, 2, 2] == 0


def test_eyes_and_lips_lie_where_the_points_are():
    eyes, lips = eyes_mask(POINTS, 100)[0, 0], lips_mask(POINTS, 100)[0, 0]
    assert eyes[40, 40] == eyes[40, 60] == 1
    assert eyes[58, 50] == 0
    assert lips[58, 50] == lips[70, 50] == 1
    assert lips[40, 40] == 0


def test_means_are_over_the_mask_and_empty_masks_count_nothing():
    values = torch.stack((torch.full((3, 8, 8), 2.0), torch.full((3, 8, 8), 5.0)))
    mask = torch.zeros(2, 1, 8, 8)
    mask[0, :, :2] = 1
    assert masked_mean(values, mask).tolist() == [2.0, 0.0]
    assert grown(mask, 1 / 8)[0, 0, 2].all()
    assert grown(mask, 1 / 8)[0, 0, 3].sum() == 0
