"""Data -> pairs of source and driver with the frames that should come out, where somebody knows them."""

from evaluation.pair_folder import file_name
from evaluation.protocols.benchmark import PuppetBenchmark
from evaluation.protocols.cross import HumanAnimal, PuppetsCross, SameSpecies
from evaluation.protocols.export import export
from evaluation.protocols.manifest import manifest_text, write_manifest
from evaluation.protocols.pairs import Pair, PairFrames, Sweep, Truth
from evaluation.protocols.plan import LIMITS, SHORTEST_FRAMES, Size, balanced
from evaluation.protocols.protocol import PairProtocol
from evaluation.protocols.reenactment import Forgetting, SelfReenactment
from evaluation.protocols.sweeps import EyesSweep, LipsSweep

__all__ = [
    "LIMITS", "SHORTEST_FRAMES", "EyesSweep", "Forgetting", "HumanAnimal", "LipsSweep", "Pair", "PairFrames",
    "PairProtocol", "PuppetBenchmark", "PuppetsCross", "SameSpecies", "SelfReenactment", "Size", "Sweep",
    "Truth", "balanced", "export", "file_name", "manifest_text", "write_manifest",
]  # fmt: skip
