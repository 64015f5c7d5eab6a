"""`python -m finetune.stage_two_check`: weights + held-out puppets -> are shoulders still, do eyes and lips obey?

Prints a table, writes a JSON report and a sheet of pictures beside it. Openings are judged by a ruler that did not
train the modules: another seed, other puppets.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from data_pipeline.cli_errors import user_errors
from data_pipeline.progress import track
from data_pipeline.records import Split
from data_pipeline.whole_file import write_text
from finetune.landmarks import OpeningRuler, load_ruler
from finetune.picture_files import save_png
from finetune.stage_two_faces import Face, faces, held_out_clips, performances
from finetune.stage_two_measures import Stage, Stillness, Sweep
from finetune.stage_two_report import report, table

SHEET_PX = 128


@dataclass(frozen=True, kw_only=True)
class CheckPlan:
    """What is checked; the fields are the command's options.

    Raises:
        ValueError: a number is below 1, or a split is unknown.
    """

    weights: str
    """The model: a name or a directory."""
    shards: str
    """Folder of shards with puppets and masks (lp-puppets, lp-curate)."""
    out: str
    """The JSON report; the sheet is written beside it (.png)."""
    judge: str
    """A ruler that took no part in training (`python -m finetune.ruler_training seed=1 first_identity=60000`)."""
    ruler: str = ""
    """The one that did; "" for opening_ruler.safetensors in the weights, if there is one."""
    splits: str = "val,test"
    faces: int = 3
    """Sources of each species."""
    drivers: int = 2
    """Performances that drive each source; people first."""
    frames: int = 4
    """Of each performance."""

    def __post_init__(self) -> None:
        for name in ("faces", "drivers", "frames"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give 1 or more")
        if unknown := set(self.splits.split(",")) - {"train", "val", "test"}:
            raise ValueError(f"splits={self.splits} has {sorted(unknown)[0]!r}; the splits are train, val, test")

    @property
    def split_names(self) -> list[Split]:
        """The splits, one by one."""
        return self.splits.split(",")  # pyright: ignore[reportReturnType]


def check(plan: CheckPlan) -> str:
    """Measure, write report and sheet, return the table.

    Raises:
        ValueError: weights, rulers or shards are missing or damaged.
    """
    from lp_models import load_pretrained, resolve_weights

    folder = Path(resolve_weights(plan.weights))
    judge, ruler = load_ruler(Path(plan.judge)), _training_ruler(plan, folder)
    clips = held_out_clips(Path(plan.shards), plan.split_names)
    stage = Stage(load_pretrained(folder))
    chosen = faces(clips, plan.faces)
    rows: list[Stillness] = []
    sweeps: list[Sweep] = []
    sheet: list[Tensor] = []
    for face in track(chosen, len(chosen), "checking", "faces"):
        one = stage.prepare(face)
        shown: list[Tensor] = []
        for n, driver in enumerate(performances(clips, face, plan.drivers, plan.frames)):
            for absolute in (False, True):
                found, moved, held = stage.stillness(one, driver, absolute)
                rows += found
                if n == 0 and not absolute:
                    shown = [driver.frames[-1:], moved[-1:], held[-1:]]
        pictures = [face.image, one.kept, *shown]
        for part in ("eyes", "lips"):
            swept, images = stage.sweep(one, part, ruler, judge)
            sweeps.append(swept)
            pictures += list(images[::2].split(1))
        sheet.append(_strip(pictures))
    found = {"plan": asdict(plan), "faces": [_named(face) for face in chosen], **report(rows, sweeps)}
    out = Path(plan.out)
    write_text(out, json.dumps(found, indent=1))
    save_png(out.with_suffix(".png"), _picture(sheet))
    return table(found)


def _training_ruler(plan: CheckPlan, folder: Path) -> OpeningRuler:
    """The ruler that the modules were trained with; the judge stands in where there is none."""
    path = Path(plan.ruler) if plan.ruler else folder / "opening_ruler.safetensors"
    return load_ruler(path if plan.ruler or path.is_file() else Path(plan.judge))


def _named(face: Face) -> dict[str, object]:
    return {"name": face.name, "species": face.species, "eyes": face.eyes[0].tolist(), "lips": float(face.lips)}


def _strip(pictures: Sequence[Float[Tensor, "1 3 _ _"]]) -> Float[Tensor, "3 h w"]:
    small = [
        torch.nn.functional.interpolate(p, (SHEET_PX, SHEET_PX), mode="bilinear", antialias=True)[0] for p in pictures
    ]
    return torch.cat(small, dim=2)


def _picture(strips: Sequence[Float[Tensor, "3 h w"]]) -> UInt8[np.ndarray, "H W 3"]:
    """Rows of source, repainted, driver, driven, stitched, eyes at 0 0.2 0.4 0.6 0.8, lips at the same."""
    width = max(strip.shape[2] for strip in strips)
    padded = [torch.nn.functional.pad(strip, (0, width - strip.shape[2])) for strip in strips]
    return (torch.cat(padded, dim=1).clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


@user_errors
def main() -> None:
    """Console entry."""
    import sys

    from data_pipeline.typed_options import read_options

    plan = read_options(CheckPlan, sys.argv[1:], "finetune.stage_two_check")
    print(check(plan))  # noqa: T201
    print(f"report: {plan.out}\nsheet: {Path(plan.out).with_suffix('.png')}")  # noqa: T201


if __name__ == "__main__":
    main()
