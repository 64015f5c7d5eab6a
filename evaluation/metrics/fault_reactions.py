"""Planted faults in growing doses on several stages -> a page that says how each metric reacts.

`python -m evaluation.metrics.fault_reactions out=FILE.md stages=3`
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from data_pipeline.cli_errors import user_errors
from data_pipeline.typed_options import read_options
from data_pipeline.whole_file import write_text
from evaluation.metrics.fault_page import fault_page
from evaluation.metrics.planted_faults import FAULTS, STAGES, Stage
from evaluation.metrics.reaction import reactions
from evaluation.metrics.suite import MetricSuite, SetMeasure, as_frames
from evaluation.protocols.pairs import PairFrames

OTHERS = (1, 4, 6, 8)
"""Numbers of the individuals that fill the gallery, among them those that are swapped in on the stages."""
PROGRAM = "evaluation.metrics.fault_reactions"


@dataclass
class Everything:
    """Measures one result with a suite and with set measures, as if the pair were all of a run.

    Galleries are filled with the first frames of other individuals.
    """

    suite: MetricSuite
    of_set: Sequence[SetMeasure] = ()
    _others: dict[tuple[str, str], list[tuple[str, dict[str, np.ndarray]]]] = field(default_factory=dict)

    def __call__(self, result: np.ndarray, pair: PairFrames) -> dict[str, float]:
        """All numbers."""
        values, made = self.suite(result, pair), as_frames(result, pair).frames
        for measure in self.of_set:
            found = measure.features(pair, made)
            if found:
                others = self._fill(measure, pair) if "source" in found else []
                values |= measure.values([("this", found), *others])
        return values

    def _fill(self, measure: SetMeasure, pair: PairFrames) -> list[tuple[str, dict[str, np.ndarray]]]:
        place = measure.name, pair.species
        if place not in self._others:
            entries = []
            for index in OTHERS:
                stage = Stage(species=pair.species, index=index, num_frames=2, size_px=pair.source.shape[0])
                found = measure.features(stage.pair, stage.truth)
                entries.append((str(index), found | {"result": found["result"][:0]}))  # in the gallery, not asked about
            self._others[place] = entries
        return self._others[place]


def everything() -> Everything:
    """All measures that need no file of the user: the shipped detector, face reader and judge, and the stand-ins."""
    from data_pipeline.detect import OnnxHeadDetector
    from evaluation.bench import expression_deltas
    from evaluation.methods import Network
    from evaluation.metrics.motion import KeypointDeltas, MotionFidelity
    from evaluation.metrics.reader import FaceReader
    from evaluation.metrics.standard import standard_measures

    detector = OnnxHeadDetector(flip=False)
    measures = standard_measures(detector)
    deltas = KeypointDeltas(read_motion=partial(expression_deltas, Network.from_pretrained("judge", "starter")))
    extra = [*measures.per_pair, MotionFidelity(reader=FaceReader()), deltas]
    return Everything(replace(MetricSuite(detector=detector, extra=extra), detector_every=1), measures.of_set)


@dataclass(frozen=True, kw_only=True)
class Order:
    """What the command makes; the fields are its options.

    Raises:
        ValueError: there are not so many stages.
    """

    out: str
    """The page."""
    stages: int = len(STAGES)
    """How many, from the easiest on."""

    def __post_init__(self) -> None:
        if not 1 <= self.stages <= len(STAGES):
            raise ValueError(f"stages={self.stages} is out of range; give 1 to {len(STAGES)}")


@user_errors
def main() -> None:
    """Write the page about the catalog's metrics under all faults."""
    from evaluation.machine import provenance

    order = read_options(Order, sys.argv[1:], PROGRAM)
    measure = everything()
    found = [one for stage in STAGES[: order.stages] for one in reactions(measure, stage)]
    facts = provenance()
    code = ", ".join(facts[name] for name in ("code", "commit") if name in facts)
    said = f"Written by `python -m {PROGRAM} {' '.join(sys.argv[1:])}` ({code}); do not edit."
    write_text(Path(order.out), fault_page(found, FAULTS, said))
    sys.stdout.write(f"made {order.out}\n")


if __name__ == "__main__":
    main()
