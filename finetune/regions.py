"""Where a face and its lips are -> differentiable crops of a picture, for the cascades of losses.

Boxes come from the ground truth of the wanted frame, never from a generated one: a box that followed the output could
be moved by the loss (LivePortrait 3.2; the widths are ours).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from finetune.pairs import Annotation

JAW, BROWS, MOUTH = slice(0, 17), slice(17, 27), slice(48, 68)
FACE_MARGIN = (0.05, 0.10, 0.05)
"""Added around the landmarks, in shares of their extent: beside, above the brows, below the chin."""
LIP_MARGIN = (0.15, 0.30)
"""The same beside and above/below the mouth."""
LEAST_SIDE = 0.06
"""No box is narrower than this share of the picture: landmarks of a head in profile may lie on a line."""


@dataclass(frozen=True, kw_only=True)
class Regions:
    """Sizes of the crops; the fields are the `recipe.objective.regions` options.

    Raises:
        ValueError: a size is negative or below 16 px.
    """

    face_px: int = 0
    """Side of the face crop; 0 is half the output's: 256 for the official model."""
    lip_px: Sequence[int] = (0, 0)
    """Height and width of the lip crop; 0 is 3/16 and 3/8 of the output's side: 96 x 192 for the official model."""

    def __post_init__(self) -> None:
        if len(self.lip_px) != 2 or any(side != 0 and side < 16 for side in (self.face_px, *self.lip_px)):
            raise ValueError(
                f"recipe.objective.regions: face_px is {self.face_px}, lip_px is {list(self.lip_px)}; give a side and "
                "[height, width] of 16 px or more, or 0 for the model's own"
            )

    def face_size(self, output_px: int) -> tuple[int, int]:
        """Height and width of the face crop of an output of that side."""
        side = self.face_px or max(16, output_px // 2)
        return side, side

    def lip_size(self, output_px: int) -> tuple[int, int]:
        """Height and width of the lip crop of an output of that side."""
        height, width = self.lip_px
        return height or max(16, output_px * 3 // 16), width or max(16, output_px * 3 // 8)


def face_box(truth: Annotation, exact: Float[Tensor, " B"]) -> Float[Tensor, "B 4"]:
    """x0, y0, x1, y1 of the face in fractions of the side: by jaw and brows where exact, else by the five points."""
    outline = torch.cat((truth.landmarks[:, JAW], truth.landmarks[:, BROWS]), dim=1)
    low, high = outline.amin(dim=1), outline.amax(dim=1)
    wide, tall = (high - low).unbind(dim=1)
    beside, above, below = FACE_MARGIN
    by_landmarks = torch.stack(
        (low[:, 0] - beside * wide, low[:, 1] - above * tall, high[:, 0] + beside * wide, high[:, 1] + below * tall),
        dim=1,
    )
    eyes, mouth = truth.points[:, :2].mean(dim=1), truth.points[:, 3:].mean(dim=1)
    reach = 1.25 * torch.maximum((truth.points[:, 0] - truth.points[:, 1]).norm(dim=1), (mouth - eyes).norm(dim=1))
    centre = eyes + 0.45 * (mouth - eyes)
    by_points = torch.cat((centre - reach[:, None], centre + reach[:, None]), dim=1)
    return _chosen(by_landmarks, by_points, exact)


def lip_box(truth: Annotation, exact: Float[Tensor, " B"]) -> Float[Tensor, "B 4"]:
    """x0, y0, x1, y1 of the mouth in fractions of the side: by its landmarks where exact, else by the five points."""
    marks = truth.landmarks[:, MOUTH]
    low, high = marks.amin(dim=1), marks.amax(dim=1)
    margin = (high - low) * marks.new_tensor(LIP_MARGIN)
    by_landmarks = torch.cat((low - margin, high + margin), dim=1)
    corners = truth.points[:, 3:]
    eye_distance = (truth.points[:, 0] - truth.points[:, 1]).norm(dim=1)
    reach = torch.maximum(0.65 * (corners[:, 0] - corners[:, 1]).norm(dim=1), 0.3 * eye_distance)
    half = torch.stack((reach, 0.5 * reach), dim=1)
    centre = corners.mean(dim=1)
    by_points = torch.cat((centre - half, centre + half), dim=1)
    return _chosen(by_landmarks, by_points, exact)


def _chosen(
    fine: Float[Tensor, "B 4"], coarse: Float[Tensor, "B 4"], exact: Float[Tensor, " B"]
) -> Float[Tensor, "B 4"]:
    return torch.where(exact[:, None] > 0, fine, coarse)


def shaped(box: Float[Tensor, "B 4"], size: tuple[int, int]) -> Float[Tensor, "B 4"]:
    """The smallest box about the same middle with the aspect of `size` (height, width): crops are never stretched."""
    height, width = size
    centre = (box[:, :2] + box[:, 2:]) / 2
    wide, tall = (box[:, 2:] - box[:, :2]).clamp(min=LEAST_SIDE).unbind(dim=1)
    wide = torch.maximum(wide, tall * width / height)
    half = torch.stack((wide, wide * height / width), dim=1) / 2
    return torch.cat((centre - half, centre + half), dim=1)


def crop(image: Float[Tensor, "B 3 H W"], box: Float[Tensor, "B 4"], size: tuple[int, int]) -> Float[Tensor, "B 3 h w"]:
    """Cut a box (fractions of the side) out of each picture; bilinear, differentiable, border colours outside."""
    height, width = size
    centre, half = (box[:, :2] + box[:, 2:]) - 1, box[:, 2:] - box[:, :2]
    theta = image.new_zeros(len(image), 2, 3)
    theta[:, 0, 0], theta[:, 1, 1], theta[:, :, 2] = half[:, 0], half[:, 1], centre
    grid = F.affine_grid(theta, [len(image), 3, height, width], align_corners=False)
    return F.grid_sample(image, grid, padding_mode="border", align_corners=False)


def similarity_crop(
    image: Float[Tensor, "B 3 H W"], points: Float[Tensor, "B N 2"], template: Float[Tensor, "N 2"], side_px: int
) -> Float[Tensor, "B 3 s s"]:
    """Turn, scale and shift each picture so that its points lie best on the template (least squares), and cut it out.

    Args:
        image: pictures.
        points: fractions of the picture's side; they take no gradient.
        template: fractions of the crop's side.
        side_px: of the crop.
    """
    points = points.detach().float()
    from_mean, to_mean = template.mean(dim=0), points.mean(dim=1)
    a, b = template - from_mean, points - to_mean[:, None]
    # The map template -> picture: z -> (c + i d) z with complex numbers, whose least squares have a closed form.
    energy = a.square().sum()
    real = (a * b).sum(dim=(1, 2)) / energy
    imaginary = (a[:, 0] * b[..., 1] - a[:, 1] * b[..., 0]).sum(dim=1) / energy
    turn = torch.stack((real, -imaginary, imaginary, real), dim=1).unflatten(1, (2, 2))
    # Fractions f to affine_grid's -1..1 (g = 2 f - 1) on both sides.
    middle = turn @ (0.5 - from_mean) + to_mean
    theta = torch.cat((turn, (2 * middle - 1)[..., None]), dim=2).to(image.dtype)
    grid = F.affine_grid(theta, [len(image), 3, side_px, side_px], align_corners=False)
    return F.grid_sample(image, grid, padding_mode="border", align_corners=False)
