"""Options -> which keypoints are tied to which landmarks, and which of them change places in a mirror."""

from collections.abc import Sequence
from dataclasses import dataclass

from finetune.augment import FLIPPED_LANDMARKS
from finetune.losses import Partners, Tie

FIVE_POINT_TIES = (
    Tie((11, 13), (0,), (0,)),
    Tie((15, 16), (1,), (1,)),
    Tie((12,), (2,), (2,)),
    Tie((14,), (3,), (3,)),
    Tie((17,), (4,), (4,)),
)
"""Which keypoints the five points guide: lids' middles, nose, mouth corners."""


@dataclass(frozen=True, kw_only=True)
class Guidance:
    """Which keypoints are tied to which of the 70 landmarks; the fields are the `recipe.guidance` options.

    A tie is [keypoints, landmarks for x, landmarks for y]; the mean of the keypoints goes to the mean of the landmarks.
    """

    ties: Sequence[Sequence[Sequence[int]]]
    spans: Sequence[Sequence[int]] = ()
    """Pairs of tied keypoints whose distance is an opening or a width: lids, lips, mouth corners."""

    def resolved(self) -> list[Tie]:
        """As the loss wants them.

        Raises:
            ValueError: a tie does not have three parts.
        """
        if any(len(tie) != 3 or not all(tie) for tie in self.ties):
            raise ValueError("recipe.guidance.ties: each tie is [keypoints, landmarks for x, landmarks for y]")
        return [Tie(*(tuple(part) for part in tie)) for tie in self.ties]

    def span_ties(self) -> list[tuple[Tie, Tie]]:
        """The two ties of each span.

        Raises:
            ValueError: a span is no pair of keypoints that are tied alone.
        """
        alone = {tie.keypoints[0]: tie for tie in self.resolved() if len(tie.keypoints) == 1}
        if bad := [span for span in self.spans if len(span) != 2 or not set(span) <= alone.keys()]:
            raise ValueError(
                f"recipe.guidance.spans: {list(bad[0])} is no pair of keypoints that are tied alone; those are "
                f"{', '.join(map(str, sorted(alone)))}"
            )
        return [(alone[a], alone[b]) for a, b in self.spans]

    @property
    def keypoints(self) -> list[int]:
        """Every guided keypoint."""
        return sorted({k for tie in self.resolved() for k in tie.keypoints})

    def partners(self) -> Partners:
        """Of each single guided keypoint, the one that is tied to the mirrored landmarks: often another, or itself."""

        def place(tie: Tie, flip: bool) -> tuple[tuple[int, ...], ...]:
            marks = (tie.landmarks_x, tie.landmarks_y)
            return tuple(tuple(sorted(int(FLIPPED_LANDMARKS[i]) if flip else i for i in part)) for part in marks)

        single = [tie for tie in self.resolved() if len(tie.keypoints) == 1]
        at = {place(tie, flip=False): tie.keypoints[0] for tie in single}
        pairs = [(tie.keypoints[0], at[place(tie, flip=True)]) for tie in single if place(tie, flip=True) in at]
        return Partners(tuple(a for a, _ in pairs), tuple(b for _, b in pairs))
