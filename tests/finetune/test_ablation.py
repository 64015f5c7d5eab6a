from pathlib import Path

import pytest

from finetune.ablation import AblationPlan, Spread, command, folder_of, last_numbers, markdown, read_variants, spreads
from finetune.metrics_file import MetricsFile


def plan(out: Path, **change: int) -> AblationPlan:
    return AblationPlan(weights="base", shards="shards", out=str(out), **({"steps": 10, "seeds": 2} | change))


def finished(one: AblationPlan, name: str, seed: int, cat: float, dog: float, human: float) -> None:
    file = MetricsFile(path=folder_of(one, name, seed) / "species.csv")
    file.append({"step": 5, "cat/l1": 9.0, "dog/l1": 9.0, "human/l1": 9.0})
    file.append({"step": 10, "cat/l1": cat, "dog/l1": dog, "human/l1": human})


def test_every_variant_of_the_shipped_list_composes() -> None:
    from hydra import compose, initialize_config_module

    one = plan(Path("out"))
    with initialize_config_module("conf", version_base="1.3"):
        for name, changes in read_variants("").items():
            words = command(one, changes, 0, Path("out"))[3:]
            config = compose("finetune", words)
            assert config.out == "out", name
    assert next(iter(read_variants(""))) == "all"


def test_only_a_run_that_reached_its_end_counts(tmp_path: Path) -> None:
    one = plan(tmp_path)
    finished(one, "all", 0, 0.2, 0.4, 0.1)
    numbers = last_numbers(folder_of(one, "all", 0), 10)
    assert numbers == pytest.approx({"animals/l1": 0.3, "human/l1": 0.1})
    assert last_numbers(folder_of(one, "all", 0), 20) is None
    assert last_numbers(folder_of(one, "all", 1), 10) is None


def test_the_table_marks_what_is_clearly_worse_and_what_is_missing(tmp_path: Path) -> None:
    one = plan(tmp_path)
    for seed, noise in enumerate((-0.001, 0.001)):
        finished(one, "all", seed, 0.2 + noise, 0.2 + noise, 0.1)
        finished(one, "no guard", seed, 0.3 + noise, 0.3 + noise, 0.1)
    finished(one, "no flip", 0, 0.2, 0.2, 0.1)
    table = spreads(one, dict.fromkeys(("all", "no guard", "no flip"), ()))
    assert table["all"]["animals/l1"] == pytest.approx(Spread(0.2, 0.002**0.5 / 1000**0.5), abs=1e-6)
    lines = markdown(table).splitlines()
    assert "0.3000 ± 0.0014 worse" in lines[3]
    assert "not measured" in lines[4]


def test_a_file_that_is_no_list_is_refused(tmp_path: Path) -> None:
    (tmp_path / "v.yaml").write_text("all: 3")
    with pytest.raises(ValueError, match="is no list of variants; write `name"):
        read_variants(str(tmp_path / "v.yaml"))
