"""The plain networks -> the same pictures, sooner: inference twins made by exact algebra, packed kernels, bfloat16.

`lp_models/*.py` stays the readable truth that is trained; tests/lp_models/fast holds the two together.
"""

from lp_models.fast.portrait import FastPortrait, Precision, best_precision

__all__ = ["FastPortrait", "Precision", "best_precision"]
