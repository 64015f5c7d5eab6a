import os

import pytest

from data_pipeline.cli_errors import user_errors
from data_pipeline.threads import SPIN_COUNT


def test_a_program_shares_the_cores_and_leaves_the_users_value(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    program = user_errors(lambda: seen.append(os.environ["GOMP_SPINCOUNT"]))
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    program()
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    program()
    assert seen == [SPIN_COUNT, "7"]
