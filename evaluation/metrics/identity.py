"""Made frames, source and an identity network -> whether it is still the same individual."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, UInt8

from data_pipeline.records import SPECIES, Species
from evaluation.metrics.faces import Detector, aligned, located, spread
from evaluation.metrics.look import IDENTITY_WEIGHTS, LookFeatures
from evaluation.metrics.metric import STAND_IN, Metric
from evaluation.metrics.recent import Recent
from evaluation.protocols.pairs import PairFrames

MAX_FRAMES = 8
"""Frames looked at, evenly over the clip."""
_NEEDS = "no identity network given (ArcFace type for people; PetFace, MegaDescriptor or DINOv2 type for animals)"
_HOW = f"of {MAX_FRAMES} frames, evenly over the clip, the head aligned by five points; no head found counts as 0"
_LOOK = "embedding of colours and edge directions of the aligned head (knows no individuals)"
IDENTITY_METRICS = (
    Metric(
        name="csim", title="identity (CSIM)", unit="cosine", better="up", needs=_NEEDS,
        source="LivePortrait, section 4 (there ArcFace, variant unknown)",
        definition=f"cosine of identity embeddings of result and source, {_HOW}. Read beside pose error: a method that "
        "does not turn the head keeps it high",
    ),
    Metric(
        name="csim_truth", title="identity against truth", unit="cosine", better="up", needs=_NEEDS,
        source="LivePortrait, section 4, self-reenactment",
        definition=f"cosine of identity embeddings of result and true frame, {_HOW}",
    ),
    Metric(
        name="gallery_rank", title="right one in the gallery", unit="share", better="up", of_set=True, digits=3,
        needs=_NEEDS, source="arXiv 2512.19026 (retrieval instead of similarity)",
        definition=f"share {_HOW.replace('as 0', 'as wrong')}, whose nearest source among all sources of the run is "
        "the right one",
    ),
    Metric(
        name=f"csim{STAND_IN}", title="look kept", unit="cosine", better="up", source="ours", stands_for="CSIM",
        definition=f"as CSIM, with an offline {_LOOK}: a stand-in, no identity network",
    ),
    Metric(
        name=f"csim_truth{STAND_IN}", title="look against truth", unit="cosine", better="up", source="ours",
        stands_for="CSIM", definition=f"as identity against truth, with an offline {_LOOK}: a stand-in",
    ),
    Metric(
        name=f"gallery_rank{STAND_IN}", title="right look in the gallery", unit="share", better="up", of_set=True,
        digits=3, source="ours", stands_for="gallery rank",
        definition=f"as the gallery rank, with an offline {_LOOK}: a stand-in, no identity network",
    ),
)  # fmt: skip


@runtime_checkable
class Embedder(Protocol):
    """What is needed of an identity network: a `NetworkFile`, or the stand-in."""

    @property
    def side_px(self) -> int:
        """Side of its squares."""
        ...

    @property
    def template(self) -> tuple[tuple[float, float], ...] | None:
        """Where it wants the five points; None: our own square."""
        ...

    def __call__(self, pictures: UInt8[np.ndarray, "N S S 3"]) -> Float32[np.ndarray, "N D"]:
        """Vectors of aligned heads."""
        ...


class Identities(NamedTuple):
    """Embeddings of length 1; zeros where no head was found."""

    result: Float32[np.ndarray, "N D"]
    source: Float32[np.ndarray, " D"]
    truth: Float32[np.ndarray, "N D"] | None


class IdentityReader:
    """Reads embeddings off a pair; shared by the measures below, so that networks run once.

    Args:
        networks: one per species of the source.
        detector: finds the five points; None: the true points are used, which only the truth's own motion earns.
        is_stand_in: the numbers get the stand-in's names.
    """

    def __init__(
        self, networks: Mapping[Species, Embedder], detector: Detector | None = None, *, is_stand_in: bool = False
    ) -> None:
        self.networks = dict(networks)
        self.detector = detector
        self.suffix = STAND_IN if is_stand_in else ""
        # Several measures ask about one result in a row, and several methods about one source and one truth.
        self._recent = Recent[np.ndarray]()

    def __call__(self, result: UInt8[np.ndarray, "T S S 3"], pair: PairFrames) -> Identities | None:
        """Embeddings of result, source and truth; None without a network for the species or a head in the source."""
        if pair.species not in self.networks:
            return None
        first = None if pair.source_points is None else pair.source_points[None]
        source = self._embedded(pair.source[None], pair.species, first)[0]
        if not source.any():
            return None
        positions = spread(len(result), MAX_FRAMES)
        known, true = _points(pair, positions), None
        if pair.truth is not None:
            true = self._embedded(pair.truth.frames[positions], pair.species, known)
        made = self._embedded(result[positions], pair.species, None if self.detector else known)
        return Identities(made, source, true)

    def _embedded(self, frames: np.ndarray, species: Species, known: np.ndarray | None) -> np.ndarray:
        return self._recent.of(lambda: self._read(frames, species, known), frames, species, known)

    def _read(self, frames: np.ndarray, species: Species, known: np.ndarray | None) -> np.ndarray:
        network = self.networks[species]
        points = located(list(frames), species, self.detector, None if known is None else list(known))
        heads = aligned(list(frames), points, species, network.side_px, network.template)
        if not heads.found.any():
            return np.zeros((len(frames), 1), np.float32)
        vectors = network(heads.pictures)
        placed = np.zeros((len(frames), vectors.shape[1]), np.float32)
        placed[heads.found] = vectors / np.maximum(1e-9, np.linalg.norm(vectors, axis=1, keepdims=True))
        return placed


class IdentityKept:
    """Cosine of result and source, and of result and truth: CSIM."""

    def __init__(self, reader: IdentityReader) -> None:
        self.reader = reader
        self.names = tuple(f"{name}{reader.suffix}" for name in ("csim", "csim_truth"))

    def missing(self) -> dict[str, str]:
        """All of it, when there is no network for any species."""
        return {} if self.reader.networks else dict.fromkeys(self.names, _NEEDS)

    def __call__(self, result: UInt8[np.ndarray, "T S S 3"], pair: PairFrames) -> dict[str, float]:
        """Mean cosines; a frame without a head counts as 0."""
        found = self.reader(result, pair)
        if found is None:
            return {}
        if not found.result.any():  # no head anywhere: nothing of the identity is left
            return dict.fromkeys(self.names if found.truth is not None else self.names[:1], 0.0)
        values = {self.names[0]: float((found.result @ found.source).mean())}
        if found.truth is not None and found.truth.any():
            values[self.names[1]] = float((found.result * found.truth).sum(axis=1).mean())
        return values


class GalleryRank:
    """Whether the nearest of all sources of a run is the right one."""

    def __init__(self, reader: IdentityReader) -> None:
        self.reader = reader
        self.name = f"gallery_rank{reader.suffix}"

    def missing(self) -> dict[str, str]:
        """It, when there is no network for any species."""
        return {} if self.reader.networks else {self.name: _NEEDS}

    def features(self, pair: PairFrames, result: UInt8[np.ndarray, "T S S 3"]) -> dict[str, np.ndarray]:
        """Embeddings of the looked-at frames and of the source."""
        found = self.reader(result, pair)
        if found is None:
            return {}
        return {"result": found.result, "source": found.source, "species": np.array(SPECIES.index(pair.species))}

    def values(
        self, collected: Sequence[tuple[str, Mapping[str, np.ndarray]]], individuals: Mapping[str, str] | None = None
    ) -> dict[str, float]:
        """Share of frames whose nearest source is the right one; absent with fewer than two sources of a species.

        Galleries are of one species, since each may have a network of its own.

        Args:
            collected: (pair id, its features) of one method.
            individuals: pair id -> who its source is; without it, equal sources are one individual.
        """
        # Results are read one after another; only the galleries are held.
        names: dict[int, list[str]] = {}
        sources: dict[int, list[np.ndarray]] = {}
        for pair, found in collected:
            species = int(found["species"])
            names.setdefault(species, []).append(_who(pair, found, individuals))
            sources.setdefault(species, []).append(found["source"])
        galleries = {species: np.stack(held) for species, held in sources.items() if len(set(names[species])) > 1}
        hits: list[bool] = []
        for pair, found in collected:
            species = int(found["species"])
            if species in galleries:
                who = _who(pair, found, individuals)
                hits += _right(found["result"], who, galleries[species], names[species])
        return {self.name: float(np.mean(hits))} if hits else {}


def stand_in_reader(detector: Detector | None = None) -> IdentityReader:
    """The offline stand-in for every species."""
    return IdentityReader(dict.fromkeys(SPECIES, LookFeatures(IDENTITY_WEIGHTS)), detector, is_stand_in=True)


def _right(result: np.ndarray, name: str, gallery: np.ndarray, names: Sequence[str]) -> list[bool]:
    if result.shape[1] != gallery.shape[1]:  # no head in any frame
        return [False] * len(result)
    likeness = result @ gallery.T
    return [
        bool(vector.any()) and names[int(np.argmax(row))] == name for vector, row in zip(result, likeness, strict=True)
    ]


def _who(pair: str, found: Mapping[str, np.ndarray], individuals: Mapping[str, str] | None) -> str:
    named = (individuals or {}).get(pair)
    return named or found["source"].tobytes().hex()


def _points(pair: PairFrames, positions: Sequence[int]) -> np.ndarray | None:
    if pair.truth is not None and pair.truth.points is not None:
        return pair.truth.points[positions].astype(np.float32)
    return None
