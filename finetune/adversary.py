"""Real and generated frames -> adversarial terms by three judges: of the whole frame, the face, the lips.

LivePortrait 3.2 names the three; their form is not published. Ours: patch discriminators with hinge losses. Each judge
sees only its own kind of crop, real ones as real and generated ones as fake, and all of them are in the optimiser.
"""

from collections.abc import Iterator, Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from finetune.discriminator import FrozenParameters, PatchDiscriminator, Verdict
from finetune.losses import feature_matching, gradient_penalty, hinge_discriminator, hinge_generator

REGIONS = ("", "_face", "_lip")
"""Suffixes of the terms gan and feature_matching; the whole frame has none."""
Views = Mapping[str, tuple[Tensor, Tensor]]
"""Region -> generated and real pictures of the same rows; regions without rows are left out."""


class Judges(nn.Module):
    """The discriminators of one run, by region."""

    def __init__(self, nets: Mapping[str, PatchDiscriminator], r1: float = 0.0, r1_every: int = 16) -> None:
        super().__init__()
        # Names of modules cannot be empty.
        self.nets = nn.ModuleDict({region or "frame": net for region, net in nets.items()})
        self.r1, self.r1_every = r1, r1_every

    def named(self) -> Iterator[tuple[str, nn.Module]]:
        """Region and discriminator, the whole frame first."""
        for region in REGIONS:
            if (region or "frame") in self.nets:
                yield region, self.nets[region or "frame"]

    def generator_terms(self, views: Views) -> dict[str, Tensor]:
        """gan* and feature_matching* of the generated pictures; the discriminators collect no gradient."""
        found: dict[str, Tensor] = {}
        for region, net in self.named():
            if region not in views:
                continue
            fake, real = views[region]
            with FrozenParameters(net):
                judged: Verdict = net(fake)
                with torch.no_grad():
                    wanted: Verdict = net(real)
            found[f"gan{region}"] = hinge_generator(judged.scores)
            found[f"feature_matching{region}"] = feature_matching(wanted.features, judged.features)
        return found

    def discriminator_terms(self, views: Views) -> dict[str, Float[Tensor, ""]]:
        """Each judge's hinge loss; neither side's pictures take a gradient."""
        found: dict[str, Tensor] = {}
        for region, net in self.named():
            if region in views:
                fake, real = (side.detach() for side in views[region])
                real_verdict: Verdict = net(real)
                fake_verdict: Verdict = net(fake)
                found[f"discriminator{region}"] = hinge_discriminator(real_verdict.scores, fake_verdict.scores)
        return found

    def wants_penalty(self, step: int) -> bool:
        """R1 is lazy: every `r1_every` steps, that many times as strong."""
        return self.r1 > 0 and step % self.r1_every == 0

    def penalties(self, views: Views) -> dict[str, Float[Tensor, ""]]:
        """R1 of each judge on real pictures, in fp32, ready to be added: weighted, and scaled for lazy steps."""
        found: dict[str, Tensor] = {}
        for region, net in self.named():
            if region in views:
                real = views[region][1].detach().float().requires_grad_(True)
                verdict: Verdict = net(real)
                found[f"r1{region}"] = self.r1 * self.r1_every * gradient_penalty(verdict.scores, real)
        return found
