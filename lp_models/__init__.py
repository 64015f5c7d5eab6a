"""The LivePortrait networks, their geometry and their checkpoints: pure torch, importable alone."""
