import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_pipeline.media import MediaError, exact_fps, probe, read_frames, source_id_of


def save(path: Path, mode: str = "RGB", size: tuple[int, int] = (40, 24), **options: object) -> Path:
    Image.new(mode, size).save(path, **options)
    return path


def test_the_content_decides_not_the_name(tmp_path: Path) -> None:
    item = probe(save(tmp_path / "really_a.mp4", format="PNG"))
    assert (item.kind, item.num_frames, item.fps, item.width_px, item.height_px) == ("image", 1, 0.0, 40, 24)


def test_the_identity_is_the_content_when_nobody_names_it(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png")
    assert probe(path).identity == source_id_of(path)
    assert probe(path, identity="rex").identity == "rex"


def test_exif_turns_the_picture_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / "a.jpg", exif=exif)
    item = probe(path)
    assert (item.width_px, item.height_px, item.rotation_deg) == (24, 40, 90)
    assert next(read_frames(path)).shape == (40, 24, 3)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16", "CMYK"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = save(tmp_path / ("a.jpg" if mode == "CMYK" else "a.png"), mode)
    frame = next(read_frames(path))
    assert (frame.shape, frame.dtype) == ((24, 40, 3), np.uint8)


def test_an_animation_is_a_video(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    frames = [Image.new("RGB", (32, 32), (i * 60, 0, 0)) for i in range(4)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=50)
    item = probe(path)
    assert (item.kind, item.num_frames, float(exact_fps(path))) == ("video", 4, 20.0)
    assert len(list(read_frames(path))) == 4
    assert len(list(read_frames(path, 1, 3))) == 2


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [("a.jpg", b"", "empty"), ("b.png", b"text" * 99, "b.png"), ("c.mp4", b"\0" * 512, "c.mp4")],
)
def test_what_is_no_media_gets_one_sentence(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(MediaError, match=said) as caught:
        probe(path)
    assert "\n" not in str(caught.value)


def test_a_cut_off_jpeg_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(MediaError, match="damaged"):
        next(read_frames(path))


def test_a_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    path = save(tmp_path / "bomb.png", "1", (20_000, 20_000))
    with pytest.raises(MediaError, match="megapixels"):
        probe(path)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="nowhere"):
        probe(tmp_path / "nowhere.jpg")


def test_every_broken_file_is_read_or_told(shared_data: Path) -> None:
    """The notes of the test media say what must happen to each."""
    media = shared_data / "media"
    with (media / "MANIFEST.csv").open(newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["path"].startswith("broken/")]
    unreadable = {"no_moov", "zero_byte", "text_renamed", "audio_only", "zero_frames", "huge_header", "bomb_"}
    for path in sorted((media / "broken").iterdir()):
        may_fail = any(part in path.name for part in ("truncated_half", "one_"))
        must_fail = any(part in path.name for part in unreadable)
        said = ""
        try:
            item = probe(path)
            frames = sum(1 for _ in read_frames(path))
        except MediaError as error:
            said = str(error)
        if said:
            assert path.name in said
            assert must_fail or may_fail, said
        else:
            assert not must_fail, path
            assert frames >= 1
            assert item.kind == ("image" if frames == 1 and path.suffix != ".mp4" else "video")
    assert len(rows) > 30
