import torch

from finetune.insight import CHUNK_ROWS, look, on
from tests.finetune.rows import CAT, HUMAN, batch, module


def test_it_sees_what_the_preview_shows_in_parts_and_changes_nothing() -> None:
    trained = module({"reconstruction": 1.0}).train()
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    rows = batch([HUMAN, CAT] * 5)
    assert len(rows.source) > CHUNK_ROWS
    seen = look(trained, rows)
    torch.testing.assert_close(seen.image, trained.preview(rows), rtol=1e-4, atol=1e-5)
    assert seen.flow.shape[0] == seen.occlusion.shape[0] == 10
    assert seen.flow.shape[-1] == 3
    assert 0 <= float(seen.occlusion.min()) <= float(seen.occlusion.max()) <= 1
    # Rows without another driver drive themselves: the driving picture's own keypoints have its own identity.
    assert not torch.allclose(seen.kp_output, seen.kp_source)
    assert all(torch.equal(value, before[name]) for name, value in trained.state_dict().items())
    assert trained.model.training


def test_a_batch_moves_with_everything_in_it() -> None:
    moved = on(batch([HUMAN]), torch.device("meta"))
    assert moved.source.is_meta
    assert moved.target_truth.landmarks.is_meta
