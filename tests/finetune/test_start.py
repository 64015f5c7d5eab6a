import torch

from finetune.start import FIRST_SHARE, following, opening_mouths, prepare_scratch, with_pixels
from lp_models import LivePortrait, LivePortraitConfig


def test_most_stem_filters_ignore_brightness():
    torch.manual_seed(0)
    model = prepare_scratch(LivePortrait(LivePortraitConfig.named("tiny")))
    stem = model.motion.detector.get_submodule("downsample_layers.0.0")
    dark, bright = (stem(torch.full((1, 3, 8, 8), level)) for level in (0.2, 0.8))
    same = (dark - bright).abs().amax(dim=(0, 2, 3)) < 1e-5
    assert same.sum().item() == 6
    assert same.numel() == 8


def test_a_base_that_learns_to_copy_pixels_starts_as_it_was() -> None:
    torch.manual_seed(0)
    model = LivePortrait(LivePortraitConfig.named("tiny")).eval()
    copying = with_pixels(model)
    assert copying.config.copies_pixels
    assert not copying.training
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        before, after = model(image, image), copying(image, image)
        # At its own keypoints the source does not move: an eighth of it is mixed in, seven eighths are the old paint.
        share = torch.tensor(FIRST_SHARE).sigmoid()
        target = torch.nn.functional.interpolate(image, size=after.shape[-2:], mode="bilinear", align_corners=False)
    torch.testing.assert_close(after, before + share * (target - before), atol=1e-4, rtol=0)


def test_a_base_whose_pixels_start_to_follow_keeps_every_weight() -> None:
    torch.manual_seed(0)
    model = with_pixels(LivePortrait(LivePortraitConfig.named("tiny")).eval())
    follower = following(model, [11, 13])
    assert follower.config.followed_keypoints == (11, 13)
    new = follower.state_dict()
    assert all(torch.equal(value, new[name]) for name, value in model.state_dict().items())
    assert {name for name in new if name not in model.state_dict()} == {
        "warping.pull.show.weight", "warping.pull.show.bias",
    }  # fmt: skip
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(follower(image, image), model(image, image), atol=1e-5, rtol=0)


def test_a_base_that_starts_to_open_mouths_keeps_every_weight() -> None:
    torch.manual_seed(0)
    model = following(with_pixels(LivePortrait(LivePortraitConfig.named("tiny")).eval()), [14, 17, 19, 20])
    opening = opening_mouths(model)
    assert opening.config.opens_mouth
    new = opening.state_dict()
    assert all(torch.equal(value, new[name]) for name, value in model.state_dict().items())
    assert {name for name in new if name not in model.state_dict()} == {"warping.pull.mouth.colour"}
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(opening(image, image), model(image, image), atol=1e-5, rtol=0)
