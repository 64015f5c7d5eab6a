"""Options -> loggers beside metrics.csv; their libraries are imported only when they are asked for."""

import os

from lightning.pytorch.loggers import Logger


def wandb(save_dir: str, project: str = "pawtrait", name: str | None = None, offline: bool = True) -> Logger:
    """Weights & Biases; offline runs lie in `save_dir`/wandb and can be sent later with `wandb sync`."""
    os.environ.setdefault("WANDB_MODE", "offline" if offline else "online")
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    from lightning.pytorch.loggers import WandbLogger

    return WandbLogger(project=project, name=name, save_dir=save_dir, offline=offline)


def tensorboard(save_dir: str, name: str = "tensorboard") -> Logger:
    """TensorBoard.

    Raises:
        ValueError: it is not installed.
    """
    from lightning.pytorch.loggers import TensorBoardLogger

    try:
        return TensorBoardLogger(save_dir=save_dir, name=name)
    except ModuleNotFoundError as error:
        raise ValueError("logger=tensorboard needs the package: pip install 'pawtrait[tensorboard]'") from error
