import json

import pytest

from finetune.objective import TERMS
from tests.finetune.golden_step import COMMAND, PATH, one_step


def test_one_step_gives_the_recorded_terms_and_gradient_norms():
    golden, found = json.loads(PATH.read_text()), one_step()
    assert golden["command"] == COMMAND
    for kind in ("terms", "gradient_norms"):
        assert set(found[kind]) == set(golden[kind])
        for name, value in golden[kind].items():
            assert found[kind][name] == pytest.approx(value, rel=1e-3, abs=1e-5), f"{kind}: {name}"


def test_the_recorded_step_has_every_term_and_every_network():
    golden = json.loads(PATH.read_text())
    assert set(TERMS) | {"total"} <= set(golden["terms"])
    networks = {"appearance", "motion", "warping", "generator"}
    judges = {"discriminator", "face_discriminator", "lip_discriminator"}
    assert set(golden["gradient_norms"]) == networks | judges
    assert all(value > 0 for value in golden["gradient_norms"].values())
