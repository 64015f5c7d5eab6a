"""On a base that obeys its keypoints exactly, the recipe's losses lead to still shoulders and obedient openings."""

import numpy as np
import pytest
import torch
from torch import nn

from finetune.drivers import Driving, draw_drivers
from finetune.landmarks import Opening, OpeningRuler
from finetune.optimiser import Optimiser
from finetune.pairs import Annotation, Batch
from finetune.stitching_module import StitchingModule
from finetune.stitching_objective import StitchingObjective
from lp_models import LivePortrait, LivePortraitConfig
from lp_models.geometry import Motion

SIDE = 32
BODY = [3, 4, 7]
"""Keypoints that the shoulders follow; the head follows the others."""
POINTS = torch.tensor([[0.35, 0.3], [0.65, 0.3], [0.5, 0.42], [0.4, 0.5], [0.6, 0.5]])


class Paper(nn.Module):
    """A picture -> the numbers written on its first pixels."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image[:, 0, 0, :8]


class Reader(nn.Module):
    """A picture -> the motion written on it."""

    def __init__(self) -> None:
        super().__init__()
        self.shape = 0.3 * torch.randn(1, 21, 3, generator=torch.Generator().manual_seed(1))

    def forward(self, image: torch.Tensor) -> Motion:
        num, written = len(image), image[:, 0, 0]
        return Motion(
            (written[:, 2] - 0.5) * 10, (written[:, 3] - 0.5) * 10, (written[:, 4] - 0.5) * 10,
            nn.functional.pad((written[:, 5:7] - 0.5) * 0.4, (0, 1)), torch.zeros(num, 21, 3), torch.ones(num, 1),
            self.shape.expand(num, -1, -1),
        )  # fmt: skip


class ObedientBase(LivePortrait):
    """Eyes, lips, head and shoulders that move with their keypoints and with nothing else."""

    def __init__(self) -> None:
        super().__init__(LivePortraitConfig.named("tiny"))
        self.appearance, self.motion = Paper(), Reader()  # pyright: ignore[reportAttributeAccessIssue]

    def drive(
        self, volume: torch.Tensor, kp_source: torch.Tensor, kp_driving: torch.Tensor,
        source: torch.Tensor | None = None,
    ) -> torch.Tensor:  # fmt: skip
        moved = kp_driving - kp_source
        head = [k for k in range(21) if k not in BODY]
        eyes = (volume[:, 0] + 4 * (moved[:, [13, 16], 1] - moved[:, [11, 15], 1]).mean(dim=1)).clamp(min=0)
        lips = (volume[:, 1] + 4 * (moved[:, 19, 1] - moved[:, 20, 1])).clamp(min=0)
        at = (torch.arange(SIDE) + 0.5) / SIDE
        x, y = at[None, None, :], at[None, :, None]
        image = torch.full((len(moved), SIDE, SIDE), 0.5)

        def blob(cx: float, cy: float, wide: float, dx: torch.Tensor, dy: torch.Tensor) -> torch.Tensor:
            across = (x - cx - dx[:, None, None] / 2) / wide
            return torch.exp(-(across**2) - ((y - cy - dy[:, None, None] / 2) / wide) ** 2)

        shift = moved[:, head].mean(dim=1)
        still = torch.zeros(len(moved))
        image = image + 0.3 * blob(0.5, 0.15, 0.1, shift[:, 0], shift[:, 1])
        body = moved[:, BODY].mean(dim=1)
        image = image + 0.4 * (
            blob(0.2, 0.9, 0.12, body[:, 0], body[:, 1]) + blob(0.8, 0.9, 0.12, body[:, 0], body[:, 1])
        )
        for cx, cy, opening in ((0.35, 0.3, eyes), (0.65, 0.3, eyes), (0.5, 0.5, lips)):
            image = image - 0.5 * opening[:, None, None] * blob(cx, cy, 0.05, still, still)
        return image[:, None].expand(-1, 3, -1, -1)


class ExactRuler(OpeningRuler):
    """Reads darkness where `ObedientBase` puts it."""

    def forward(self, image: torch.Tensor, points: torch.Tensor) -> Opening:
        def dark(x: float, y: float) -> torch.Tensor:
            column, row = int(x * SIDE), int(y * SIDE)
            return (0.5 - image[:, 0, row, column])[:, None] * 2.07

        return Opening(torch.cat((dark(0.35, 0.3), dark(0.65, 0.3)), dim=1), dark(0.5, 0.5))


def batch(step: int, num: int = 16) -> Batch:
    draw = torch.Generator().manual_seed(step)
    source, target = (torch.rand(num, 1, 1, SIDE, generator=draw).expand(-1, 3, SIDE, -1) for _ in range(2))
    openings = source[:, 0, 0, :2] * 0.6
    source = source.clone()
    source[:, :, :, :2] = openings[:, None, None]
    truth = Annotation(
        POINTS.expand(num, -1, -1), torch.zeros(num, 70, 2), torch.ones(num, 70), openings[:, :1].expand(-1, 2),
        openings[:, 1:], torch.zeros(num, 3),
    )  # fmt: skip
    labels = torch.zeros(num, SIDE, SIDE, dtype=torch.uint8)
    labels[:, 22:] = 1
    labels[:, :18, 6:26] = 2
    given = {
        "source": source, "driving": target, "target": target, "source_truth": truth, "driving_truth": truth,
        "target_truth": truth, "species": torch.arange(num) % 4, "source_labels": labels,
        "roll_offset_deg": torch.zeros(num),
    }  # fmt: skip
    return Batch(**{name: given.get(name, torch.ones(num, dtype=torch.bool)) for name in Batch._fields})


def trained(steps: int) -> StitchingModule:
    torch.manual_seed(0)
    weights = {
        "stitch": 10.0, "stitch_head": 4.0, "stitch_size": 0.05, "eyes": 2.0, "eyes_size": 0.05, "eyes_still": 10.0,
        "lips": 2.0, "lips_size": 0.05, "lips_still": 10.0,
    }  # fmt: skip
    module = StitchingModule(
        ObedientBase(), StitchingObjective(weights=weights, condition_noise=0.0), Optimiser(ema_decay=0.0),
        driving=Driving(multiplier=(1.0, 1.0)), precision="fp32",
    )  # fmt: skip
    module.ruler = ExactRuler()
    adam = torch.optim.Adam(module.model.stitching.parameters(), lr=3e-3)
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    for module.step in range(steps):
        terms = module.terms(batch(module.step))
        loss = torch.stack([weights[name] * value for name, value in terms.items()]).sum()
        adam.zero_grad()
        loss.backward()
        adam.step()
        rates.step()
    return module


@pytest.mark.slow
def test_shoulders_stand_still_heads_move_and_openings_obey():
    module = trained(500)
    model, given = module.model, batch(10_000, 32)
    module.driving = Driving(multiplier=(1.0, 1.0), retarget_frac=0.0)
    with torch.no_grad():
        drawn = module._draw()
        poses, volume = (
            module.poses(given, draw_drivers(given.species, module.driving, drawn)),
            given.source[:, 0, 0, :8],
        )
        kept, moved, held = (
            model.drive(volume, poses.source, keypoints)
            for keypoints in (poses.source, poses.driven, model.stitching.stitch(poses.source, poses.driven))
        )
        low, high = slice(24, None), slice(0, 8)
        assert (held - kept)[..., low, :].abs().mean() < 0.2 * (moved - kept)[..., low, :].abs().mean()
        assert (held - moved)[..., high, :].abs().mean() < 0.2 * (moved - kept)[..., high, :].abs().mean()
        points = given.source_truth.points
        for part in ("eyes", "lips"):
            readings = []
            for command in torch.linspace(0, 0.8, 9):
                wanted = command.expand(32, 1)
                if part == "eyes":
                    condition = torch.cat((given.source_truth.eye_open, wanted), dim=1)
                    delta = model.stitching.retarget_eyes(poses.source, condition)
                else:
                    condition = torch.cat((given.source_truth.lip_open, wanted), dim=1)
                    delta = model.stitching.retarget_lips(poses.source, condition)
                seen = module.ruler(model.drive(volume, poses.source, poses.source + delta), points)
                readings.append(seen.eyes.mean(dim=1) if part == "eyes" else seen.lips[:, 0])
            read = torch.stack(readings, dim=1).numpy()
            commands = np.broadcast_to(np.linspace(0, 0.8, 9), read.shape)
            assert np.corrcoef(commands.ravel(), read.ravel())[0, 1] > 0.95
            assert np.abs(read - commands).mean() < 0.05
            assert (np.diff(read, axis=1) > -0.01).all()
