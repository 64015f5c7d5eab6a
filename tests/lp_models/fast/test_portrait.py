"""The inference twin makes the plain networks' pictures: at every size, for one frame and several, in any precision."""

import pytest
import torch
from torch import nn

from lp_models import LivePortrait, LivePortraitConfig, source_keypoints
from lp_models.fast import FastPortrait, best_precision


def model_of(name: str = "tiny", **change: int | list[int]) -> LivePortrait:
    """A model whose norms have seen something: fresh ones would hide a wrong fold."""
    torch.manual_seed(5)
    config = LivePortraitConfig.from_dict(LivePortraitConfig.named(name).as_dict() | change)
    model = LivePortrait(config).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    if model.warping.pull is not None:
        nn.init.normal_(model.warping.pull.show.weight)  # untrained, it shows nothing
    return model


def scene(model: LivePortrait, frames: int) -> tuple[torch.Tensor, ...]:
    """A picture, its volume and keypoints, and driving keypoints that differ by frame."""
    side = model.config.image_px
    picture = torch.rand(1, 3, side, side)
    with torch.no_grad():
        volume, x_s = model.appearance(picture), source_keypoints(model.motion(picture))
    return picture, volume, x_s, x_s + 0.1 * torch.randn(frames, *x_s.shape[1:])


def plain(
    model: LivePortrait, picture: torch.Tensor, volume: torch.Tensor, x_s: torch.Tensor, x_d: torch.Tensor
) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat([model.drive(volume, x_s, one[None], picture) for one in x_d])


def psnr_db(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(-10 * torch.log10((a - b).square().mean()))


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"copies_pixels": True},
        {"copies_pixels": True, "upscale": 1, "occlusion_kernel": 7},
        {"copies_pixels": True, "followed_keypoints": [0, 3, 20]},
        {"copies_pixels": True, "followed_keypoints": [14, 17, 19, 20], "opens_mouth": True},
        {"volume_depth": 2},
        {"upscale": 1},
        {"hourglass_blocks": 1},
        {"num_keypoints": 10},
        {"mask_kernel": 7, "occlusion_kernel": 7, "fusion_kernel": 3},
        {"mask_kernel": 5, "occlusion_kernel": 1, "fusion_kernel": 1, "num_middle_blocks": 1},
    ],
    ids=str,
)
def test_full_precision_gives_the_plain_pictures(change: dict[str, int | bool | list[int]]) -> None:
    model = model_of(**change)
    picture, volume, x_s, x_d = scene(model, 3)
    fast = FastPortrait(model)
    frames = fast.drive(fast.prepare(volume, x_s, picture), x_d)
    assert torch.allclose(frames, plain(model, picture, volume, x_s, x_d), atol=2e-5)


def test_the_starter_size_too() -> None:
    model = model_of("starter")
    picture, volume, x_s, x_d = scene(model, 1)
    fast = FastPortrait(model)
    assert torch.allclose(
        fast.drive(fast.prepare(volume, x_s, picture), x_d), plain(model, picture, volume, x_s, x_d), atol=2e-5
    )


def test_flow_occlusion_and_cover_are_the_plain_ones() -> None:
    model = model_of(copies_pixels=True, followed_keypoints=[14, 17, 19, 20], opens_mouth=True)
    picture, volume, x_s, x_d = scene(model, 2)
    # Lips that are shut in the source and open while driven.
    x_s[:, [14, 17], :2], x_s[:, [19, 20], :2] = torch.tensor([[-0.2, 0.3], [0.2, 0.3]]), torch.tensor([0.0, 0.3])
    x_d[:, [14, 17, 19, 20], :2] = torch.tensor([[-0.2, 0.3], [0.2, 0.3], [0.0, 0.5], [0.0, 0.3]])
    fast = FastPortrait(model)
    warp = fast.warping(fast.prepare(volume, x_s, picture), x_d)
    with torch.no_grad():
        for i in range(2):
            expected = model.warping(volume, kp_source=x_s, kp_driving=x_d[i : i + 1])
            assert expected.over is not None
            assert expected.over[:, 3].max() > 0.5
            for name in ("flow", "occlusion", "features", "shift", "over"):
                ours, theirs = getattr(warp, name)[i], getattr(expected, name)[0]
                assert torch.allclose(ours, theirs, atol=2e-5), name


@pytest.mark.parametrize("copies_pixels", [False, True])
def test_every_frame_may_have_its_own_source(copies_pixels: bool) -> None:
    model = model_of(copies_pixels=copies_pixels)
    scenes = [scene(model, 1) for _ in range(2)]
    picture, volume, x_s, x_d = (torch.cat(parts) for parts in zip(*scenes, strict=True))
    fast = FastPortrait(model)
    expected = torch.cat([plain(model, *one) for one in scenes])
    assert torch.allclose(fast.drive(fast.prepare(volume, x_s, picture), x_d), expected, atol=2e-5)


def test_bfloat16_stays_close() -> None:
    model = model_of()
    picture, volume, x_s, x_d = scene(model, 2)
    fast = FastPortrait(model, "bfloat16")
    frames = fast.drive(fast.prepare(volume, x_s, picture), x_d)
    assert frames.dtype == torch.float32
    assert psnr_db(frames, plain(model, picture, volume, x_s, x_d)) > 45
    assert not torch.equal(frames, plain(model, picture, volume, x_s, x_d))


def test_without_onednn_the_same_pictures_come_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a GPU runs, and a CPU whose torch has no oneDNN."""
    model = model_of()
    picture, volume, x_s, x_d = scene(model, 2)
    from lp_models.fast import convolution

    monkeypatch.setattr(convolution, "can_pack", lambda x: False)
    fast = FastPortrait(model)
    assert torch.allclose(
        fast.drive(fast.prepare(volume, x_s, picture), x_d), plain(model, picture, volume, x_s, x_d), atol=2e-5
    )  # fmt: skip


def test_the_model_is_not_changed() -> None:
    model = model_of()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    picture, volume, x_s, x_d = scene(model, 1)
    fast = FastPortrait(model, "bfloat16")
    fast.drive(fast.prepare(volume, x_s, picture), x_d)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_a_precision_that_cannot_run_is_refused() -> None:
    with pytest.raises(ValueError, match="no fast kernels on a CPU; choose bfloat16 or float32"):
        FastPortrait(model_of(), "float16")


def test_the_best_precision_is_one_that_runs() -> None:
    assert best_precision("cpu") in ("bfloat16", "float32")
    assert best_precision("cuda:0") == "float16"
