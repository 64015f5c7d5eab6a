"""Ways through the networks -> how long each part of a frame takes, how far pictures are apart, how much memory."""

import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from evaluation import machine
from lp_models import LivePortrait, LivePortraitConfig, source_keypoints
from lp_models.fast import FastPortrait, Precision
from lp_models.fast.warping import WarpSource
from lp_models.geometry import driven_keypoints
from lp_models.layers import SpectralConv2d

GAINS = (
    # Part of a weight's name, gain: spreads at which random networks neither die out nor saturate.
    ("resblocks_3d", 0.7), ("downsample_layers", 1.0), ("dwconv", 1.0), ("pwconv", 1.0), ("fc_kp", 0.25),
    ("fc_exp", 0.04), ("fc_scale", 0.08), ("fc_t.", 0.08), ("fc_pitch", 2.0), ("fc_yaw", 2.0), ("fc_roll", 2.0),
    ("mask.", 4.0), ("occlusion", 3.0), ("compress", 1.0), ("fourth", 1.0), ("mlp_gamma", 1.0), ("mlp_beta", 1.0),
    ("generator.fc.", 1.0), ("conv_img", 1.3), ("stitching.", 0.05),
)  # fmt: skip


class Scene(NamedTuple):
    """Inputs of one frame."""

    image: Tensor
    volume: Tensor
    x_s: Tensor
    x_d: Tensor
    x_ds: list[Tensor]
    """Several driving keypoint sets, among them x_d: errors are the worst of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One way through the networks; milliseconds are medians of wall time."""

    name: str
    motion_ms: float
    warping_ms: float
    generator_ms: float
    frame_ms: float
    frame_cpu_ms: float
    ratio: float
    """Frame time of the first row / this one's."""
    psnr_db: float
    """Against the plain fp32 pictures, the worst of several; infinite for equal ones."""
    memory_mib: float
    """Peak of a process of its own that loads the networks and makes two frames; NaN when not measured."""


class Way(NamedTuple):
    """How one engine runs the parts of a frame."""

    name: str
    read: Callable[[], Any]
    warp: Callable[[], Any]
    generate: Callable[[], Any]
    drive: Callable[[Tensor], Tensor]
    frames: int = 1
    """How many frames each call makes."""


def lively_model(config: LivePortraitConfig, seed: int = 0) -> LivePortrait:
    """A model with random weights whose pictures use the whole range, so that errors show as they would in use."""
    torch.manual_seed(seed)
    model = LivePortrait(config).eval()
    for name, value in model.state_dict().items():
        if name.endswith(("running_mean", "running_var")):
            value.uniform_(-0.2, 0.2) if name.endswith("mean") else value.uniform_(0.5, 1.5)
        elif value.ndim >= 2 and not name.endswith(("gamma", "beta")):
            gain = next((gain for part, gain in GAINS if part in name), 2**0.5)
            nn.init.normal_(value, std=gain * (value[0].numel()) ** -0.5)
        elif name.endswith(("grn.gamma", "grn.beta")):
            value.uniform_(-0.3, 0.3)
    model.motion.detector.fc_kp.bias.data.uniform_(-0.5, 0.5)
    for module in model.modules():
        if isinstance(module, SpectralConv2d):
            module.settle()  # the vectors belong to the weights that were there before
    return model


@torch.inference_mode()
def scene_of(model: LivePortrait, count: int = 3) -> Scene:
    """A smooth random picture, its keypoints, and driving keypoints from other pictures and from small random moves."""
    generator = torch.Generator().manual_seed(1)
    device = next(model.parameters()).device
    small = torch.rand(2, 3, 5, 5, generator=generator)
    side = model.config.image_px
    image = nn.functional.interpolate(small, size=(side, side), mode="bilinear", align_corners=True).to(device)
    own, other = (model.motion(image[i : i + 1]) for i in (0, 1))
    x_s = source_keypoints(own)
    x_ds = [driven_keypoints(own, other)]
    x_ds += [x_s + 0.05 * torch.randn(x_s.shape, generator=generator).to(device) for _ in range(count - 1)]
    return Scene(image[:1], model.appearance(image[:1]), x_s, x_ds[0], x_ds)


@torch.inference_mode()
def plain_way(model: LivePortrait, scene: Scene, name: str = "plain float32") -> Way:
    """The readable networks."""
    warp = model.warping(scene.volume, kp_source=scene.x_s, kp_driving=scene.x_d)
    return Way(
        name,
        lambda: model.motion(scene.image),
        lambda: model.warping(scene.volume, kp_source=scene.x_s, kp_driving=scene.x_d),
        lambda: model.paint(warp, scene.image),
        lambda x_d: model.drive(scene.volume, scene.x_s, x_d, scene.image),
    )


