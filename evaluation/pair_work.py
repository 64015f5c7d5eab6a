"""One pair and all methods -> their rows, measured or taken from the store: what one process does at a time."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from evaluation.methods import Method
from evaluation.metrics.catalog import BY_NAME
from evaluation.metrics.motion import SignalReader
from evaluation.metrics.signals import opening_of
from evaluation.metrics.suite import MetricSuite, SetMeasure, as_frames
from evaluation.pair_store import MEASURE_CODE, Finished, PairStore, code_hash, hash_of, method_hash
from evaluation.protocols import Pair, PairFrames
from evaluation.rows import Failure, PairRow
from evaluation.side_by_side import row_of

PANEL_PX = 192
"""Side of each panel of an example."""
TAGS = ("level", "factor")
"""Facts of a pair by which the report breaks numbers down."""
FAILURES = (ValueError, OSError, RuntimeError)
"""What a bad file, a bad prediction or a full card raise: one pair fails, the others go on."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """All that measures: built once in each process."""

    methods: Sequence[Method]
    suite: MetricSuite
    set_measures: Sequence[SetMeasure] = ()
    reader: SignalReader | None = None
    """Reads the curves of sweeps off results."""
    plug_ins: dict[str, str] = field(default_factory=dict)
    """Networks given by the user -> hash of their files: other networks, other numbers."""

    @property
    def suite_hash(self) -> str:
        """Changes when the same result may get other numbers."""
        missing = self.suite.missing()
        for one in self.set_measures:
            missing |= one.missing()
        return hash_of(code_hash(MEASURE_CODE), self.plug_ins, missing, self.reader is not None)


class Outcome(NamedTuple):
    """What came of one pair."""

    rows: list[PairRow]
    failures: list[Failure]
    keys: dict[str, str]
    """Method -> key in the store; "" -> key of the pair's own pixels."""
    features: dict[str, dict[str, dict[str, np.ndarray]]]
    """Method -> set measure -> arrays."""
    num_reused: int


