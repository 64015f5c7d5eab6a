import pytest

from data_pipeline.action_word import with_action


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], []),
        (["inspect", "weights=a"], ["action=inspect", "weights=a"]),
        (["weights=a"], ["weights=a"]),
        (["--help"], ["--help"]),
        (["inspect", "~detector"], ["action=inspect", "~detector"]),
        (["inspect", "--cfg", "job"], ["action=inspect", "--cfg", "job"]),
    ],
)
def test_the_first_bare_word_is_the_action(words: list[str], expected: list[str]) -> None:
    assert with_action(words, "weights") == expected


def test_a_second_bare_word_is_no_option() -> None:
    with pytest.raises(ValueError, match="mine is no option; give options as name=value, such as weights=mine"):
        with_action(["inspect", "mine"], "weights")