@torch.inference_mode()
def fast_way(
    model: LivePortrait, scene: Scene, precision: Precision, *, compiled: bool = False, frames: int = 1
) -> Way:
    """The inference twin in one precision; several frames at once are one way, whose times are divided by their number.

    Its error is that of every frame of the batch.
    """
    fast = FastPortrait(model, precision)
    if compiled:
        fast.compile_networks()
    source: WarpSource = fast.prepare(scene.volume, scene.x_s, scene.image)
    image, x_ds = scene.image.expand(frames, -1, -1, -1), scene.x_d.expand(frames, -1, -1)
    warp = fast.warping(source, x_ds)
    name = f"fast {precision}" + " compiled" * compiled + f", {frames} at once" * (frames > 1)
    return Way(
        name, lambda: fast.motion(image), lambda: fast.warping(source, x_ds), lambda: fast.paint(warp, source),
        lambda x_d: fast.drive(source, x_d.expand(frames, -1, -1)), frames,
    )  # fmt: skip


@torch.inference_mode()
def compared(
    ways: Sequence[Way], model: LivePortrait, scene: Scene, repeats: int, memory: Sequence[float]
) -> list[Row]:
    """Time all ways, taking turns, so that whatever else the machine does hits all; the first is the measure."""
    truth = [model.drive(scene.volume, scene.x_s, x_d, scene.image) for x_d in scene.x_ds]
    psnr = [
        min(psnr_db(way.drive(x_d), picture) for x_d, picture in zip(scene.x_ds, truth, strict=True)) for way in ways
    ]
    times: dict[str, list[dict[str, tuple[float, float]]]] = {way.name: [] for way in ways}
    for _ in range(repeats):
        for way in ways:
            parts: dict[str, Callable[[], Any]] = {
                "motion": way.read,
                "warping": way.warp, "generator": way.generate, "frame": lambda way=way: way.drive(scene.x_d),
            }  # fmt: skip
            times[way.name].append({part: once(call) for part, call in parts.items()})
    rows: list[Row] = []
    for way, error, mib in zip(ways, psnr, memory, strict=True):
        taken = times[way.name]
        wall = {part: statistics.median(t[part][0] for t in taken) / way.frames for part in taken[0]}
        frame = wall["motion"] + wall["frame"]
        first = rows[0].frame_ms if rows else frame
        rows.append(
            Row(
                name=way.name, motion_ms=wall["motion"], warping_ms=wall["warping"], generator_ms=wall["generator"],
                frame_ms=frame, ratio=first / frame, psnr_db=error, memory_mib=mib,
                frame_cpu_ms=statistics.median(t["motion"][1] + t["frame"][1] for t in taken) / way.frames,
            )
        )  # fmt: skip
    return rows


def psnr_db(picture: Tensor, truth: Tensor) -> float:
    """10 log10(1 / MSE) of pictures in 0-1."""
    error = float((picture - truth).square().mean())
    return float("inf") if error == 0 else -10 * float(torch.log10(torch.tensor(error)))


def once(call: Callable[[], Any]) -> tuple[float, float]:
    """Wall and CPU milliseconds of one call, the GPU's work included."""
    _wait()
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    _wait()
    return 1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - cpu)


def timed(call: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Median wall and CPU milliseconds after one call that warms up."""
    call()
    taken = [once(call) for _ in range(repeats)]
    return statistics.median(t[0] for t in taken), statistics.median(t[1] for t in taken)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def peak_memory_mib(kind: str, precision: str, config: LivePortraitConfig, weights: str | None) -> float:
    """Peak resident memory of a fresh process that loads the networks and makes two frames.

    Raises:
        RuntimeError: the process failed.
    """
    request = json.dumps({"kind": kind, "precision": precision, "config": config.as_dict(), "weights": weights})
    done = subprocess.run(
        [sys.executable, "-m", "evaluation.speed", request], capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"measuring the memory of {kind} failed: {done.stderr.strip().splitlines()[-1]}")
    return float(done.stdout.strip().splitlines()[-1])


@torch.inference_mode()
def _measured_memory(request: dict[str, Any]) -> float:
    import numpy as np

    from evaluation.engine import Engine
    from lp_models import load_pretrained

    weights = request["weights"]
    model = load_pretrained(weights) if weights else lively_model(LivePortraitConfig.from_dict(request["config"]))
    engine = Engine(model, kind=request["kind"], precision=request["precision"] or None)
    del model
    side = engine.input_px
    crops = np.random.default_rng(0).integers(0, 255, (3, side, side, 3), dtype=np.uint8)
    source, motion = engine.prepare(crops[0]), engine.read_motion(crops[1:])
    from evaluation.driving import DrivingOptions

    x_d = engine.keypoints(source, motion, motion.frames(0, 1), DrivingOptions(), stitching=True, is_still=False)
    for _ in engine.render(source, x_d):
        pass
    return machine.peak_memory_mib()


def as_dicts(rows: Sequence[Any]) -> list[dict[str, Any]]:
    """Rows for JSON, which knows neither an infinite PSNR nor memory that was not measured: null stands for both."""
    return [{k: v if isinstance(v, str) or math.isfinite(v) else None for k, v in asdict(row).items()} for row in rows]


if __name__ == "__main__":
    print(_measured_memory(json.loads(sys.argv[1])))  # noqa: T201 - the answer to `peak_memory_mib`
