"""Puppet shards -> the puppet teacher's file: `python -m finetune.teachers.train shards=DIR out=FILE [steps=800]`."""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from data_pipeline.cli_errors import user_errors
from data_pipeline.progress import track
from data_pipeline.records import Split
from data_pipeline.typed_options import read_options
from data_pipeline.whole_file import check_writable, whole_file
from finetune.shard_index import has_split, read_index
from finetune.shard_stream import ClipStore
from finetune.teachers.puppet_lessons import Heads, PuppetLessons
from finetune.teachers.puppet_net import EMBEDDING, POSE_SCALE_DEG, PuppetNet, Reading
from lp_models.state_files import safetensors_bytes

PROGRAM = "python -m finetune.teachers.train"
SHARPNESS = 16.0
MARGIN = 0.2
"""ArcFace's idea as a cosine margin: the right identity must win by this much, times the sharpness."""


@dataclass(frozen=True, kw_only=True)
class TeacherTraining:
    """The options.

    Raises:
        ValueError: a number is out of range.
    """

    shards: str
    """What lp-curate made of puppets."""
    out: str
    """The file to write; it ends in .safetensors."""
    steps: int = 800
    batch_size: int = 24
    lr: float = 2e-3
    seed: int = 0
    frame_stride: int = 3
    cache_gb: float = 2.0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 2 or not 0 < self.lr < 0.1:
            raise ValueError(f"{PROGRAM}: steps must be 1 or more, batch_size 2 or more, lr between 0 and 0.1")
        if not self.out.endswith(".safetensors"):
            raise ValueError(f"{PROGRAM}: out={self.out} must end in .safetensors")


class IdentityClasses(nn.Module):
    """A direction per identity; only needed while the embedding learns."""

    def __init__(self, num_identities: int) -> None:
        super().__init__()
        self.directions = nn.Parameter(torch.randn(num_identities, EMBEDDING))

    def forward(self, embedding: Float[Tensor, "B E"], identity: Int64[Tensor, " B"]) -> Float[Tensor, ""]:
        """-log softmax of 16 (cos - margin at the right identity)."""
        cosine = embedding @ F.normalize(self.directions, dim=1).mT
        cosine = cosine - MARGIN * F.one_hot(identity, len(self.directions))
        return F.cross_entropy(SHARPNESS * cosine, identity)


def lesson_loss(read: Reading, heads: Heads, classes: IdentityClasses) -> Float[Tensor, ""]:
    """Landmarks in shares of the side (x 50), pose in units of 30 degrees, openings, identity (x 0.1)."""
    miss = F.smooth_l1_loss(read.landmarks, heads.landmarks, reduction="none", beta=0.02).sum(dim=2)
    # Landmarks behind something are still where the truth says, but a guess.
    landmarks = (miss * (0.2 + 0.8 * heads.visible)).mean()
    pose = F.smooth_l1_loss(read.pose_deg / POSE_SCALE_DEG, heads.pose_deg / POSE_SCALE_DEG, beta=0.1)
    opening = F.smooth_l1_loss(read.opening, heads.opening, beta=0.1)
    return 50 * landmarks + 5 * pose + 5 * opening + 0.1 * classes(read.embedding, heads.identity)


def teach(lessons: PuppetLessons, options: TeacherTraining) -> PuppetNet:
    """Train from nothing; a progress bar shows how long it takes."""
    torch.manual_seed(options.seed)
    net, classes = PuppetNet(), IdentityClasses(len(lessons.by_identity()))
    optimiser = torch.optim.AdamW([*net.parameters(), *classes.parameters()], lr=options.lr, weight_decay=0.01)
    from finetune.recipe import has_bf16

    fast = torch.autocast("cpu", torch.bfloat16, enabled=has_bf16(torch.device("cpu")))
    for step in track(range(options.steps), options.steps, "training the puppet teacher", "steps"):
        warm = min(1.0, (step + 1) / 50)
        for group in optimiser.param_groups:
            group["lr"] = options.lr * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / options.steps)))
        heads = lessons.batch(step, options.batch_size)
        with fast:
            read: Reading = net(heads.image)
        loss = lesson_loss(read, heads, classes)
        if not bool(loss.isfinite()):
            raise ValueError(f"{PROGRAM}: the loss of step {step} is not finite; give a lower lr than {options.lr}")
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimiser.step()
    return net.eval()


@torch.no_grad()
def measure(net: PuppetNet, lessons: PuppetLessons, num_batches: int = 8, rows: int = 32) -> Mapping[str, float]:
    """Errors on batches that no training step has seen, of the same identities or, with other clips, of new ones."""
    found: dict[str, list[float]] = {}
    for index in range(num_batches):
        heads = lessons.batch(10**6 + index, rows)
        read: Reading = net(heads.image)
        cosine = read.embedding @ read.embedding.mT
        same = heads.identity[:, None] == heads.identity
        numbers = {
            "landmark_error_frac": (read.landmarks - heads.landmarks).norm(dim=2).mean(),
            "pose_error_deg": (read.pose_deg - heads.pose_deg).abs().mean(),
            "opening_error": (read.opening - heads.opening).abs().mean(),
            "cosine_same": cosine[same & ~torch.eye(rows, dtype=torch.bool)].mean(),
            "cosine_other": cosine[~same].mean(),
        }
        for name, value in numbers.items():
            found.setdefault(name, []).append(float(value))
    return {name: sum(values) / len(values) for name, values in found.items()}


def _store(options: TeacherTraining, split: Split) -> ClipStore:
    """The clips of one split, in memory where they fit."""
    store = ClipStore(read_index(Path(options.shards), split, options.frame_stride), options.cache_gb)
    store.read_all()
    return store


@user_errors
def main() -> None:
    """Entry point."""
    options = read_options(TeacherTraining, sys.argv[1:], PROGRAM)
    out, shards = Path(options.out), Path(options.shards)
    check_writable(out)
    lessons = PuppetLessons(clips=_store(options, "train"), seed=options.seed)
    net = teach(lessons, options)
    with whole_file(out) as part:
        part.write_bytes(safetensors_bytes(net.state_dict()))
    held_out = has_split(shards, "val")
    if held_out:
        lessons = PuppetLessons(clips=_store(options, "val"), seed=options.seed + 1)
    numbers = ", ".join(f"{name} {value:.3f}" for name, value in measure(net, lessons).items())
    print(f"{'held out' if held_out else 'identities of the training'}: {numbers}")  # noqa: T201
    print(f"wrote {out} ({out.stat().st_size / 1e6:.2f} MB); use it with teachers.puppet.path={out}")  # noqa: T201


if __name__ == "__main__":
    main()
