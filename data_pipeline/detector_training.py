"""A YOLO-pose dataset folder -> trained head-detector weights: the loop around ultralytics' network and loss.

On two CPU cores bfloat16, channels-last, squares that grow during training and a schedule that follows the clock train
about three times as many photos per minute as the stock trainer.
"""

import json
import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import numpy as np

from data_pipeline.detect import Frame, decode, detections_of, letterbox
from data_pipeline.head_augment import HeadAugmenter, LabelledImage
from data_pipeline.head_labels import read_photo
from data_pipeline.records import SPECIES, Detection
from data_pipeline.yolo import NUM_POINTS, new_pose_model, save_weights

if TYPE_CHECKING:
    import torch


def read_dataset(folder: Path, split: str, puppets: bool = False) -> list[LabelledImage]:
    """All photos (or all puppets) of images/<split> with the labels of labels/<split>, in memory, in name order.

    Raises:
        ValueError: there is no photo.
    """
    files = [f for f in sorted((folder / "images" / split).glob("*.jpg")) if f.name.startswith("puppets-") == puppets]
    if not files and not puppets:
        raise ValueError(f"{folder / 'images' / split} holds no jpg: run lp-detector train with data.root=DIR")
    photos = []
    for file in files:
        image = read_photo(file)
        height, width = image.shape[:2]
        label = folder / "labels" / split / f"{file.stem}.txt"
        lines = [line.split() for line in label.read_text().splitlines() if line.strip()] if label.is_file() else []
        table = np.array(lines, np.float64).reshape(-1, 5 + 3 * NUM_POINTS)
        centre, size = table[:, 1:3], table[:, 3:5]
        boxes = np.concatenate([centre - size / 2, centre + size / 2], axis=1) * [width, height, width, height]
        points = table[:, 5:].reshape(-1, NUM_POINTS, 3) * [width, height, 1]
        photos.append(
            LabelledImage(image, table[:, 0].astype(np.int64), boxes.astype(np.float32), points.astype(np.float32))
        )
    return photos


