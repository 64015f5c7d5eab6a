"""The Hydra configuration of every program, as package data (`pkg://conf`)."""
