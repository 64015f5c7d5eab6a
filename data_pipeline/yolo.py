"""Head-detector weights -> ONNX, detections; and the new network to train: the only file that uses ultralytics.

Ultralytics (AGPL-3.0) gives the network, its loss and, for `detector=yolo`, inference with anybody's weights.
"""

import hashlib
import json
import os
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from data_pipeline.records import SPECIES, Detection, Species

if TYPE_CHECKING:
    import torch

NUM_POINTS = 5
POINT_SIGMA = 0.07
"""Softness of the point loss as a share of the head's side: about the repeatability of the labels, doubled."""


def quiet_ultralytics() -> None:
    """Import ultralytics with its network look-ups, analytics, auto-installs and home-folder settings switched off.

    Its import also replaces `PIL.Image.open` by one that wants a HEIF package for whatever is no picture; undo that, or
    every later look at a video would fail.
    """
    settings = Path(tempfile.gettempdir()) / "pawtrait-ultralytics"
    for name, value in {
        "YOLO_OFFLINE": "true",
        "YOLO_AUTOINSTALL": "false",
        "YOLO_VERBOSE": "false",
        "YOLO_CONFIG_DIR": str(settings),
    }.items():
        os.environ.setdefault(name, value)
    Path(os.environ["YOLO_CONFIG_DIR"]).mkdir(parents=True, exist_ok=True)
    from PIL import Image

    pillows_own = Image.open
    import ultralytics.utils

    assert ultralytics.utils
    Image.open = pillows_own


def new_pose_model(scale: str = "n") -> "torch.nn.Module":
    """A YOLO11 pose network with random weights for our species and five points, and its loss gains set."""
    quiet_ultralytics()
    import torch
    import ultralytics
    import yaml
    from ultralytics.cfg import get_cfg
    from ultralytics.nn.tasks import PoseModel

    file = Path(ultralytics.__file__).parent / "cfg/models/11/yolo11-pose.yaml"
    layout = yaml.safe_load(file.read_text())
    if scale not in layout["scales"]:
        raise ValueError(f"model scale {scale!r} is unknown: choose one of {', '.join(layout['scales'])}")
    layout |= {"scale": scale, "kpt_shape": [NUM_POINTS, 3], "nc": len(SPECIES)}
    model = PoseModel(layout, ch=3, nc=len(SPECIES), data_kpt_shape=(NUM_POINTS, 3), verbose=False)
    model.args = get_cfg()  # pyright: ignore[reportArgumentType]
    model.names = dict(enumerate(SPECIES))
    model.kpt_oks_sigmas = torch.full((NUM_POINTS,), POINT_SIGMA)
    return model


def save_weights(model: "torch.nn.Module", path: Path, model_scale: str = "n") -> None:
    """Weights as a plain dict of tensors plus what is needed to build the network again."""
    import torch

    part = path.with_name(path.name + ".part")
    torch.save({"state": model.state_dict(), "model_scale": model_scale, "species": list(SPECIES)}, part)
    part.replace(path)


def load_weights(path: Path) -> "torch.nn.Module":
    """The network of a file that save_weights wrote; nothing is unpickled but tensors and plain values.

    Raises:
        ValueError: the file is missing or is something else.
    """
    import pickle

    import torch

    if not path.is_file():
        raise ValueError(f"the weights {path} do not exist: train first (lp-detector train out=DIR)")
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        model = new_pose_model(saved["model_scale"])
        model.load_state_dict(saved["state"])
    except (KeyError, RuntimeError, TypeError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path} is not a head detector that lp-detector trained: {error}") from error
    return model.eval()


def export_onnx(weights: Path, out: Path, side_px: int, card: dict[str, Any]) -> Path:
    """Write `out` (.onnx, fixed side, any batch) and its .json card with the file's sha256; return `out`.

    Batch normalisation is folded into the convolutions; the decoded output is what data_pipeline.detect.decode reads.

    Raises:
        ValueError: side_px is not a multiple of 32, or the ONNX file does not reproduce the network.
    """
    import onnx
    import onnxruntime
    import onnxslim
    import torch

    if side_px <= 0 or side_px % 32:
        raise ValueError(f"side_px={side_px} must be a positive multiple of 32, the network's largest stride")
    model = load_weights(weights).fuse(verbose=False)  # pyright: ignore[reportCallIssue]
    model.model[-1].export = True
    model.model[-1].format = "onnx"
    example = torch.rand(2, 3, side_px, side_px)
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(out.name + ".part")
    with torch.no_grad(), warnings.catch_warnings():
        # after slimming, what the newer exporter writes takes one batch size only; the older one announces its end
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (example,),
            str(part),
            opset_version=17,
            input_names=["images"],
            output_names=["heads"],
            dynamic_axes={"images": {0: "batch"}, "heads": {0: "batch"}},
            dynamo=False,
        )
        other = torch.rand(3, 3, side_px, side_px)  # not the example's batch size
        expected = model(other).numpy()
    onnx.save(onnxslim.slim(onnx.load(str(part))), str(part))
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    session = onnxruntime.InferenceSession(str(part), providers=["CPUExecutionProvider"])
    error = float(np.abs(session.run(None, {"images": other.numpy()})[0] - expected).max())
    if error > 0.05:  # boxes and points are pixels
        raise ValueError(f"the ONNX file differs from the network by {error:.3g} pixels: try another onnx version")
    sha256 = hashlib.sha256(part.read_bytes()).hexdigest()
    full = {"format": 1, "side_px": side_px, "species": list(SPECIES), **card, "max_error_px": error, "sha256": sha256}
    part.replace(out)
    card_part = out.with_suffix(".json.part")
    card_part.write_text(json.dumps(full, indent=2) + "\n")
    card_part.replace(out.with_suffix(".json"))
    return out


