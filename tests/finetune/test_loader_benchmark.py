import sys

import pytest

from finetune.loader_benchmark import Options, main, measure, pair_ways, stall_frac
from finetune.shard_index import read_index
from tests.finetune.conftest import sample, write_shards


def test_it_prints_a_row_for_each_way(shards, monkeypatch, capsys):
    given = [f"shards={shards}", "seconds=0.02", "repeats=1", "side_px=32", "batch_size=2"]
    monkeypatch.setattr(sys, "argv", ["loader_benchmark", *given])
    main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0].strip("| ") for line in lines[3:6]] == [
        "naive: whole clip decoded", "pairs, read from the shard", "pairs, in memory",
    ]  # fmt: skip
    assert "waits" in lines[-1]


def test_all_ways_give_pairs(shards):
    rates = measure(pair_ways(read_index(shards)), 0.01, 1)
    assert all(rate.median_hz > 0 for rate in rates)


def test_waiting_is_the_loaders_share_of_a_step():
    # 8 rows: 1 s to make, 3 s to train on.
    assert stall_frac(8.0, 8 / 3, is_beside=False) == pytest.approx(0.25)
    assert stall_frac(8.0, 8 / 3, is_beside=True) == 0
    assert stall_frac(2.0, 8.0, is_beside=True) == pytest.approx(0.75)


@pytest.mark.parametrize(("given", "words"), [
    (["side=3"], "unknown|not in"), (["shards=nowhere"], "not a folder"), ([], "required"),
    (["shards=x", "seconds=0"], "seconds"),
])  # fmt: skip
def test_mistakes_are_one_sentence(given, words, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["loader_benchmark", *given])
    with pytest.raises(SystemExit):
        main()
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ")
    assert "\n" not in error
    assert any(word in error for word in words.split("|"))


def test_stills_alone_give_no_pairs(tmp_path):
    index = read_index(write_shards(tmp_path, [sample("cat-1", "cat", kind="image")]))
    with pytest.raises(ValueError, match="no clips"):
        pair_ways(index)
    assert Options(shards="x").train_hz == 7
