"""The options of lp-evaluate -> the methods and measures of a run, made anew in each process."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from evaluation.engine import chunks
from evaluation.methods import (
    CopySource,
    External,
    Method,
    Network,
    SimilarityWarp,
    ThinPlateWarp,
    unique_names,
    weights_hash,
)
from evaluation.pair_work import Bench
from evaluation.side_by_side import resized

STITCHING = {"false": (False,), "true": (True,), "both": (False, True)}


def build_bench(options: dict[str, Any], process: int = 0) -> Bench:
    """Baselines first, the weights in question last, and everything that measures.

    Args:
        options: the composed configuration in plain types.
        process: number of the process; several GPUs are shared out by it.

    Raises:
        ValueError: weights or a network cannot be loaded, or an option is wrong.
    """
    from hydra.utils import instantiate

    from evaluation.metrics.motion import KeypointDeltas, MotionFidelity
    from evaluation.metrics.perceptual import Lpips
    from evaluation.metrics.reader import FaceReader
    from evaluation.metrics.standard import standard_measures
    from evaluation.metrics.suite import MetricSuite

    detector = instantiate(options["detector"], _convert_="all") if options.get("detector") else None
    measures = standard_measures(detector, options["networks"])
    files = {name: weights_hash(path) for name, path in measures.files.items()}
    lpips = None
    if options["lpips_weights"]:
        path = Path(options["lpips_weights"])
        lpips = Lpips.from_file(path)
        files["lpips"] = weights_hash(path)
    reader = FaceReader()
    judge = None
    if options["judge"]:  # the same for all methods of all runs, so that their numbers can be compared
        device = device_of(str(options["device"]), process)
        judge = Network.from_pretrained("judge", options["judge"], device=device, batch_frames=options["batch_frames"])
        files["judge"] = str(judge.about["sha256"])
    deltas = KeypointDeltas(read_motion=partial(expression_deltas, judge) if judge else None)
    return Bench(
        methods=build_methods(options, process),
        suite=MetricSuite(
            lpips=lpips, detector=detector, extra=[*measures.per_pair, MotionFidelity(reader=reader), deltas]
        ),
        set_measures=measures.of_set,
        reader=None if reader.missing() else reader,
        plug_ins=files,
    )


def expression_deltas(judge: Network, crops: UInt8[np.ndarray, "T S S 3"]) -> Float[np.ndarray, "T K 3"]:
    """What the motion network of a method sees in crops of any side: how each keypoint leaves its place at rest."""
    engine = judge.engine
    parts = []
    for chunk in chunks(iter(crops), engine.batch_frames):
        scaled = np.stack([resized(frame, engine.input_px) for frame in chunk])
        parts.append(engine.read_motion(scaled).delta.float().cpu().numpy())
    return np.concatenate(parts)


def build_methods(options: dict[str, Any], process: int = 0) -> list[Method]:
    """The methods that the options name, in the order of the tables: baselines, others' predictions, networks.

    Raises:
        ValueError: there is none, weights cannot be loaded, or a folder holds no predictions.
    """
    chosen = options["methods"]
    made: list[Method] = []
    made += [CopySource()] if chosen["copy_source"] else []
    made += [SimilarityWarp()] if chosen["affine"] else []
    made += [ThinPlateWarp()] if chosen["tps"] else []
    folders = chosen["external"] or []
    for folder in folders if isinstance(folders, list) else [folders]:
        made += External.all_in(Path(folder), resize=chosen["external_resize"])
    made += _networks(options, process)
    if not made:
        raise ValueError("there is no method; give weights=DIR, methods.external=DIR, or methods.copy_source=true")
    return made


def _networks(options: dict[str, Any], process: int) -> list[Method]:
    weights = [] if options["weights"] is None else options["weights"]
    weights = [str(one) for one in (weights if isinstance(weights, list) else [weights])]
    before = options["baseline_weights"]
    folders = [*([str(before)] if before else []), *weights]
    names = ["before", "after"] if before and len(folders) == 2 else unique_names(folders)
    stitchings = STITCHING.get(str(options["stitching"]).lower())
    if stitchings is None:
        raise ValueError(f"stitching={options['stitching']} is unknown; choose false, true or both")
    common = {
        "multiplier": float(options["multiplier"]), "batch_frames": options["batch_frames"],
        "device": device_of(str(options["device"]), process),
    }  # fmt: skip
    made: list[Method] = []
    for name, folder in zip(names, folders, strict=True):
        for stitching in stitchings:
            said = f"{name} stitched" if stitching and len(stitchings) > 1 else name
            network = Network.from_pretrained(said, folder, stitching=stitching, **common)
            network.about["multiplier"] = common["multiplier"]
            made.append(network)
    return made


def device_of(name: str, process: int) -> str:
    """The device of a process: `auto` and `cuda` share several GPUs out, other names stay."""
    import torch

    from evaluation.animator import usable_device

    device = usable_device(name)
    count = torch.cuda.device_count()
    return f"cuda:{process % count}" if device == "cuda" and count > 1 else device