class PairWork:
    """Measures pairs, one call each.

    Args:
        bench: what measures, and what is measured.
        store: finished pairs; None keeps nothing.
    """

    def __init__(self, bench: Bench, store: PairStore | None) -> None:
        self.bench = bench
        self.store = store
        self._suite_hash = bench.suite_hash
        self._method_hashes = {method.name: method_hash(method) for method in bench.methods}

    def __call__(self, pair: Pair) -> Outcome:
        """Rows and failures of one pair; everything new is in the store when this returns."""
        outcome = Outcome([], [], {}, {}, 0)
        try:
            frames = pair.load()
            _check_pair(frames)
        except FAILURES as error:
            outcome.failures.append(Failure(pair_id=pair.pair_id, method="", reason=sentence(error)))
            return outcome
        pair_hash = hash_of(*frames._replace(pair_id=""))
        if self.store:
            outcome.keys[""] = self._keep_pair(pair, frames, pair_hash)
        for method in self.bench.methods:
            try:
                outcome = self._one(pair, frames, pair_hash, method, outcome)
            except FAILURES as error:
                failure = Failure(pair_id=pair.pair_id, method=method.name, reason=sentence(error))
                outcome.failures.append(failure)
        return outcome

    def _one(self, pair: Pair, frames: PairFrames, pair_hash: str, method: Method, outcome: Outcome) -> Outcome:
        made, seconds = None, 0.0
        key = hash_of(pair_hash, self._method_hashes[method.name], self._suite_hash)
        if method.about.get("kind") == "external":  # read from files, which may have changed
            made, seconds = self._make(method, frames)
            key = hash_of(key, made)
        found = self.store.read(key) if self.store and self.store.has_pixels(key) else None
        if found is None:
            if made is None:
                made, seconds = self._make(method, frames)
            found = self._measure(pair, frames, made, seconds)
            if self.store:
                if not self.store.has_pixels(key):
                    pictures = [row_of([frame], PANEL_PX) for frame in as_frames(made, frames).frames]
                    self.store.keep_pixels(key, pictures, example_rate(pair))
                self.store.keep(key, found)
        else:
            outcome = outcome._replace(num_reused=outcome.num_reused + 1)
        outcome.keys[method.name] = key
        outcome.features[method.name] = found.features
        outcome.rows.append(
            PairRow(
                pair_id=pair.pair_id, protocol=pair.protocol, species=pair.species, driver_species=pair.driver_species,
                method=method.name, source_identity=str(pair.facts.get("source_identity", "")),
                tags={name: str(pair.facts[name]) for name in TAGS if pair.facts.get(name)},
                pair_hash=pair_hash, method_hash=self._method_hashes[method.name], **found.facts,
            )
        )  # fmt: skip
        return outcome

    def _make(self, method: Method, frames: PairFrames) -> tuple[np.ndarray, float]:
        start = time.monotonic()
        made = method(frames)
        return np.asarray(made), round(time.monotonic() - start, 3)

    def _measure(self, pair: Pair, frames: PairFrames, made: np.ndarray, seconds: float) -> Finished:
        metrics, pictures = self.bench.suite(made, frames), as_frames(made, frames).frames
        if unknown := sorted(set(metrics) - set(BY_NAME)):
            raise KeyError(f"metrics/catalog.py does not say what {', '.join(unknown)} is")
        facts: dict[str, Any] = {
            "num_frames": len(made),
            "seconds": seconds,
            # Six digits: what a table can use, and the same from one process as from several.
            "metrics": {name: float(f"{value:.6g}") for name, value in metrics.items() if math.isfinite(value)},
            "worst_frame": worst_frame(pictures, frames),
            "curve": self._curve(frames, pictures),
        }
        features = {one.name: one.features(frames, pictures) for one in self.bench.set_measures}
        return Finished(facts, {name: arrays for name, arrays in features.items() if arrays})

    def _curve(self, frames: PairFrames, made: UInt8[np.ndarray, "T S S 3"]) -> dict[str, list[float | None]]:
        if frames.commanded is None or frames.sweep is None or self.bench.reader is None:
            return {}
        read = self.bench.reader(made, frames.species)
        return {"commanded": _numbers(frames.commanded), frames.sweep: _numbers(opening_of(read, frames.sweep))}

    def _keep_pair(self, pair: Pair, frames: PairFrames, pair_hash: str) -> str:
        """Source, driver and truth side by side."""
        assert self.store
        panels = pair_panels(frames)
        key = f"pair-{pair_hash}.{'+'.join(panels)}"
        if not self.store.has_pixels(key):
            rows = [row_of([panel[i] for panel in panels.values()], PANEL_PX) for i in range(len(frames.driving))]
            self.store.keep_pixels(key, rows, example_rate(pair))
        return key


def pair_panels(frames: PairFrames) -> dict[str, Any]:
    """What is shown of a pair itself, by name: sequences of one length."""
    panels: dict[str, Any] = {"source": [frames.source] * len(frames.driving)}
    is_self = frames.truth is not None and np.array_equal(frames.driving, frames.truth.frames)
    if not is_self:
        panels["driver"] = frames.driving
    if frames.truth is not None:
        panels["truth"] = frames.truth.frames
    return panels


def worst_frame(made: UInt8[np.ndarray, "T S S 3"], frames: PairFrames) -> int:
    """Number of the frame that is furthest from the truth; the middle one where there is no truth."""
    if frames.truth is None:
        return len(made) // 2
    errors = [float(np.abs(a.astype(np.int16) - b).mean()) for a, b in zip(made, frames.truth.frames, strict=True)]
    return int(np.argmax(errors))


def example_rate(pair: Pair) -> Fraction:
    """Frames per second at which a pair moves as fast as it was filmed, at least 5."""
    rate = Fraction(pair.fps / max(1, pair.stride) if pair.fps > 0 else 25).limit_denominator(1001)
    return max(Fraction(5), rate)


def sentence(error: Exception) -> str:
    """An error as one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _check_pair(frames: PairFrames) -> None:
    if not len(frames.driving):
        raise ValueError("the driver has no frames")
    if frames.truth is not None and frames.truth.frames.shape != frames.driving.shape:
        raise ValueError(
            f"the truth has {len(frames.truth.frames)} frames of {frames.truth.frames.shape[1]} px and the driver "
            f"{len(frames.driving)} of {frames.driving.shape[1]} px; both must be equal"
        )


def _numbers(values: np.ndarray) -> list[float | None]:
    return [round(float(value), 5) if math.isfinite(value) else None for value in values]
