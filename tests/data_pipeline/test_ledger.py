import json
from pathlib import Path

import pytest

from data_pipeline.ledger import LedgerError, Tally, attribution, code_version, licence_allowed, table, taken_down
from data_pipeline.shards import read_manifest, read_samples
from tests.data_pipeline.shard_folder import contents, groups, sample, write


def test_the_manifest_says_how_much_came_from_where(tmp_path: Path) -> None:
    samples = [
        sample(0, 5, identity="momo"),
        sample(1, 5, identity="momo"),
        sample(2, split="val", identity="", species="cat"),
        sample(3, licence="CC-BY-4.0", origin="a zoo"),
        sample(4, licence="", origin=""),
    ]
    write(tmp_path, samples)
    ledger = {(row["licence"], row["origin"]): row for row in read_manifest(tmp_path)["ledger"]}
    assert ledger.keys() == {("CC0", "here"), ("CC-BY-4.0", "a zoo"), ("unknown", "unknown")}
    here = ledger["CC0", "here"]
    assert (here["samples"], here["frames"], here["seconds"], here["identities"]) == (3, 11, 0.4, 2)
    assert here["species"] == {"cat": 1, "panda": 2}


def test_the_order_of_records_does_not_show() -> None:
    records = [record for record, _ in groups([sample(i, 3, fps=30000 / 1001) for i in range(6)])]
    one, other = Tally(), Tally()
    for record in records:
        one.add(record)
    for record in reversed(records):
        other.add(record)
    assert one.summary() == other.summary()


def test_the_attribution_names_each_licence_and_what_has_none(tmp_path: Path) -> None:
    manifest = write(tmp_path, [sample(0), sample(1, licence="", origin="a|b\nc")])
    text = (tmp_path / "ATTRIBUTION.md").read_text()
    assert text == attribution(manifest)
    assert "1 samples carry no licence" in text
    assert "| CC0 | here | 1 |" in text
    assert "| unknown | a\\|b c |" in text


@pytest.mark.parametrize(
    ("licence", "allowed", "is_in"),
    [
        ("CC0", [], True),
        ("CC0", ["cc0"], True),
        ("CC-BY-4.0", ["CC-BY-*"], True),
        ("CC-BY-NC-4.0", ["CC0", "CC-BY-4.0"], False),
        ("", ["CC0"], False),
        ("", ["unknown"], True),
    ],
)
def test_licences_are_allowed_by_name_or_pattern(licence: str, allowed: list[str], is_in: bool) -> None:
    assert licence_allowed(licence, allowed) is is_in


def test_packing_leaves_out_licences_that_are_not_allowed_and_says_so(tmp_path: Path) -> None:
    manifest = write(tmp_path, [sample(0), sample(1, licence="NC"), sample(2, licence="")], allow_licences=["CC0"])
    assert [one.licence for one in read_samples(tmp_path)] == ["CC0"]
    assert manifest["left_out"] == {"licence NC": 1, "licence unknown": 1}
    assert manifest["samples"] == 1


def test_the_manifest_knows_the_code_and_stays_the_same(tmp_path: Path) -> None:
    manifest = write(tmp_path / "a", [sample(0), sample(1, 3)])
    assert manifest["code_version"] == code_version()
    write(tmp_path / "b", [sample(0), sample(1, 3)])
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_in_a_checkout_the_version_names_the_commit() -> None:
    import importlib.metadata

    import data_pipeline

    version = importlib.metadata.version("pawtrait")
    is_checkout = (Path(data_pipeline.__file__).parents[1] / ".git").exists()
    assert code_version().startswith(version + "+" if is_checkout else version)


def test_cells_cannot_break_a_table() -> None:
    assert table(("a",), [("x|y\n| z",)])[2] == "| x\\|y \\| z |"


def test_a_damaged_list_of_takedowns_stops_packing(tmp_path: Path) -> None:
    (tmp_path / "takedowns.jsonl").write_text('{"id_sha256": "ab"}\n{"id_sh')
    with pytest.raises(LedgerError, match=r"takedowns\.jsonl"):
        write(tmp_path, [sample(0)])
    (tmp_path / "takedowns.jsonl").write_text(json.dumps({"id_sha256": "ab"}) + "\n")
    assert taken_down(tmp_path) == {"ab"}
