import pytest
import torch

from finetune.landmarks import (
    PATCH_PX,
    OpeningRuler,
    load_ruler,
    patch_frames,
    patches,
    save_ruler,
    to_patch,
)  # fmt: skip

POINTS = torch.tensor([[[0.35, 0.45], [0.65, 0.45], [0.5, 0.6], [0.42, 0.7], [0.58, 0.7]]])


def test_gradients_reach_the_pixels_of_what_is_read_and_no_others():
    torch.manual_seed(0)
    ruler = OpeningRuler(width=8)
    image = torch.rand(1, 3, 64, 64, requires_grad=True)
    ruler(image, POINTS).lips.sum().backward()
    assert image.grad is not None
    assert image.grad[..., 40:50, 25:40].abs().sum() > 0
    assert image.grad[..., :10, :10].abs().sum() == 0


def test_patches_turn_with_the_line_of_the_eyes():
    image = torch.rand(1, 3, 64, 64)
    turned = torch.rot90(image, -1, (2, 3))  # clockwise
    x, y = POINTS[..., 0], POINTS[..., 1]
    moved = torch.stack((1 - y, x), dim=-1)
    before, after = (patches(i, patch_frames(p), PATCH_PX) for i, p in ((image, POINTS), (turned, moved)))
    torch.testing.assert_close(before, after, atol=1e-4, rtol=1e-4)


def test_the_left_eye_is_cut_mirrored():
    image = torch.rand(1, 3, 64, 64)
    symmetric = (image + image.flip(-1)) / 2
    cut = patches(symmetric, patch_frames(POINTS), PATCH_PX)
    torch.testing.assert_close(cut[:, 0], cut[:, 1], atol=1e-4, rtol=1e-4)
    ruler = OpeningRuler(width=8)
    eyes = ruler(symmetric, POINTS).eyes
    torch.testing.assert_close(eyes[:, 0], eyes[:, 1], atol=1e-4, rtol=1e-4)


def test_marks_in_patch_coordinates_lie_on_the_pixels_they_mark():
    image = torch.zeros(1, 3, 128, 128)
    marks = torch.tensor([[[0.30, 0.47], [0.70, 0.43], [0.52, 0.78]]])
    for x, y in marks[0]:
        image[..., round(float(y) * 128 - 0.5), round(float(x) * 128 - 0.5)] = 1
    frames = patch_frames(POINTS)
    cut = patches(image, frames, 80)[0].sum(dim=1)
    local = to_patch(marks[:, :, None], frames)[0, :, 0]
    for n in range(3):
        y, x = divmod(int(cut[n].argmax()), 80)
        seen = (torch.tensor([x, y]) + 0.5) / 80 * 2 - 1
        torch.testing.assert_close(seen, local[n], atol=0.06, rtol=0)


def test_a_ruler_is_loaded_frozen_as_it_was_saved(tmp_path):
    ruler = OpeningRuler(width=8)
    save_ruler(ruler.state_dict(), tmp_path / "ruler.safetensors")
    loaded = load_ruler(tmp_path / "ruler.safetensors")
    image = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(loaded(image, POINTS).eyes, ruler(image, POINTS).eyes)
    assert not any(p.requires_grad for p in loaded.parameters())
    assert not list(tmp_path.glob("*.part"))


def test_missing_and_foreign_rulers_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"none\.safetensors is not a file"):
        load_ruler(tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"\0" * 40)
    with pytest.raises(ValueError, match="not a ruler"):
        load_ruler(tmp_path / "bad.safetensors")
