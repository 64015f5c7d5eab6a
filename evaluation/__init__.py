"""Weights and media -> animated portraits, and numbers that say how good they are."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evaluation.animator import Animation, Animator

__all__ = ["Animation", "Animator"]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Load the animator when it is asked for: the programs have something to do before torch is loaded."""
    if name in __all__:
        from evaluation import animator

        return getattr(animator, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