def classes_of(names: dict[int, str], wanted: Mapping[str | int, Species], path: Path) -> dict[int, Species]:
    """The model's class numbers that stand for our species.

    Args:
        names: the model's class numbers and names.
        wanted: class name or number -> our species.
        path: of the weights, for messages.

    Raises:
        ValueError: a species is unknown, or the model has none of the classes.
    """
    if unknown := sorted({str(species) for species in wanted.values()} - set(SPECIES)):
        raise ValueError(f"detector.species names {', '.join(unknown)}; choose from {', '.join(SPECIES)}")
    given: dict[str, Species] = {str(key): species for key, species in wanted.items()}
    known: dict[int, Species] = {}
    for index, name in names.items():
        # A name counts before a number: a model may call its classes "0" and "1" in another order.
        key = name if name in given else str(index)
        if key in given:
            known[index] = given[key]
    if not known:
        some = ", ".join(f"{index} {name}" for index, name in list(names.items())[:12])
        more = f" and {len(names) - 12} more" if len(names) > 12 else ""
        raise ValueError(
            f"{path} has none of the classes of detector.species ({', '.join(given)}); it has {some}{more}: "
            "set them by name or number, for example detector.species={15:cat,16:dog}"
        )
    return known


COCO_SPECIES: dict[str, Species] = {"person": "human", "cat": "cat", "dog": "dog", "panda": "panda"}


@dataclass(kw_only=True)
class UltralyticsDetector:
    """`detector=yolo`: any ultralytics weights, for people who have better ones than the shipped model.

    A model without five points per head (COCO boxes, say) gives whole animals instead of heads; it is refused unless
    `allow_boxes` says that this is wanted, and then the points are placed where an average face has them, score 0.

    Args:
        weights: path of an existing .pt or .onnx file; nothing is ever downloaded. A .pt is unpickled by
            ultralytics: only use files you trust.
        species: class of the model, its name or its number (COCO: cat 15, dog 16) -> our species; classes that are
            not listed are ignored.
        threshold: lowest score of a head.
        side_px: the longer side that frames are scaled to.
        device: cpu, cuda:0, …

    Raises:
        ValueError: at the first use, when the file is missing or the model cannot serve.
    """

    weights: str | Path
    species: dict[str | int, Species] = field(default_factory=lambda: {**COCO_SPECIES})
    threshold: float = 0.4
    max_iou: float = 0.5
    side_px: int = 320
    device: str = "cpu"
    allow_boxes: bool = False
    _model: Any = field(default=None, init=False, repr=False, compare=False)
    _species_of: dict[int, Species] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        """Without the loaded model; another process loads it again."""
        return {**self.__dict__, "_model": None, "_species_of": {}}

    def _load(self) -> Any:  # noqa: ANN401 - ultralytics is untyped
        if self._model is None:
            path = Path(self.weights)
            if not path.is_file():
                raise ValueError(f"the YOLO weights {path} do not exist: give detector.weights=FILE.pt")
            quiet_ultralytics()
            from ultralytics import YOLO

            model = YOLO(str(path))
            self._species_of = classes_of(dict(model.names), self.species, path)
            self._model = model
        return self._model

    def __call__(self, frames: list[UInt8[np.ndarray, "H W 3"]], first_frame: int = 0) -> list[list[Detection]]:
        """Heads of each frame, best first."""
        if not frames:
            return []
        results = self._load().predict(
            [np.ascontiguousarray(frame[..., ::-1]) for frame in frames],  # ultralytics takes BGR
            conf=self.threshold,
            iou=self.max_iou,
            agnostic_nms=True,
            imgsz=self.side_px,
            device=self.device,
            verbose=False,
        )
        return [self._detections(result, first_frame + index) for index, result in enumerate(results)]

    def _detections(self, result: Any, frame: int) -> list[Detection]:  # noqa: ANN401
        from data_pipeline.detect import TYPICAL_POINTS

        keypoints = result.keypoints
        given = None if keypoints is None else keypoints.data.cpu().numpy()
        if given is not None and given.shape[1:] != (NUM_POINTS, 3):
            given = None
        if given is None and not self.allow_boxes:
            raise ValueError(
                f"{self.weights} gives no five points per head: use a pose model of lp-detector train, "
                "or set detector.allow_boxes=true"
            )
        found = []
        for index, (box, score, label) in enumerate(
            zip(result.boxes.xyxy.cpu().numpy(), result.boxes.conf.tolist(), result.boxes.cls.tolist(), strict=True)
        ):
            species = self._species_of.get(int(label))
            if species is None:
                continue
            if given is not None:
                points = given[index].astype(np.float32)
            else:
                inside = np.array(TYPICAL_POINTS) * (box[2:] - box[:2]) + box[:2]
                points = np.concatenate([inside, np.zeros((NUM_POINTS, 1))], axis=1).astype(np.float32)
            found.append(
                Detection(
                    frame=frame,
                    species=species,
                    box_xyxy=box.astype(np.float32),
                    points_xy=np.ascontiguousarray(points[:, :2]),
                    point_scores=np.ascontiguousarray(points[:, 2]),
                    score=float(score),
                )
            )
        return sorted(found, key=lambda d: -d.score)
