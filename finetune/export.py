"""A trained model -> a weights directory with a model card."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data_pipeline.records import SPECIES
from data_pipeline.whole_file import write_text
from finetune.clips import read_manifest
from lp_models import LivePortrait, save_pretrained


def shard_provenance(folder: Path) -> dict[str, Any]:
    """What the weights were trained on: the manifest's checksum, counts, seed and code version."""
    manifest = read_manifest(folder)
    if not manifest:
        return {"shards": folder.name, "manifest_sha256": None}
    digest = hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    kept = {name: manifest.get(name) for name in ("counts", "seed", "code_version")}
    return {"shards": folder.name, "manifest_sha256": digest, **kept}


def export(model: LivePortrait, state: Mapping[str, Tensor] | None, out: Path, facts: Mapping[str, Any]) -> Path:
    """Write `out`: the weights (those of `state`, such as a moving average, if given), model.json, MODEL_CARD.md.

    Args:
        model: gives the config; unchanged afterwards.
        state: the state dict to write instead of the model's own.
        out: the directory.
        facts: goes into model.json and the card: recipe, steps, data, last losses.
    """
    if state is not None:
        # Making networks draws numbers; writing weights must not change the steps that follow.
        with torch.random.fork_rng(devices=[]):
            twin = LivePortrait(model.config)
        twin.load_state_dict(dict(state))
        model = twin
    save_pretrained(model, out, extra={"species": list(SPECIES), **facts})
    write_text(out / "MODEL_CARD.md", card_text(model, facts))
    return out


def card_text(model: LivePortrait, facts: Mapping[str, Any]) -> str:
    """The model card, in Markdown."""
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    config = model.config
    lines = [
        f"# {config.name}: portrait animation weights",
        "",
        f"LivePortrait graph, {millions:.1f} M parameters, {config.image_px} px in, {config.output_px} px out, "
        f"{config.num_keypoints} keypoints. Species: {', '.join(SPECIES)}.",
        "",
        "## How they were made",
        "",
        *(f"- {name}: {_short(value)}" for name, value in facts.items()),
        "",
        "## Use",
        "",
        "`lp-animate source=PHOTO driving=VIDEO weights=THIS_FOLDER out=result.mp4`",
        "",
        "## Limits",
        "",
        "Made for moving animal portraits by a human performance. Do not use it to pass off invented pictures of real "
        "people as recordings. Quality outside the kinds of media listed above has not been measured.",
        "",
    ]
    return "\n".join(lines)


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, default=str)


def weights_sha256(folder: Path) -> str:
    """One checksum of all weight files of a directory: of their names and bytes, in the order of names."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        digest.update(path.name.encode() + b"\0")
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()
