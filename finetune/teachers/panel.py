"""Options -> the teachers of one run, and the sentences that say which of them are absent."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

from finetune.teachers.face_identity import IdentityFile, IdentityNet
from finetune.teachers.head_pose import PoseFile
from finetune.teachers.landmark_net import LandmarkFile
from finetune.teachers.puppet_net import PuppetFeatures, PuppetFile, PuppetIdentity, PuppetLandmarks, PuppetPose


@runtime_checkable
class PoseNet(Protocol):
    """A plug-in that knows head poses."""

    summary: str

    def __call__(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3"]:
        """RGB in 0-1 -> pitch, yaw, roll in degrees."""
        ...


@runtime_checkable
class LandmarkTeacher(Protocol):
    """A plug-in that knows the 70 landmarks."""

    summary: str

    def __call__(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B L 2"]:
        """RGB in 0-1 -> landmarks in fractions of the side."""
        ...


class Teachers(nn.Module):
    """Frozen networks; none of them is trained, none is written into checkpoints."""

    def __init__(
        self,
        pose: nn.Module | None = None,
        identity: nn.Module | None = None,
        landmarks: nn.Module | None = None,
        features: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.nets = nn.ModuleDict()
        given = {"pose": pose, "identity": identity, "landmarks": landmarks, "features": features}
        for name, net in given.items():
            if net is not None:
                self.nets[f"{name}_net"] = net
        self.requires_grad_(False).train(False)

    def train(self, mode: bool = True) -> "Teachers":
        """Stays in eval mode: batch statistics are those of the files."""
        return super().train(False)

    def _net(self, name: str) -> object:
        return dict(self.nets.items()).get(f"{name}_net")

    @property
    def pose(self) -> PoseNet | None:
        """Knows head poses."""
        return self._net("pose")  # pyright: ignore[reportReturnType]

    @property
    def identity(self) -> IdentityNet | None:
        """Knows faces."""
        return self._net("identity")  # pyright: ignore[reportReturnType]

    @property
    def landmarks(self) -> LandmarkTeacher | None:
        """Knows landmarks."""
        return self._net("landmarks")  # pyright: ignore[reportReturnType]

    @property
    def features(self) -> nn.Module | None:
        """Feature maps that replace the fixed filters."""
        found = self._net("features")
        return found if isinstance(found, nn.Module) else None


@dataclass(frozen=True, kw_only=True)
class TeacherFiles:
    """Where the teachers lie; the fields are the `teachers` options. Without a path a teacher is absent."""

    puppet: PuppetFile = field(default_factory=PuppetFile)
    pose: PoseFile = field(default_factory=PoseFile)
    identity: IdentityFile = field(default_factory=IdentityFile)
    landmarks: LandmarkFile = field(default_factory=LandmarkFile)

    def load(self) -> Teachers:
        """Read what is there; the puppet teacher takes the jobs that nobody else has.

        Raises:
            TeacherError: a file does not fit; the message says which option names it.
        """
        pose, identity, landmarks, features = self.pose.load(), self.identity.load(), self.landmarks.load(), None
        net = self.puppet.load()
        if net is not None:
            said = f"stand-in trained on puppets, from {self.puppet.path}"
            jobs = set(self.puppet.serves)
            features = PuppetFeatures(net, said) if "perceptual" in jobs else None
            pose = pose or (PuppetPose(net, said) if "pose" in jobs else None)
            identity = identity or (PuppetIdentity(net, said) if "identity" in jobs else None)
            landmarks = landmarks or (PuppetLandmarks(net, said) if "landmarks" in jobs else None)
        return Teachers(pose, identity, landmarks, features)


def describe(teachers: Teachers | None, animals: Mapping[str, bool]) -> list[str]:
    """One line per teacher: what it is or that it is absent, and on which rows it counts."""
    jobs = (
        ("head pose", "pose", "pose_teacher", "exact truth only; rows without truth are not supervised"),
        ("landmarks", "landmarks", "guide_teacher", "known landmarks and the five points only"),
        ("face identity", "identity", "identity", "the term identity is left out"),
    )
    lines = []
    for what, name, switch, otherwise in jobs:
        net = getattr(teachers, name) if teachers is not None else None
        if net is None:
            lines.append(f"{what}: no teacher (teachers.{name}.path or teachers.puppet.path): {otherwise}")
        else:
            lines.append(f"{what}: {net.summary}; on animals {'too' if animals.get(switch, True) else 'not'}")
    return lines
