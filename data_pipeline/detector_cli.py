"""`lp-detector train|evaluate|export`: label tables -> weights, numbers, and the ONNX file of `detector=starter`."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from data_pipeline.cli_errors import user_errors
from data_pipeline.detect import HeadDetector, OnnxHeadDetector
from data_pipeline.detector_metrics import judge, summarise, sweep
from data_pipeline.head_labels import HeadPhoto, read_labels, read_people, read_photo, read_puppets, write_dataset
from data_pipeline.progress import track
from data_pipeline.records import Detection

if TYPE_CHECKING:
    import torch

SWEEP_FLOOR = 0.05
THRESHOLDS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.8)
GOALS = {"recall50": 0.9, "point_error_frac": 0.08, "false_heads": 1.0}
"""What the shipped detector should reach on the val split of the heads set (docs/detector.md)."""


def detect_all(
    detector: HeadDetector, photos: list[HeadPhoto], what: str = "detecting heads"
) -> tuple[list[list[Detection]], float]:
    """Detections of every photo, and the milliseconds that one photo took (reading it not counted)."""
    found: list[list[Detection]] = []
    spent_s = 0.0
    for photo in track(photos, len(photos), what, "photos"):
        image = read_photo(photo.path)
        began = time.perf_counter()
        found += detector([image])
        spent_s += time.perf_counter() - began
    return found, 1000 * spent_s / max(1, len(photos))


def evaluated(detector: HeadDetector, photos: list[HeadPhoto]) -> dict[str, Any]:
    """All numbers of a detector on labelled photos, at its own threshold and over a sweep where it has one."""
    judged = [photo for photo in photos if photo.complete or photo.heads]
    rows = []
    if isinstance(detector, OnnxHeadDetector):  # once at a low threshold serves every higher one
        threshold = detector.used_threshold
        detections, photo_ms = detect_all(replace(detector, threshold=min(SWEEP_FLOOR, threshold)), judged)
        rows = sweep(judged, detections, THRESHOLDS)
        detections = [[d for d in found if d.score >= threshold] for found in detections]
    else:
        threshold = getattr(detector, "threshold", None)
        detections, photo_ms = detect_all(detector, judged)
    numbers = summarise(judge(photo, found) for photo, found in zip(judged, detections, strict=True))
    overall = numbers["overall"]
    assert isinstance(overall, dict)
    return {
        "format": 1,
        "threshold": threshold,
        "match_iou": 0.5,
        "photos": len(judged),
        "photos_not_judged": len(photos) - len(judged),
        **{name: overall[name] for name in ("recall50", "precision50", "point_error_frac")},
        **numbers,
        "photo_ms": round(photo_ms, 1),
        "sweep": rows,
    }


def table(numbers: dict[str, Any]) -> str:
    """The numbers as a table for the terminal, one line per species and subset."""
    names = ("heads", "recall50", "recall50_any_species", "precision50", "species_accuracy", "point_error_frac")
    lines = ["  ".join([f"{'':18s}", "heads", "recall50", "(any sp.)", "precision50", "species ok", "point error"])]
    groups = {"all": numbers["overall"], **numbers["species"], **numbers["subsets"]}
    for group, scores in groups.items():
        cells = ["-" if scores.get(name) is None else f"{scores[name]:g}" for name in names]
        widths = (5, 8, 9, 11, 10, 11)
        lines.append("  ".join([f"{group:18s}", *(c.rjust(w) for c, w in zip(cells, widths, strict=True))]))
    false = "-" if numbers["false_heads"] is None else f"{numbers['false_heads']:g}"
    lines.append(f"false heads on 10 photos without any: {false} ({numbers['negative_photos']} such photos)")
    return "\n".join(lines)


def goals_met(numbers: dict[str, Any]) -> dict[str, dict[str, bool]]:
    """Which goals each species reaches; false heads belong to all species together."""
    met: dict[str, dict[str, bool]] = {}
    for name, scores in {"overall": numbers["overall"], **numbers["species"]}.items():
        error = scores["point_error_frac"]
        met[name] = {
            "recall50": scores["recall50"] is not None and scores["recall50"] >= GOALS["recall50"],
            "point_error_frac": error is not None and error <= GOALS["point_error_frac"],
        }
    if numbers["false_heads"] is not None:
        met["overall"]["false_heads"] = numbers["false_heads"] <= GOALS["false_heads"]
    return met


def write_json(path: Path, content: object) -> None:
    """A JSON file that is whole or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(content, indent=2) + "\n")
    part.replace(path)


