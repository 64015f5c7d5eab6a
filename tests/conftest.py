"""Fixtures of every test: no network, one thread, a fixed seed, and the real media where they are at hand."""

import os
import socket
from pathlib import Path

import pytest

for name, value in {
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "YOLO_OFFLINE": "true",
    "YOLO_AUTOINSTALL": "false",
    "ORT_DISABLE_TELEMETRY": "1",
    "WANDB_MODE": "offline",
    "WANDB_ERROR_REPORTING": "false",
}.items():
    os.environ.setdefault(name, value)

REPO = Path(__file__).resolve().parent.parent


@pytest.fixture
def shared_data() -> Path:
    """The real media kept beside the repository; not part of a user's clone."""
    folder = REPO.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the real media are not here ({folder})")
    return folder


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    real_connect = socket.socket.connect

    def refuse(self: socket.socket, address: object) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            host = address[0] if isinstance(address, tuple) else address
            if host not in ("127.0.0.1", "::1", "localhost"):
                raise OSError(f"tests do not use the network (tried {address})")
        real_connect(self, address)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(autouse=True)
def _one_thread_and_seed() -> None:
    import sys

    import numpy as np

    np.random.seed(0)  # noqa: NPY002
    if "torch" in sys.modules:
        import torch

        torch.manual_seed(0)
        torch.set_num_threads(1)
