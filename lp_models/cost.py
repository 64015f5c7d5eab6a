"""A config -> parameters, multiply-accumulates and CPU milliseconds of its networks.

`python -m lp_models.cost starter` prints the table of docs/models.md for one size.
"""

import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lp_models.config import LivePortraitConfig
from lp_models.geometry import source_keypoints
from lp_models.portrait import LivePortrait

DRIVING_PATH = ("motion", "warping", "generator")
"""What runs for every driving frame; the appearance network runs once per source."""


class Cost(NamedTuple):
    """One network, one sample."""

    parameters: int
    gmac: float
    """Multiply-accumulates in units of 1e9, convolutions and matrix products only."""


def costs(model: LivePortrait) -> dict[str, Cost]:
    """Network name -> its cost for one picture."""
    from torch.utils.flop_counter import FlopCounterMode

    result = {}
    for name, call in _calls(model, batch=1).items():
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            call()
        module: nn.Module = model.get_submodule(name)
        result[name] = Cost(sum(p.numel() for p in module.parameters()), counter.get_total_flops() / 2e9)
    return result


def milliseconds(call: Callable[[], object], repeats: int = 3) -> tuple[float, float]:
    """Median wall and CPU milliseconds of a call, after one call to warm up."""
    measured = []
    for _ in range(repeats + 1):
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        measured.append((time.perf_counter() - wall, time.process_time() - cpu))
    walls, cpus = (sorted(column)[repeats // 2] for column in zip(*measured[1:], strict=True))
    return 1e3 * walls, 1e3 * cpus


def _calls(model: LivePortrait, batch: int) -> dict[str, Callable[[], Tensor]]:
    """Network name -> one call of it on random input."""
    side = model.config.image_px
    image = torch.rand(batch, 3, side, side)
    with torch.no_grad():
        volume = model.appearance(image)
        x_s = source_keypoints(model.motion(image))
        warp = model.warping(volume, kp_source=x_s, kp_driving=x_s + 0.05)
    return {
        "appearance": lambda: model.appearance(image),
        "motion": lambda: source_keypoints(model.motion(image)),
        "warping": lambda: model.warping(volume, kp_source=x_s, kp_driving=x_s + 0.05).features,
        "generator": lambda: model.paint(warp, image),
    }


def _training_step(model: LivePortrait, batch: int, *, half: bool) -> Callable[[], None]:
    """Forward and backward of the five networks on one batch, without losses and optimiser."""
    side = model.config.image_px
    source, driving = torch.rand(2, batch, 3, side, side)

    def step() -> None:
        model.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            loss = model(source, driving).mean()
        loss.backward()

    return step


def _report(name: str) -> str:
    model = LivePortrait(LivePortraitConfig.named(name)).eval()
    table = costs(model)
    lines = [f"{name}, {torch.get_num_threads()} threads; ms = wall (CPU) per sample"]
    lines += [f"  {part:10s} {cost.parameters / 1e6:7.2f} M {cost.gmac:7.2f} GMAC" for part, cost in table.items()]
    total = sum(table[part].gmac for part in DRIVING_PATH)
    parameters = sum(p.numel() for p in model.parameters())
    lines.append(f"  all {parameters / 1e6:.2f} M parameters; driving path {total:.2f} GMAC per frame")
    for half in (False, True):
        kind = "bf16" if half else "fp32"
        for batch in (1, 4):
            with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
                times = {part: milliseconds(call) for part, call in _calls(model.eval(), batch).items()}
            drive = [sum(times[part][i] for part in DRIVING_PATH) / batch for i in (0, 1)]
            each = ", ".join(f"{part} {wall / batch:.0f} ({cpu / batch:.0f})" for part, (wall, cpu) in times.items())
            lines.append(f"  {kind} batch {batch}: driving frame {drive[0]:.0f} ({drive[1]:.0f}); {each}")
        wall, cpu = (value / 4 for value in milliseconds(_training_step(model.train(), 4, half=half)))
        lines.append(f"  {kind} training, batch 4: {wall:.0f} ({cpu:.0f})")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(_report(sys.argv[1] if len(sys.argv) > 1 else "starter") + "\n")