def save_config(config: DictConfig, path: Path) -> None:
    """The composed options beside what they made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(OmegaConf.to_yaml(config))


def evaluate(config: DictConfig) -> None:
    """Measure a detector on a split of a label table and write metrics.json."""
    out = Path(config.out)
    photos = read_labels(Path(config.data.root), config.data.labels, config.split)
    if not photos:
        raise ValueError(f"{Path(config.data.root) / config.data.labels} has no row with split={config.split}")
    numbers = evaluated(instantiate(config.detector), photos)
    numbers |= {"split": config.split, "labels": str(Path(config.data.root) / config.data.labels)}
    numbers |= {"detector": OmegaConf.to_container(config.detector), "goals": GOALS, "goals_met": goals_met(numbers)}
    write_json(out, numbers)
    save_config(config, out.with_name(f"{out.stem}.config.yaml"))
    print(table(numbers))
    print(f"wrote {out} ({numbers['photos']} photos, {numbers['photo_ms']:g} ms each)")


def dataset_photos(config: DictConfig) -> Iterator[tuple[HeadPhoto, np.ndarray]]:
    """Every photo that can be trained on or scored: heads, people and puppets of the options."""
    photos = [p for p in read_labels(Path(config.data.root), config.data.labels) if p.complete and p.split in SPLITS]
    for photo in track(photos, len(photos), "reading photos", "photos"):
        yield photo, read_photo(photo.path)
    if config.data.people is not None:
        for photo, image in track(read_people(Path(config.data.people)), None, "reading people", "frames"):
            if photo.complete:
                yield photo, image
    if config.data.puppets is not None:
        yield from track(read_puppets(Path(config.data.puppets)), None, "reading puppets", "frames")


SPLITS = ("train", "val")


def validator(dataset: Path, side_px: int, limit_people: int = 40) -> "Callable[[torch.nn.Module], dict[str, Any]]":
    """A function that scores a network on the dataset's val split: what the trainer keeps its best weights by."""
    from data_pipeline.detector_training import TorchHeads

    photos = read_labels(dataset, "labels.csv", "val")
    people = [p for p in photos if p.heads and p.heads[0].species == "human"]
    step = max(1, len(people) // limit_people)
    skipped = {p.path for index, p in enumerate(people) if index % step}
    photos = [p for p in photos if p.path not in skipped]
    images = [read_photo(photo.path) for photo in photos]

    def validate(model: "torch.nn.Module") -> dict[str, Any]:
        found = TorchHeads(model=model, side_px=side_px, threshold=0.1)(images)
        best = max(sweep(photos, found, THRESHOLDS[1:10]), key=_worth)
        kept = [[d for d in heads if d.score >= (best["threshold"] or 0)] for heads in found]
        numbers = summarise(judge(photo, heads) for photo, heads in zip(photos, kept, strict=True))
        recalls = {name: scores["recall50"] for name, scores in numbers["species"].items()}  # type: ignore[attr-defined]
        return {"score": _worth(best), **best, "recall50_per_species": recalls}

    return validate


def _worth(row: dict[str, Any]) -> float:
    """One number to choose weights and thresholds by: recall and precision, then points, false heads above 1 in 10."""
    recall, precision = row["recall50"] or 0.0, row["precision50"] or 0.0
    false_heads = row["false_heads"] or 0.0
    point_error = 0.2 if row["point_error_frac"] is None else row["point_error_frac"]
    return round(recall + 0.25 * precision - 2 * point_error - 0.1 * max(0.0, false_heads - 1.0), 4)


def train(config: DictConfig) -> None:
    """Make the dataset folder, train on it, score the best weights."""
    from data_pipeline.detector_training import DetectorTrainer, DetectorTraining

    out = Path(config.out)
    dataset = out / "dataset"
    save_config(config, out / "config.yaml")
    if not (dataset / "labels.csv").is_file():
        counts = write_dataset(dataset, dataset_photos(config))
        print("dataset:", ", ".join(f"{name} {count}" for name, count in counts.items()))
    training: DetectorTraining = instantiate(config.training)
    trainer = DetectorTrainer(training, dataset, out, validator(dataset, config.side_px))
    weights = trainer.run()
    print(f"trained {trainer.step} steps in {trainer.spent_s / 60:.1f} min: {weights}, log {out / 'log.jsonl'}")
    print(f"next: lp-detector export weights={weights} data.root={dataset} out={out / 'head_detector.onnx'}")


def export(config: DictConfig) -> None:
    """Write weights as ONNX with a card; the threshold is chosen on the val split unless it is given."""
    from data_pipeline.yolo import export_onnx

    if config.weights is None:
        raise ValueError("export needs weights=FILE.pt, the best.pt of a training (lp-detector train)")
    weights, out = Path(config.weights), Path(config.out)
    if out.suffix != ".onnx":
        raise ValueError(f"out={out} must end with .onnx")
    threshold = config.threshold
    card: dict[str, Any] = {"threshold": threshold if threshold is not None else 0.3}
    export_onnx(weights, out, config.side_px, card)
    photos = read_labels(Path(config.data.root), config.data.labels, config.split)
    if threshold is None:
        numbers = evaluated(OnnxHeadDetector(path=out, flip=config.flip), photos)
        best = max(numbers["sweep"], key=_worth)
        card["threshold"] = best["threshold"]
    numbers = evaluated(OnnxHeadDetector(path=out, threshold=card["threshold"], flip=config.flip), photos)
    card |= {"val": {name: numbers[name] for name in ("overall", "species", "false_heads", "negative_photos")}}
    export_onnx(weights, out, config.side_px, card)
    save_config(config, out.with_name(f"{out.stem}.config.yaml"))
    print(table(numbers))
    print(f"wrote {out} and {out.with_suffix('.json')} (threshold {card['threshold']})")
    print(f"next: lp-detector evaluate detector.path={out} data.root=DIR out=metrics.json")


COMMANDS: dict[str, Callable[[DictConfig], None]] = {"train": train, "evaluate": evaluate, "export": export}


@user_errors
def run(config: DictConfig) -> None:
    """The command that the options name."""
    if config.command not in COMMANDS:
        raise ValueError(f"unknown command {config.command!r}: use lp-detector {' | '.join(COMMANDS)}")
    COMMANDS[config.command](config)


@user_errors
def main() -> None:
    """Console script: the first word is the command, the rest are options."""
    if len(sys.argv) > 1 and sys.argv[1] in COMMANDS:
        sys.argv[1] = f"command={sys.argv[1]}"
    hydra.main(version_base="1.3", config_path="pkg://conf", config_name="lp_detector")(run)()


if __name__ == "__main__":
    main()
