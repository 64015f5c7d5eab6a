"""A shard folder's manifest -> README.md as the Hugging Face Hub reads it: a YAML head and tables, no claims."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from data_pipeline.ledger import UNKNOWN, ledger_table, table
from data_pipeline.shards import ShardError, read_manifest
from data_pipeline.whole_file import write_text

CARD = "README.md"
MARK = "<!-- made by lp-curate from manifest.json; changes are lost when it is made again -->"
HUB_LICENCES = {
    "cc0": "cc0-1.0",
    "cc0 1.0": "cc0-1.0",
    "cc-by-3.0": "cc-by-3.0",
    "cc-by-4.0": "cc-by-4.0",
    "cc-by-sa-3.0": "cc-by-sa-3.0",
    "cc-by-sa-4.0": "cc-by-sa-4.0",
    "cc-by-nc-4.0": "cc-by-nc-4.0",
    "cc-by-nc-sa-4.0": "cc-by-nc-sa-4.0",
    "mit": "mit",
    "apache-2.0": "apache-2.0",
    UNKNOWN: "unknown",
}
"""Licences, in lower case, that the Hub has a name for; the others are `other`."""
HUB_SPLITS = {"train": "train", "val": "validation", "test": "test"}
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def hub_licence(licence: str) -> str:
    """The Hub's name of a licence; `other` when it has none."""
    name = licence.strip().lower()
    return HUB_LICENCES.get(name) or HUB_LICENCES.get(name.replace("cc by", "cc-by").replace(" ", "-")) or "other"


def size_category(num_samples: int) -> str:
    """The Hub's name for a number of samples."""
    return next((name for limit, name in _SIZES if num_samples < limit), "1M<n<10M" if num_samples < 10**7 else "n>10M")


def front_matter(manifest: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What the Hub reads about a data set."""
    licences = sorted({hub_licence(row["licence"]) for row in manifest["ledger"]})
    others = sorted({row["licence"] for row in manifest["ledger"] if hub_licence(row["licence"]) == "other"})
    counts = manifest["counts"]
    files = [
        {"split": hub_split, "path": f"{split}-*.tar"}
        for split, hub_split in HUB_SPLITS.items()
        if counts["split"].get(split)
    ]
    head: dict[str, Any] = {"pretty_name": name, "license": licences[0] if len(licences) == 1 else licences}
    if others:
        head |= {"license_name": "; ".join(others), "license_link": "ATTRIBUTION.md"}
    return head | {
        "task_categories": ["image-to-video"],
        "tags": ["webdataset", "portrait-animation", *sorted(counts["species"])],
        "size_categories": [size_category(manifest["samples"])],
        "configs": [{"config_name": "default", "data_files": files}],
    }


def dataset_card(manifest: Mapping[str, Any], name: str) -> str:
    """Manifest -> the text of README.md.

    Args:
        manifest: as lp-curate wrote it.
        name: the data set's title.

    Raises:
        ShardError: an older manifest without a licence ledger.
    """
    if "ledger" not in manifest:
        raise ShardError("manifest.json has no licence ledger; run lp-curate again before making a card")
    head = yaml.safe_dump(front_matter(manifest, name), sort_keys=False, allow_unicode=True, width=120)
    num_bytes = sum(shard["bytes"] for shard in manifest["shards"])
    seconds = sum(row["seconds"] for row in manifest["ledger"])
    unlicensed = sum(row["samples"] for row in manifest["ledger"] if row["licence"] == UNKNOWN)
    counts = manifest["counts"]
    splits = [(split, number, manifest["frames"].get(split, 0)) for split, number in counts["split"].items()]
    lines = [
        "---", head.rstrip(), "---", "", MARK, "", f"# {' '.join(name.split())}", "",
        f"Square head crops: {manifest['samples']} samples, {sum(manifest['frames'].values())} frames, "
        f"{seconds / 60:.1f} minutes of clips, {num_bytes / 1e6:.1f} MB in {len(manifest['shards'])} webdataset "
        "shards.",
        "", "## Splits", "",
        *table(("split", "samples", "frames"), splits),
        "", "## Species", "", *table(("species", "samples"), counts["species"].items()),
        "", "## Kinds", "", *table(("kind", "samples"), counts["kind"].items()),
        "", "## Licences and origins", "", "As they were given to lp-curate, which does not check them.",
    ]  # fmt: skip
    if unlicensed:
        lines.append(f"{unlicensed} samples carry no licence: find out theirs before you pass them on.")
    lines += ["", *ledger_table(manifest), ""]
    lines += [
        "## A sample", "", "`{key}.json`, and `{key}.jpg` (a still) or `{key}.mp4` (a clip); `{key}.truth.npz` where",
        "exact annotations exist. The JSON has species, split, five points of each frame in crop pixels, the crop's",
        "place in its source, identity, licence, origin and quality scores.", "",
        "## How it was made", "", f"By pawtrait's lp-curate, version {manifest.get('code_version', UNKNOWN)}. "
        "manifest.json holds the configuration and the sha256 of each shard.", "",
    ]  # fmt: skip
    return "\n".join(lines)


def card_action(folder: Path | str, name: str = "") -> Path:
    """`lp-curate action=card`: write README.md into a shard folder.

    Raises:
        ShardError: no manifest, or a README.md that somebody wrote by hand.
    """
    folder = Path(folder)
    text = dataset_card(read_manifest(folder), name or folder.resolve().name)
    path = folder / CARD
    if path.exists() and MARK not in path.read_text(encoding="utf-8", errors="replace"):
        raise ShardError(f"{path} was not made by lp-curate; move it away before a card is written there")
    write_text(path, text)
    print(f"dataset card: {path}")  # noqa: T201
    return path
