from dataclasses import dataclass

import pytest

from data_pipeline.typed_options import read_options


@dataclass(frozen=True, kw_only=True)
class Plan:
    out: str
    steps: int = 3
    lr: float = 0.1


def test_words_become_typed_fields():
    assert read_options(Plan, ["out=here", "steps=5", "lr=1"], "a program") == Plan(out="here", steps=5, lr=1.0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["out=x", "stps=5"], "no option 'stps=5'"),
        (["out=x", "steps"], "no option 'steps'"),
        (["steps=5"], "needs out="),
        (["out=x", "steps=many"], "steps|many|Integer"),
    ],
)
def test_what_does_not_fit_is_said_in_one_sentence(words, said):
    with pytest.raises(ValueError, match=said) as caught:
        read_options(Plan, words, "a program")
    assert "\n" not in str(caught.value)
