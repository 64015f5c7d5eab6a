"""Weights and media -> animated portraits, and numbers that say how good they are."""

from evaluation.animator import Animation, Animator

__all__ = ["Animation", "Animator"]
