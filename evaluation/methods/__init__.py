"""A pair -> frames: the networks under test, the baselines that they must beat, and what others have made."""

from evaluation.methods.baselines import CopySource, SimilarityWarp, similarity
from evaluation.methods.external import External
from evaluation.methods.method import Method
from evaluation.methods.network import Network, unique_names, weights_hash
from evaluation.methods.thin_plate import ThinPlateWarp

__all__ = [
    "CopySource", "External", "Method", "Network", "SimilarityWarp", "ThinPlateWarp", "similarity", "unique_names",
    "weights_hash",
]  # fmt: skip
