"""Terms of one process or part, means over rows of its own -> what they add to the means over all rows of a step.

Terms are means over the rows on which they are true, and gradients are averaged over processes as they come. A mean
over one cross row of this process and one over three of another would count alike; here both count by their rows.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from finetune import losses
from finetune.adversary import Views
from finetune.objective import REGION_WEIGHTED, Objective
from finetune.pairs import Batch
from finetune.teachers.panel import Teachers


def world_size() -> int:
    """How many processes average their gradients."""
    import torch.distributed as dist

    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def divisors(objective: Objective, batch: Batch, teachers: Teachers | None) -> dict[str, float]:
    """What the sum of each term over these rows is divided by, up to a constant; 0 where no row has the term.

    Rows, but for terms that are no plain means over rows: those that look more closely at eyes and mouth are divided by
    the sum of their region weights, the spans by the rows with landmarks.
    """
    found = objective.counts(batch, teachers is not None and teachers.pose is not None)
    if closer := [name for name in REGION_WEIGHTED if objective.weight(name)]:
        points, side_px = batch.target_truth.points, batch.target.shape[-1]
        sum_of_weights = float(losses.region_weight(points, side_px, objective.region_boost).sum())
        found |= dict.fromkeys(closer, sum_of_weights)
    if objective.weight("spans"):
        known = batch.has_landmarks
        told = objective.rows("guide_teacher", batch) & ~known
        if teachers is None or teachers.landmarks is None:
            told = torch.zeros_like(told)
        found["spans"] = float(3 * (known | told).sum() + (known & batch.is_cross).sum())
    return found


def mean_of_processes(counts: Mapping[str, float], device: torch.device) -> dict[str, float]:
    """Each count averaged over all processes, by one small message. Every process must give the same names.

    A process' sum divided by this, averaged over the processes, is the sum of all over the count of all.
    """
    if world_size() == 1 or not counts:
        return dict(counts)
    # Not every device has 64-bit numbers; sums of region weights need no more than 32.
    values = torch.tensor(list(counts.values()), dtype=torch.float32, device=device)
    torch.distributed.all_reduce(values)
    return dict(zip(counts, (values / world_size()).tolist(), strict=True))


def weighted(terms: Mapping[str, Tensor], part: Mapping[str, float], whole: Mapping[str, float]) -> dict[str, Tensor]:
    """Means over the rows counted in `part` -> what they add to the means over those counted in `whole`."""
    return {name: value * (part[name] / max(whole[name], 1e-6)) for name, value in terms.items()}


def judges_total(terms: Mapping[str, Tensor], view: Views, everyone: Mapping[str, float]) -> Float[Tensor, ""]:
    """What the judges minimise on one part; 0 without a gradient where they see nothing.

    Args:
        terms: discriminator* and r1*, each a mean over the rows that its judge sees.
        view: those rows.
        everyone: from `mean_of_processes`: rows count alike wherever they lie; empty where this part is all there is.
    """
    if not terms:
        return torch.zeros(())
    if not everyone:
        return torch.stack(list(terms.values())).sum()
    regions = {name: name.removeprefix("discriminator").removeprefix("r1") for name in terms}
    own = {name: float(len(view[region][0])) for name, region in regions.items()}
    whole = {name: everyone[f"gan{region}"] for name, region in regions.items()}
    return torch.stack(list(weighted(terms, own, whole).values())).sum()
