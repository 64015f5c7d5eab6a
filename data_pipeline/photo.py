"""Picture files <-> upright RGB u8[H,W,3]: the only file that opens pictures (Pillow)."""

import io
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from data_pipeline.frame_rate import TimedFrame, Timing, timing_of
from data_pipeline.whole_file import WriteError, shown, whole_folder, write_bytes, write_errors

MAX_PIXELS = 100_000_000
"""Pictures above this are refused by their header, before a byte is decoded; 100 megapixels are 300 MB of RGB."""
WRITTEN_SUFFIXES = (".jpg", ".jpeg", ".png")
"""What `write_photo` can write."""
_EXIF_ORIENTATION = 0x0112
_TURNED = {5, 6, 7, 8}
_ANIMATED = {"GIF", "WEBP", "PNG"}
_USUAL_DURATION_MS = 100
"""How long browsers show a frame that does not say so."""


class PhotoError(ValueError):
    """A picture that cannot be read; the message names the file and says why."""


class NotAPhotoError(PhotoError):
    """A file of another kind, perhaps a video."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoInfo:
    """What a picture's header says."""

    num_frames: int
    """More than 1 for an animated GIF or WebP."""
    fps: Fraction
    """Of an animation, its mean; 0 for a still."""
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
                        f"{shown(path)} says it is {image.width}x{image.height} pixels, more than "
                        f"{MAX_PIXELS // 10**6} megapixels; shrink it if it is real"
                    )
                yield image
        except UnidentifiedImageError as error:
            message = f"{shown(path)} is not a picture that can be read; its content is of another kind"
            raise NotAPhotoError(message) from error
        except (OSError, SyntaxError, ValueError, EOFError) as error:
            if isinstance(error, PhotoError):
                raise
            reason = str(error) or type(error).__name__
            raise PhotoError(f"{shown(path)} is damaged and cannot be decoded ({reason}); get a whole copy") from error
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def is_photo(path: Path) -> bool:
    """Whether the content (not the name) is a picture that Pillow knows."""
    try:
        with _opened(path):
            return True
    except NotAPhotoError:
        return False
    except PhotoError:
        return True


def read_info(path: Path) -> PhotoInfo:
    """Read a picture's header.

    Raises:
        PhotoError: not a picture, damaged, or too large.
    """
    with _opened(path) as image:
        frames = _num_frames(image)
        orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
        turned = orientation in _TURNED
        return PhotoInfo(
            num_frames=frames,
            fps=_mean_fps(_durations_s(image)) if frames > 1 else Fraction(0),
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
    return (timed.frame for timed in read_timed_animation(path))


def read_timed_animation(path: Path) -> Iterator[TimedFrame]:
    """The frames of an animation with the times at which they are shown; a still is one frame.

    Raises:
        PhotoError: not a picture, damaged, cut off, or too large.
    """
    with _opened(path) as image:
        time_s = Fraction(0)
        for number in range(_num_frames(image)):
            image.seek(number)
            yield TimedFrame(time_s, _upright_rgb(image))
            time_s += _duration_s(image)


def read_timing(path: Path) -> Timing:
    """When the frames of an animation are shown; fps is 0 for a still.

    Raises:
        PhotoError: not a picture, damaged, or too large.
    """
    with _opened(path) as image:
        return _timing(image)


def _timing(image: Any) -> Timing:  # noqa: ANN401
    if _num_frames(image) == 1:
        return timing_of([Fraction(0)], Fraction(0), Fraction(0))
    durations_s = _durations_s(image)
    begins_s = list(accumulate(durations_s[:-1], initial=Fraction(0)))
    return timing_of(begins_s, durations_s[-1], _mean_fps(durations_s))


def _durations_s(image: Any) -> list[Fraction]:  # noqa: ANN401
    durations_s = []
    for number in range(_num_frames(image)):
        image.seek(number)
        image.load()  # a WebP says how long a frame is shown when it has been decoded
        durations_s.append(_duration_s(image))
    return durations_s


def _mean_fps(durations_s: list[Fraction]) -> Fraction:
    return (len(durations_s) / sum(durations_s, Fraction(0))).limit_denominator(1000)


def _num_frames(image: Any) -> int:  # noqa: ANN401
    """1 for stills and for other files of many pictures, such as scanned pages."""
    return int(getattr(image, "n_frames", 1)) if image.format in _ANIMATED else 1


def _duration_s(image: Any) -> Fraction:  # noqa: ANN401
    milliseconds = image.info.get("duration") or _USUAL_DURATION_MS
    return Fraction(milliseconds).limit_denominator(1000) / 1000


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


def encode_png(image: UInt8[np.ndarray, "H W 3"]) -> bytes:
    """RGB -> PNG bytes. With this filter OpenCV takes half of Pillow's time, and the file is smaller."""
    import cv2

    options = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP]
    return cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)[1].tobytes()


def write_photo(path: Path, image: UInt8[np.ndarray, "H W 3"], quality: int = 95) -> None:
    """Write a .png, .jpg or .jpeg; it appears whole or not at all.

    Raises:
        WriteError: another ending, or the file cannot be written.
    """
    if path.suffix.lower() not in WRITTEN_SUFFIXES:
        raise WriteError(f"{shown(path)}: pictures are written as {', '.join(WRITTEN_SUFFIXES)}; give such a name")
    data = encode_png(image) if path.suffix.lower() == ".png" else encode_jpeg(image, quality)
    write_bytes(path, data)


def write_photo_folder(folder: Path, frames: Iterable[UInt8[np.ndarray, "H W 3"]]) -> int:
    """Write frames as 000000.png, 000001.png, ...; the folder appears whole or not at all.

    A folder of such frames that is there already is replaced.

    Returns:
        How many frames were written.

    Raises:
        WriteError: there is no frame, the folder holds other files, or it cannot be written.
    """
    count = 0
    with whole_folder(folder, ".png") as part:
        for frame in frames:
            data = encode_png(frame)
            with write_errors(folder):
                (part / f"{count:06d}.png").write_bytes(data)
            count += 1
        if count == 0:
            raise WriteError(f"{shown(folder)}: there is no frame to write; the input gave none")
    return count
