"""A run's options -> the callbacks that show it: numbers, bar, pictures, videos, facts."""

from pathlib import Path

import lightning
import torch

from finetune.callbacks import Bar, Facts, Grids, Numbers, Samples, SpeciesNumbers
from finetune.datamodule import PairData
from finetune.flops import measured_peak_flops, row_flops
from finetune.held_out_clip import held_out_clip
from finetune.recipe import Recipe
from finetune.throughput import Throughput


def watchers(
    module: Recipe, data: PairData, out: Path, *, log_every: int, grid_every: int, grid_rows: int,
    peak_tflops: float = 0.0, species_rows: int = 24,
) -> list[lightning.Callback]:  # fmt: skip
    """Everything that a run shows, in the order in which it happens.

    Args:
        module: the recipe.
        data: gives the rows and the clip that are looked at.
        out: the run's folder.
        log_every: steps between rows of metrics.csv.
        grid_every: steps between pictures, videos and numbers by species; 0 for none.
        grid_rows: rows of the pictures.
        peak_tflops: of the device, as its maker gives it; 0 leaves mfu_frac out, -1 measures a matrix product.
        species_rows: rows of the numbers by species.
    """
    cross_frac = data.mixture.cross_frac
    peak = 1e12 * peak_tflops if peak_tflops >= 0 else measured_peak_flops(_device(module))
    speed = Throughput(flops_per_row=row_flops(module, cross_frac) if peak else 0.0, peak_flops=peak)
    found: list[lightning.Callback] = [
        Numbers(module=module, path=out / "metrics.csv", every=log_every, throughput=speed),
        Bar(module=module, what=f"training {module.kind}"),
        Facts(out=out, shards=Path(data.shards)),
    ]
    if not grid_every:
        return found
    folder = out / "samples"
    found += [
        Grids(module=module, folder=folder, batch=data.watched(grid_rows), every=grid_every),
        SpeciesNumbers(
            module=module, path=out / "species.csv", batch=data.watched(species_rows), every=grid_every
        ),
    ]  # fmt: skip
    clip = held_out_clip(data)
    if clip is not None:
        found.append(Samples(module=module, folder=folder, clip=clip, every=grid_every))
    return found


def _device(module: Recipe) -> torch.device:
    # Lightning moves the module later; what is to be measured is the device that it will move to.
    return torch.device("cuda") if torch.cuda.is_available() else module.device
