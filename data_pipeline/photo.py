"""Picture files -> upright RGB u8[H,W,3]: the only file that opens pictures (Pillow)."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

MAX_PIXELS = 100_000_000
"""Pictures above this are refused by their header, before a byte is decoded; 100 megapixels are 300 MB of RGB."""
_EXIF_ORIENTATION = 0x0112
_TURNED = {5, 6, 7, 8}


class PhotoError(ValueError):
    """A picture that cannot be read; the message names the file and says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoInfo:
    """What a picture's header says."""

    num_frames: int
    """More than 1 for an animated GIF or WebP."""
    fps: Fraction
    """Of an animation; 0 for a still."""
    height_px: int
    """Upright size, after EXIF orientation."""
    width_px: int
    rotation_deg: int


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    from PIL import Image, UnidentifiedImageError

    with warnings.catch_warnings():
        # Pillow warns of large pictures and odd EXIF blocks; the limit is checked here, with a message of our own.
        warnings.simplefilter("ignore")
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            with Image.open(path) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise PhotoError(
                        f"{path} says it is {image.width}x{image.height} pixels, more than {MAX_PIXELS // 10**6} "
                        "megapixels; shrink it if it is real"
                    )
                yield image
        except UnidentifiedImageError as error:
            raise PhotoError(f"{path} is not a picture that can be read; its content is of another kind") from error
        except (OSError, SyntaxError, ValueError, EOFError) as error:
            if isinstance(error, PhotoError):
                raise
            reason = str(error) or type(error).__name__
            raise PhotoError(f"{path} is damaged and cannot be decoded ({reason}); get a whole copy") from error
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def is_photo(path: Path) -> bool:
    """Whether the content (not the name) is a picture that Pillow knows."""
    try:
        with _opened(path):
            return True
    except PhotoError as error:
        return "another kind" not in str(error)


def read_info(path: Path) -> PhotoInfo:
    """Read a picture's header.

    Raises:
        PhotoError: not a picture, damaged, or too large.
    """
    with _opened(path) as image:
        frames = int(getattr(image, "n_frames", 1))
        animated = frames > 1 and image.format in {"GIF", "WEBP", "PNG"}
        orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
        turned = orientation in _TURNED
        duration_ms = float(image.info.get("duration") or 100) if animated else 0.0
        return PhotoInfo(
            num_frames=frames if animated else 1,
            fps=Fraction(1000 / duration_ms).limit_denominator(1000) if animated else Fraction(0),
            height_px=image.width if turned else image.height,
            width_px=image.height if turned else image.width,
            rotation_deg={3: 180, 6: 90, 8: 270}.get(orientation, 0),
        )


def read_photo(path: Path) -> UInt8[np.ndarray, "H W 3"]:
    """Decode a picture, upright; transparency is laid over white, 16 bit is reduced to 8.

    Raises:
        PhotoError: not a picture, damaged, cut off, or too large.
    """
    with _opened(path) as image:
        return _upright_rgb(image)


def read_animation(path: Path) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """The frames of an animated GIF, WebP or PNG, one at a time."""
    with _opened(path) as image:
        for number in range(int(getattr(image, "n_frames", 1))):
            image.seek(number)
            yield _upright_rgb(image)


def _upright_rgb(image: Any) -> UInt8[np.ndarray, "H W 3"]:  # noqa: ANN401
    from PIL import Image, ImageOps

    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I") or upright.mode == "F":
        grey = np.asarray(upright, np.float64)
        peak = 65535.0 if upright.mode.startswith("I") and grey.max(initial=0) > 255 else 255.0
        return np.repeat((np.clip(grey / peak, 0, 1) * 255).astype(np.uint8)[..., None], 3, axis=2)
    if upright.mode in {"RGBA", "LA", "PA"} or "transparency" in upright.info:
        upright = upright.convert("RGBA")
        white = Image.new("RGBA", upright.size, (255, 255, 255, 255))
        upright = Image.alpha_composite(white, upright)
    return np.array(upright.convert("RGB"))


def encode_jpeg(image: UInt8[np.ndarray, "H W 3"], quality: int = 95) -> bytes:
    """RGB -> JPEG bytes without colour subsampling, so that a red mouth keeps its edge."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def decode_jpeg(data: bytes) -> UInt8[np.ndarray, "H W 3"]:
    """The inverse of `encode_jpeg`."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        return np.array(image.convert("RGB"))
