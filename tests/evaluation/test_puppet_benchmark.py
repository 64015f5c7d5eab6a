import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from data_pipeline.puppets.identity import sample_identity
from data_pipeline.puppets.render import render
from evaluation import puppet_benchmark
from evaluation.pair_folder import read_pairs
from evaluation.puppet_benchmark import KINDS, PUPPETS_BENCHMARK_V1, Case, benchmark_text, cases, checksum, main, make

GOLDEN = Path(__file__).parent / "golden" / "puppet_benchmark_v1.json"
LOOKED_AT = (("human", 0), ("cat", 0), ("dog", 4), ("panda", 5))
"""Species and number of the kind of which one frame is compared."""


def thumbnail(species: str, kind: int) -> list[list[float]]:
    """Mean colours of a 4 x 4 grid of one frame."""
    case = Case(kind=KINDS[kind], species=species, number=0, size="quick")
    identity = sample_identity(species, case.index, PUPPETS_BENCHMARK_V1.seed)
    image = render(identity, case.motion()[12], 64).image
    return cv2.resize(image.astype(np.float32), (4, 4), interpolation=cv2.INTER_AREA).reshape(-1, 3).round(2).tolist()


@pytest.mark.parametrize("size", ["quick", "full"])
def test_version_1_is_frozen(size) -> None:
    assert checksum(benchmark_text(size)) == PUPPETS_BENCHMARK_V1.checksums[size]


@pytest.mark.parametrize(("species", "kind"), LOOKED_AT)
def test_version_1_looks_as_it_did(species, kind) -> None:
    stored = json.loads(GOLDEN.read_text())[f"{species}-{kind}"]
    assert np.abs(np.array(thumbnail(species, kind)) - stored).max() < 1.5


def test_nobody_is_in_two_kinds_and_every_species_is_in_each() -> None:
    found = cases("full")
    identities = [(case.species, case.index) for case in found]
    assert len(set(identities)) == len(found) == len(KINDS) * 3 * 3
    assert min(case.index for case in found) >= 9000
    assert {case.kind.level for case in found} == {"plain", "large_pose", "asymmetric", "occlusion", "other_light"}
    shared = [case.performance for case in found if case.kind == KINDS[0] and case.number == 1]
    assert shared == ["benchmark-plain-all-01"] * 3


def test_it_is_made_whole_and_once(small_benchmark, tmp_path) -> None:
    path = make(tmp_path / "b", "quick", workers=1)
    entries = read_pairs(path.parent)["pairs"]
    assert len(entries) == 3
    for entry in entries:
        assert (path.parent / entry["source"]).is_file()
        assert (path.parent / entry["driver"]).is_file()
    assert "truth" not in path.read_text()
    before = path.stat().st_mtime_ns
    assert make(tmp_path / "b", "quick", workers=1).stat().st_mtime_ns == before
    with pytest.raises(ValueError, match="another size or version"):
        make(tmp_path / "b", "full", workers=1)
    again = make(tmp_path / "c", "quick", workers=1)
    sums = [(folder.parent / "checksums.json").read_text() for folder in (path, again)]
    assert sums[0] == sums[1]


def test_another_plan_is_not_version_1(small_benchmark, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(puppet_benchmark, "KINDS", KINDS[1:3])
    with pytest.raises(ValueError, match="give it a new version"):
        make(tmp_path, "quick", workers=1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "needs out="),
        (["out"], "no option 'out'; write name=value"),
        (["out=x", "into=x"], "no option 'into=x'"),
        (["out=x", "size=huge"], "size=huge is unknown; choose quick or full"),
        (["out=x", "workers=two"], "'two'.*Integer"),
        (["out=x", "workers=0"], "workers=0 is out of range"),
    ],
)
def test_a_mistake_in_the_command_is_one_sentence(arguments, said) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        main(arguments)
    assert "\n" not in str(caught.value)


def test_the_command_makes_a_folder_and_says_what_is_next(small_benchmark, tmp_path, capsys) -> None:
    main([f"out={tmp_path / 'b'}", "workers=1"])
    assert (tmp_path / "b" / "pairs.json").is_file()
    assert f"data={tmp_path / 'b'}" in capsys.readouterr().out
