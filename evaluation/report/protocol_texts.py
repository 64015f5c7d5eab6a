"""Names of protocols -> what they are called and what they can say, in words."""

from typing import NamedTuple


class ProtocolText(NamedTuple):
    """What a reader must know before the numbers."""

    title: str
    says: str
    is_cross: bool
    """Which table of the paper is shown beside it."""


TEXTS = {
    "self": ProtocolText(
        "Self-reenactment",
        "The first frame of each clip is moved by the whole clip and should become it. Source, driver and truth are "
        "one animal, so this measures what the networks can draw, not how motion crosses from people to animals.",
        is_cross=False,
    ),
    "puppets_cross": ProtocolText(
        "A person drives an animal: exact truth",
        "Puppets perform the same motion as a person and as an animal. The animal's first frame is moved by the "
        "person's clip; the animal's own frames are the truth, frame by frame. Relative motion.",
        is_cross=True,
    ),
    "puppet_benchmark": ProtocolText(
        "The puppet benchmark",
        "Frozen puppets that nobody trains on: a person performs, an animal should do the same, in levels of "
        "difficulty. The animal's own frames are the exact truth, frame by frame. Relative motion.",
        is_cross=True,
    ),
    "same_species": ProtocolText(
        "One animal drives another of its species",
        "Source and driver are different individuals of one species. Only puppets that perform the same have a "
        "truth; elsewhere there are no picture errors: read identity, motion fidelity and steadiness together.",
        is_cross=True,
    ),
    "human_animal": ProtocolText(
        "A person drives an animal",
        "A real person's clip moves a real animal. Nobody knows the right frames, so there are no picture errors: read "
        "identity, motion fidelity and steadiness together.",
        is_cross=True,
    ),
    "eyes_sweep": ProtocolText(
        "Eyes told to open and close",
        "The eye-open ratio is commanded from closed to wide open, everything else stands still. The curve should "
        "follow the diagonal.",
        is_cross=False,
    ),
    "lips_sweep": ProtocolText(
        "Lips told to open and close",
        "The lip-open ratio is commanded from closed to wide open, everything else stands still. The curve should "
        "follow the diagonal.",
        is_cross=False,
    ),
    "forgetting": ProtocolText(
        "Are people forgotten?",
        "Self-reenactment of people: what networks that were tuned on animals can still draw of what they knew before.",
        is_cross=False,
    ),
}  # fmt: skip


def text_of(protocol: str, says: str = "") -> ProtocolText:
    """Texts of a protocol; an unknown one is named as it is, and said what it says of itself."""
    return TEXTS.get(protocol, ProtocolText(protocol.replace("_", " "), says, is_cross="cross" in protocol))
