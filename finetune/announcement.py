"""A base module -> the lines at the start of its log: what is used, what is absent, what counts where."""

from typing import TYPE_CHECKING

from finetune.perceptual import FeatureNet
from finetune.teachers.panel import describe

if TYPE_CHECKING:
    from finetune.base_module import BaseModule


def lines(module: "BaseModule") -> list[str]:
    """One line per fact; nothing that was asked for and is absent goes unsaid."""
    objective, net = module.objective, module.features
    found = [f"perceptual: {net.summary}" if isinstance(net, FeatureNet) else "perceptual: off (no feature net)"]
    judged = [region[1:] or "frame" for region, _ in module.judges.named()]
    found.append(
        f"adversarial: judges of {', '.join(judged)} from step {module.gan_from_step}" if judged else
        "adversarial: off (weights of gan and feature_matching are 0)"
    )  # fmt: skip
    found += describe(module.teachers, objective.animals)
    if missing := [name for name in objective.weights if objective.weight(name) and not _possible(module, name)]:
        found.append(f"asked for and left out: {', '.join(missing)} (no network for it; see docs/losses.md)")
    off = [name for name, counts in objective.animals.items() if not counts]
    if off:
        found.append(f"not on animals: {', '.join(off)}")
    if module.guard is not None:
        found.append("guard: the motion network of the start weights, kept in every checkpoint")
    if module.lora is not None:
        adapted = ", ".join(module.lora.modules_adapted)
        found.append(f"low-rank updates: {len(module.lora.names)} weights of {adapted}; the rest of it is frozen")
    if module.accumulate > 1:
        found.append(f"each step adds the gradients of {module.accumulate} parts of its batch")
    found += [
        f"stage until step {stage.until}: {', '.join(stage.train)} learn"
        + (f", painting at {stage.side_px} px" if stage.side_px and stage.paints else "")
        + (f", motion read at {stage.motion_px} px" if stage.motion_px else "")
        + (f", rates times {dict(stage.module_lr)}" if stage.module_lr else "")
        for stage in module.stages
    ]
    on = {name: weight for name, weight in objective.weights.items() if weight}
    found.append("terms: " + ", ".join(f"{name} {weight:g}" for name, weight in on.items()))
    return found


def _possible(module: "BaseModule", term: str) -> bool:
    """Whether the network that a term needs is there."""
    if term.startswith("perceptual"):
        return module.features is not None
    if term == "identity":
        return module.teachers is not None and module.teachers.identity is not None
    return True
