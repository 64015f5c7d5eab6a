from pathlib import Path

import pytest
import yaml

from data_pipeline.dataset_card import card_action, dataset_card, hub_licence, size_category
from data_pipeline.shards import ShardError, read_manifest
from tests.data_pipeline.shard_folder import sample, write


def head_of(text: str) -> dict:
    start, head, rest = text.split("---\n", 2)
    assert start == ""
    assert rest.strip()
    return yaml.safe_load(head)


def test_the_head_is_what_the_hub_reads(tmp_path: Path) -> None:
    write(tmp_path, [sample(0), sample(1, 4, split="val", species="cat"), sample(2, licence="repo MIT")])
    head = head_of(card_action(tmp_path, 'Pandas: "mine"').read_text())
    assert head["pretty_name"] == 'Pandas: "mine"'
    assert head["license"] == ["cc0-1.0", "other"]
    assert head["license_name"] == "repo MIT"
    assert head["size_categories"] == ["n<1K"]
    assert head["configs"][0]["data_files"] == [
        {"split": "train", "path": "train-*.tar"},
        {"split": "validation", "path": "val-*.tar"},
    ]
    assert {"webdataset", "cat", "panda"} <= set(head["tags"])


def test_the_numbers_are_the_manifests(tmp_path: Path) -> None:
    write(tmp_path, [sample(0, 5), sample(1, licence="")])
    text = dataset_card(read_manifest(tmp_path), "x")
    assert "2 samples, 6 frames" in text
    assert "1 samples carry no licence" in text
    assert read_manifest(tmp_path)["code_version"] in text
    assert head_of(text)["license"] == ["cc0-1.0", "unknown"]


def test_a_card_is_made_again_but_nobodys_text_is_overwritten(tmp_path: Path) -> None:
    write(tmp_path, [sample(0)])
    card_action(tmp_path, "one")
    assert "# two" in card_action(tmp_path, "two").read_text()
    (tmp_path / "README.md").write_text("my own words")
    with pytest.raises(ShardError, match=r"README\.md"):
        card_action(tmp_path, "three")
    assert (tmp_path / "README.md").read_text() == "my own words"


def test_names_of_licences_and_sizes() -> None:
    assert [hub_licence(name) for name in ("CC BY 4.0", "cc-by-sa-3.0", "MIT", "Public domain", "unknown")] == [
        "cc-by-4.0", "cc-by-sa-3.0", "mit", "other", "unknown"
    ]  # fmt: skip
    assert [size_category(n) for n in (0, 999, 1000, 999_999, 1_000_000, 10**7)] == [
        "n<1K", "n<1K", "1K<n<10K", "100K<n<1M", "1M<n<10M", "n>10M"
    ]  # fmt: skip


def test_an_old_manifest_is_told() -> None:
    with pytest.raises(ShardError, match="ledger"):
        dataset_card({"samples": 1}, "x")
