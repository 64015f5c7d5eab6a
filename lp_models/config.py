"""Numbers -> a checked description of one size of the networks.

The sizes themselves live in `conf/model/{official,starter,tiny}.yaml` and nowhere else; this class is their schema.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from importlib import resources
from typing import Any

from lp_models.roles import LIPS, MOUTH_CORNERS

NUM_BINS = 66
"""Bins of the head-pose classifiers: 3 degrees each, from -97.5 to 97.5. Part of the checkpoint format."""
NUM_UPSAMPLINGS = 2
"""The generator doubles its feature map twice (`up_0`, `up_1`) before the pixel shuffle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LivePortraitConfig:
    """Every number that shapes the five networks.

    Raises:
        ValueError: a number is out of range or two numbers do not fit each other; the message names the field.
    """

    name: str
    """official, starter, tiny, or a name of your own; written into model.json."""
    image_px: int
    """Side of the square picture that the appearance and motion networks read."""
    num_keypoints: int = 21

    appearance_width: int
    """Channels after the first convolution; doubled by every down block."""
    appearance_max_width: int
    num_down_blocks: int
    """Halvings from the picture to the feature volume."""
    num_resblocks: int
    volume_channels: int
    volume_depth: int

    motion_dims: Sequence[int]
    """ConvNeXt-V2 widths, one per stage; the first stage runs at a quarter of the side."""
    motion_depths: Sequence[int]
    motion_px: int = 0
    """Side to which the motion network shrinks its picture by area first; 0: it reads image_px. Official: 0."""

    compressed_channels: int
    """Channels to which the volume is squeezed before it is sampled once per keypoint."""
    hourglass_width: int
    hourglass_max_width: int
    hourglass_blocks: int
    fusion_kernel: int
    """Kernel of the hourglass' last convolution, which sees its whole input once more. Official: 3."""
    mask_kernel: int
    """Kernel of the convolution that scores the K + 1 flows. Official: 7."""
    occlusion_kernel: int

    feature_channels: int
    """Channels of the warped feature map handed to the generator, and of its SPADE label map."""
    generator_width: int
    """Channels of the middle blocks."""
    generator_out_width: int
    """Channels before the last convolution."""
    num_middle_blocks: int
    spade_hidden: int
    upscale: int
    """Pixel shuffle after the last convolution; 1 leaves it out."""
    copies_pixels: bool = False
    """Blend what is painted with the source's own pixels, moved by the flow (lp_models/pixels.py). Official: false."""

    followed_keypoints: Sequence[int] = ()
    """Keypoints that copied pixels follow exactly (lp_models/pull.py). Official: none."""
    opens_mouth: bool = False
    """Show the inside of a mouth where followed lips part that were shut (lp_models/mouth.py). Official: false."""

    stitching_hidden: Sequence[int] = (128, 128, 64)
    lip_hidden: Sequence[int] = (128, 128, 64)
    eye_hidden: Sequence[int] = (256, 256, 128, 128, 64)

    def __post_init__(self) -> None:
        if self.motion_px == 0:
            object.__setattr__(self, "motion_px", self.image_px)
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Sequence) and not isinstance(value, str):
                # YAML and JSON have lists only; equality and hashing want tuples.
                object.__setattr__(self, field.name, tuple(value))
        self._check_numbers()
        for name in ("copies_pixels", "opens_mouth"):
            if not isinstance(value := getattr(self, name), bool):
                raise ValueError(f"model config {self.name!r}: {name} is {value!r}; give true or false")
        self._check_followed()
        self._check_kernels()
        self._check_sides()
        if self.motion_px > self.image_px:
            raise ValueError(
                f"model config {self.name!r}: motion_px is {self.motion_px}, above image_px {self.image_px}; give less"
            )
        if len(self.motion_dims) != len(self.motion_depths) or len(self.motion_dims) < 2:
            raise ValueError(
                f"model config {self.name!r}: motion_dims {self.motion_dims} and motion_depths {self.motion_depths} "
                "must name the same two or more stages"
            )

    def _check_numbers(self) -> None:
        for field in fields(self):
            if field.name in ("name", "copies_pixels", "followed_keypoints", "opens_mouth"):
                continue
            value = getattr(self, field.name)
            for number in value if isinstance(value, Sequence) else (value,):
                if not isinstance(number, int) or number < 1:
                    raise ValueError(f"model config {self.name!r}: {field.name} is {value}; give 1 or more")

    def _check_followed(self) -> None:
        followed, name = self.followed_keypoints, f"model config {self.name!r}: followed_keypoints"
        if any(not isinstance(k, int) or not 0 <= k < self.num_keypoints for k in followed):
            raise ValueError(f"{name} is {list(followed)}; give numbers from 0 to {self.num_keypoints - 1}")
        if len(set(followed)) != len(followed):
            raise ValueError(f"{name} names one twice: {list(followed)}")
        if followed and not self.copies_pixels:
            raise ValueError(f"{name} needs copies_pixels=true: only copied pixels can follow")
        lips = tuple(sorted((*MOUTH_CORNERS, *LIPS)))
        if self.opens_mouth and not set(lips) <= set(followed):
            raise ValueError(f"{name} is {list(followed)}; opens_mouth=true needs lips and mouth corners there: {lips}")

    def _check_kernels(self) -> None:
        for name in ("fusion_kernel", "mask_kernel", "occlusion_kernel"):
            if getattr(self, name) % 2 == 0:
                raise ValueError(f"model config {self.name!r}: {name} is {getattr(self, name)}; give an odd number")

    def _check_sides(self) -> None:
        checks = (
            ("num_down_blocks", 2**self.num_down_blocks, self.image_px),
            ("motion_dims", 4 * 2 ** (len(self.motion_dims) - 1), self.motion_px),
            ("hourglass_blocks", 2**self.hourglass_blocks, self.image_px >> self.num_down_blocks),
        )
        for name, factor, side in checks:
            if side % factor or side == 0:
                raise ValueError(
                    f"model config {self.name!r}: {name} = {getattr(self, name)} needs a side divisible by {factor}, "
                    f"but it meets one of {side}; change it, image_px or num_down_blocks"
                )

    @property
    def volume_side(self) -> int:
        """Height and width of the feature volume and of the flow."""
        return self.image_px >> self.num_down_blocks

    @property
    def output_px(self) -> int:
        """Side of the generated picture."""
        return self.volume_side * 2**NUM_UPSAMPLINGS * self.upscale

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and strings, for model.json; `from_dict` reads them back."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "LivePortraitConfig":
        """Build a config from plain values.

        Raises:
            ValueError: a name is unknown or missing, or a value does not fit.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(values.keys() - known):
            raise ValueError(
                f"model config has no field {', '.join(unknown)}; the fields are {', '.join(sorted(known))}"
            )
        try:
            return cls(**values)
        except TypeError as error:
            raise ValueError(f"model config is incomplete or has a value of a wrong type: {error}") from error

    @classmethod
    def named(cls, name: str) -> "LivePortraitConfig":
        """The config of `conf/model/<name>.yaml`.

        Raises:
            ValueError: there is no such file.
        """
        import yaml

        folder = resources.files("conf") / "model"
        file = folder / f"{name}.yaml"
        if not file.is_file():
            known = sorted(
                entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")
            )
            raise ValueError(f"there is no model {name!r}; choose one of {', '.join(known)}")
        values = yaml.safe_load(file.read_text())
        return cls.from_dict({key: value for key, value in values.items() if key != "_target_"})
