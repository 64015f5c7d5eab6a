"""A function -> the same function on several processes that talk by gloo, as torchrun would start them."""

import multiprocessing
import os
import socket
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _start(rank: int, world: int, port: int, folder: str, work: Callable[..., Any], args: tuple[Any, ...]) -> None:
    from lightning.fabric.utilities.rank_zero import rank_zero_only

    os.environ.update({
        "RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0", "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "tests", "GLOO_SOCKET_IFNAME": "lo", "TORCHELASTIC_USE_AGENT_STORE": "False",
    })  # fmt: skip
    # Lightning read the rank when it was imported, in the parent.
    rank_zero_only.rank = rank
    torch.set_num_threads(1)
    try:
        torch.save(work(rank, *args), Path(folder) / f"{rank}.pt")
    except SystemExit:
        raise
    except BaseException:
        (Path(folder) / f"{rank}.txt").write_text(traceback.format_exc())
        os._exit(1)
    # Without the interpreter's farewell: forked children must not run the parent's exit handlers.
    os._exit(0)


def exit_codes(world: int, work: Callable[..., Any], *args: Any, folder: str, timeout_s: float = 120) -> list[int]:
    """Run `work(rank, *args)` on each of `world` forked processes; what they return goes to folder/RANK.pt."""
    context, port = multiprocessing.get_context("fork"), free_port()
    processes = [context.Process(target=_start, args=(rank, world, port, folder, work, args)) for rank in range(world)]
    for process in processes:
        process.start()
    codes = []
    for process in processes:
        process.join(timeout_s)
        if process.is_alive():
            process.kill()
            process.join()
            codes.append(-1)
        else:
            codes.append(process.exitcode)
    return codes


def on_ranks(world: int, work: Callable[..., Any], *args: Any, timeout_s: float = 120) -> list[Any]:
    """What each process returns; fails with the first one's traceback."""
    with tempfile.TemporaryDirectory() as folder:
        codes = exit_codes(world, work, *args, folder=folder, timeout_s=timeout_s)
        told = [path.read_text() for path in sorted(Path(folder).glob("*.txt"))]
        assert codes == [0] * world, f"exit codes {codes}\n" + "\n".join(told)
        return [torch.load(Path(folder) / f"{rank}.pt", weights_only=False) for rank in range(world)]