def collate(squares: list[LabelledImage]) -> "dict[str, torch.Tensor]":
    """Equal-sized squares -> the batch dict of ultralytics' loss: RGB 0-1, boxes and points as fractions."""
    import torch

    side = squares[0].image.shape[0]
    boxes = np.concatenate([s.boxes for s in squares]) / side
    points = np.concatenate([s.points for s in squares]) / np.array([side, side, 1], np.float32)
    xywh = np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1)
    images = torch.from_numpy(np.stack([s.image for s in squares])).permute(0, 3, 1, 2).float() / 255
    return {
        "img": images,
        "batch_idx": torch.cat([torch.full((len(s.classes),), float(i)) for i, s in enumerate(squares)]),
        "cls": torch.from_numpy(np.concatenate([s.classes for s in squares])).float()[:, None],
        "bboxes": torch.from_numpy(xywh.astype(np.float32)),
        "keypoints": torch.from_numpy(points.astype(np.float32)),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorTraining:
    """How to train: what is not said here is fixed. Ends after `epochs` or `minutes`, whichever comes first."""

    epochs: int = 400
    minutes: float = 60.0
    batch_size: int = 16
    sides_px: Sequence[int] = (160, 224)
    """Sides of the squares, stage by stage: cheap small ones while the coarse things are learnt."""
    stage_ends: Sequence[float] = (0.6, 1.0)
    """Share of the training at which each stage ends."""
    mosaic_until: float = 0.85
    learning_rate: float = 1.5e-3
    weight_decay: float = 5e-4
    warmup_steps: int = 150
    ema_decay: float = 0.999
    model_scale: str = "n"
    validate_every_min: float = 6.0
    threads: int = 2
    device: str = "cpu"
    bfloat16: bool = True
    seed: int = 0


class DetectorTrainer:
    """A dataset folder -> `last.pt` (everything, to go on), `best.pt` (averaged weights) and `log.jsonl` in `out`."""

    def __init__(
        self,
        config: DetectorTraining,
        dataset: Path,
        out: Path,
        validate: "Callable[[torch.nn.Module], dict[str, float]] | None" = None,
    ) -> None:
        import torch
        from torch.optim.swa_utils import AveragedModel

        torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        self.config, self.out, self.validate = config, out, validate
        self.device = torch.device(config.device)
        self.model = new_pose_model(config.model_scale).to(self.device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        decay = config.ema_decay

        def average(old: torch.Tensor, new: torch.Tensor, count: torch.Tensor | int) -> torch.Tensor:
            if not old.is_floating_point():
                return new
            keep = min(decay, (1 + float(count)) / (10 + float(count)))
            return old.lerp(new, 1 - keep)

        self.average = AveragedModel(self.model, avg_fn=average, use_buffers=True)
        photos = read_dataset(dataset, "train")
        self.augmenter = HeadAugmenter(
            photos=photos, puppets=read_dataset(dataset, "train", puppets=True), seed=config.seed
        )
        self.steps_per_epoch = max(1, len(photos) // config.batch_size)
        decayed = [p for p in self.model.parameters() if p.requires_grad and p.ndim > 1]
        plain = [p for p in self.model.parameters() if p.requires_grad and p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.99))
        self.step, self.spent_s, self.best = 0, 0.0, -math.inf
        self._resume()

    def _resume(self) -> None:
        import torch

        last = self.out / "last.pt"
        if not last.is_file():
            return
        state = torch.load(last, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.spent_s, self.best = state["step"], state["spent_s"], state["best"]
        # the augmenter goes on with fresh draws instead of repeating the first ones
        self.augmenter.rng = np.random.default_rng([self.config.seed, self.step])

    def progress(self) -> float:
        """Share of the training that is done: by steps or by the clock, whichever is further."""
        by_steps = self.step / (self.config.epochs * self.steps_per_epoch)
        return min(1.0, max(by_steps, self.spent_s / (60 * self.config.minutes)))

    def run(self) -> Path:
        """Train to the end (or go on where a stopped run left) and return the path of the best weights."""
        self.out.mkdir(parents=True, exist_ok=True)
        since_check_s, losses = 0.0, []
        stop, queue = Event(), Queue(maxsize=4)
        producer = Thread(target=self._produce, args=(queue, stop), daemon=True)
        producer.start()
        try:
            while self.progress() < 1.0:
                began = time.monotonic()
                item = queue.get()
                if isinstance(item, Exception):
                    raise item
                losses.append(self._train_step(item))
                took = time.monotonic() - began
                self.spent_s += took
                since_check_s += took
                if since_check_s >= 60 * self.config.validate_every_min:
                    self._check(losses)
                    since_check_s, losses = 0.0, []
            self._check(losses)
        finally:
            stop.set()
            while not queue.empty():
                queue.get_nowait()
            producer.join(timeout=10)
        return self.out / "best.pt"

    def _produce(self, queue: Queue, stop: Event) -> None:
        try:
            while not stop.is_set():
                done = self.progress()
                side = next(
                    s for s, end in zip(self.config.sides_px, self.config.stage_ends, strict=True) if done <= end
                )
                mosaic = done < self.config.mosaic_until
                squares = [self.augmenter.square(side, mosaic=mosaic) for _ in range(self.config.batch_size)]
                queue.put(collate(squares))
        except Exception as error:  # handed to the training thread, which raises it
            queue.put(error)

    def _autocast(self) -> AbstractContextManager:
        import torch

        if not self.config.bfloat16:
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def _train_step(self, batch: "dict[str, torch.Tensor]") -> list[float]:
        import torch

        done = self.progress()
        rate = self.config.learning_rate * (0.02 + 0.98 * (1 + math.cos(math.pi * done)) / 2)
        rate *= min(1.0, (self.step + 1) / self.config.warmup_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.model.train()
        if getattr(self.model, "criterion", None) is None:
            self.model.criterion = self.model.init_criterion()
        batch = {name: value.to(self.device) for name, value in batch.items()}
        with self._autocast():
            outputs = self.model(batch["img"].contiguous(memory_format=torch.channels_last))
        loss, parts = self.model.criterion(_as_float(outputs), batch)
        self.optimizer.zero_grad(set_to_none=True)
        (loss.sum() / len(batch["img"])).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 10.0)
        self.optimizer.step()
        self.average.update_parameters(self.model)
        self.step += 1
        return [float(value) for value in parts.values()]

    def _check(self, losses: list[list[float]]) -> None:
        import torch

        row: dict[str, Any] = {
            "step": self.step,
            "images": self.step * self.config.batch_size,
            "minutes": round(self.spent_s / 60, 2),
            "progress": round(self.progress(), 3),
            "losses": [round(float(v), 4) for v in np.mean(losses, axis=0)] if losses else [],
        }
        averaged = self.average.module.eval()
        score = float(self.step)
        if self.validate is not None:
            with torch.no_grad():
                row |= self.validate(averaged)
            score = row.get("score", score)
        if score >= self.best:
            self.best = score
            save_weights(averaged, self.out / "best.pt", self.config.model_scale)
        save_weights(averaged, self.out / "latest.pt", self.config.model_scale)
        state = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "spent_s": self.spent_s,
            "best": self.best,
        }
        part = self.out / "last.pt.part"
        torch.save(state, part)
        part.replace(self.out / "last.pt")
        with (self.out / "log.jsonl").open("a") as log:
            log.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)  # noqa: T201 - the one progress line of an hours-long program


def _as_float(outputs: object) -> Any:  # noqa: ANN401 - nested containers of tensors
    """Every tensor of a nested output in float32: the loss is computed exactly."""
    import torch

    if isinstance(outputs, torch.Tensor):
        return outputs.float()
    if isinstance(outputs, dict):
        return {name: _as_float(value) for name, value in outputs.items()}
    if isinstance(outputs, list | tuple):
        return type(outputs)(_as_float(value) for value in outputs)
    return outputs


@dataclass(kw_only=True)
class TorchHeads:
    """A network in training as a head detector: the same letterbox and decoding as the exported file."""

    model: "torch.nn.Module"
    side_px: int = 320
    threshold: float = 0.3
    max_iou: float = 0.5
    batch_size: int = 16

    def __call__(self, frames: list[Frame], first_frame: int = 0) -> list[list[Detection]]:
        """Heads of each frame, best first."""
        import torch

        device = next(self.model.parameters()).device
        found: list[list[Detection]] = []
        for start in range(0, len(frames), self.batch_size):
            boxed = [letterbox(frame, self.side_px) for frame in frames[start : start + self.batch_size]]
            images = torch.from_numpy(np.stack([b.square for b in boxed])).to(device).permute(0, 3, 1, 2).float() / 255
            with torch.no_grad():
                outputs = self.model(images)[0].float().cpu().numpy()
            for index, (box, output) in enumerate(zip(boxed, outputs, strict=True), start=start):
                heads = decode(output, len(SPECIES), self.threshold, self.max_iou)
                found.append(detections_of(heads, box, frames[index].shape, first_frame + index, list(SPECIES)))
        return found
