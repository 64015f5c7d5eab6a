"""Procedural cats, dogs, pandas and people: portraits from an identity code and a motion code, with exact truth."""

from data_pipeline.puppets.identity import Identity, sample_identity
from data_pipeline.puppets.landmarks import FLIPPED_LANDMARKS, LANDMARK_NAMES, NUM_LANDMARKS
from data_pipeline.puppets.motion import MOTION_NAMES, NEUTRAL, sample_performance, sample_stills
from data_pipeline.puppets.render import PuppetFrame, head_rotation, render

__all__ = [
    "FLIPPED_LANDMARKS",
    "LANDMARK_NAMES",
    "MOTION_NAMES",
    "NEUTRAL",
    "NUM_LANDMARKS",
    "Identity",
    "PuppetFrame",
    "head_rotation",
    "render",
    "sample_identity",
    "sample_performance",
    "sample_stills",
]
