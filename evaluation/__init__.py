"""Weights and media -> animated portraits, and numbers that say how good they are."""
