"""`inspect weights=DIR` -> `action=inspect weights=DIR`: the first bare word of a program with several actions."""

from collections.abc import Sequence


def with_action(words: Sequence[str], example: str) -> list[str]:
    """Make the first bare word the option `action`; Hydra wants name=value.

    Args:
        words: of the command line, without the program.
        example: an option's name for the message.

    Raises:
        ValueError: another word is no option.
    """
    words = list(words)
    if words and "=" not in words[0] and not words[0].startswith(("-", "~")):
        words[0] = f"action={words[0]}"
    bare = [word for word in words if "=" not in word and not word.startswith(("-", "~"))]
    if bare and not any(word.startswith("-") for word in words):  # which may take a word of its own
        raise ValueError(f"{bare[0]} is no option; give options as name=value, such as {example}={bare[0]}")
    return words
