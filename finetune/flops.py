"""A recipe -> the arithmetic of one row of a training step, and what the device could do in a second.

Model FLOPs: what the step needs, not what it spends; recomputed activations do not count. Two per multiply-accumulate,
convolutions and matrix products only (`lp_models.cost` counts them); a backward pass is twice a forward pass for a
network that learns, once for one that only hands gradients on.
"""

import time

import torch
from torch import nn

from finetune.base_module import BaseModule
from finetune.recipe import Recipe, has_bf16
from lp_models.cost import costs

LEARNS, HANDS_ON = 3.0, 2.0
"""Forward and backward, in forward passes."""


def row_flops(module: Recipe, cross_frac: float = 0.0) -> float:
    """Floating-point operations of one row in a step of the base; 0 for recipes that are not known here.

    Args:
        module: its last stage counts: everything at full side.
        cross_frac: share of rows whose target is another picture than their driving one.
    """
    if not isinstance(module, BaseModule):
        return 0.0
    with torch.device(module.device):
        networks = {name: 2e9 * cost.gmac for name, cost in costs(module.averaged().eval()).items()}
    objective = module.objective
    read = 2 + cross_frac + (objective.equivariance_frac if objective.weight("equivariance") else 0.0)
    times = {"appearance": 1.0, "motion": read, "warping": 1.0, "generator": 1.0}
    total = sum(
        times[name] * flops * (LEARNS if name in module.learning else HANDS_ON) for name, flops in networks.items()
    )
    side = module.model.config.output_px
    if isinstance(module.features, nn.Module) and objective.weight("perceptual"):
        # The target's features need no gradient.
        total += (1 + HANDS_ON) * _forward_flops(module.features, side, side, module.device)
    sizes = {"": (side, side), "_face": objective.regions.face_size(side), "_lip": objective.regions.lip_size(side)}
    for region, net in module.judges.named():
        # The painter's step: fake handed on, real looked at; the judge's own step: both learnt from.
        total += (1 + HANDS_ON + 2 * LEARNS) * _forward_flops(net, *sizes[region], module.device)
    return total


def _forward_flops(net: nn.Module, height: int, width: int, device: torch.device) -> float:
    from torch.utils.flop_counter import FlopCounterMode

    was_training = net.training
    # Spectral norms move their vectors in training mode.
    net.eval()
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            net(torch.rand(1, 3, height, width, device=device))
    finally:
        net.train(was_training)
    return float(counter.get_total_flops())


def measured_peak_flops(device: torch.device, dtype: torch.dtype | None = None, repeats: int = 5) -> float:
    """Floating-point operations a second of a large matrix product, the best of some; less on a busy machine.

    Args:
        device: which.
        dtype: of the numbers; by default bfloat16 where it is fast, else float32.
        repeats: how many products are timed, after one to warm up.
    """
    kind = dtype or (torch.bfloat16 if has_bf16(device) else torch.float32)
    side = 8192 if device.type == "cuda" else 1024
    a, b = torch.rand(2, side, side, device=device).to(kind)
    best = float("inf")
    for repeat in range(repeats + 1):
        _wait(device)
        start = time.perf_counter()
        torch.mm(a, b)
        _wait(device)
        best = min(best, time.perf_counter() - start) if repeat else best
    return 2 * side**3 / best


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
