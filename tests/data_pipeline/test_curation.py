from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_pipeline.adapters.folder import MediaFile
from data_pipeline.crop import Cropper
from data_pipeline.curation import Curation
from data_pipeline.quality import QualityGate
from data_pipeline.records import Drop, Sample
from data_pipeline.shots import ShotSplitter
from data_pipeline.split import Splitter
from data_pipeline.track import TrackLinker
from data_pipeline.video import write_video


@pytest.fixture
def curation(ball_detector) -> Curation:
    return Curation(
        detector=ball_detector,
        shots=ShotSplitter(),
        linker=TrackLinker(),
        cropper=Cropper(side_px=64),
        gate=QualityGate(min_side_px=30.0, min_coverage_frac=0.3, min_change_grey=0.0, max_frozen_frac=1.0),
        splitter=Splitter(),
    )


def test_a_clip_becomes_one_sample_with_its_head_in_the_frame(curation: Curation, ball_clip: Path) -> None:
    (sample,) = curation(MediaFile(path=ball_clip, licence="CC0"))
    assert isinstance(sample, Sample)
    assert sample.frames.shape == (24, 64, 64, 3)
    assert (sample.species, sample.kind, sample.fps, sample.licence) == ("cat", "video", 25.0, "CC0")
    assert ((sample.points > 8) & (sample.points < 56)).all()
    steps = np.diff(sample.points[:, :, 0].mean(axis=1))
    assert (steps > -0.2).all(), "the head moves right in the crop, as it did in the clip"
    assert np.ptp(sample.points[:, :, 0].mean(axis=1)) > 1


def test_a_still_becomes_a_sample_of_one_frame(curation: Curation, tmp_path: Path, head_picture) -> None:
    Image.fromarray(head_picture()).save(tmp_path / "a.png")
    (sample,) = curation(MediaFile(path=tmp_path / "a.png"))
    assert isinstance(sample, Sample)
    assert (sample.kind, len(sample.frames), sample.fps) == ("image", 1, 0.0)


def test_a_cut_separates_samples(curation: Curation, tmp_path: Path, head_picture) -> None:
    frames = [head_picture(seed=1)] * 16 + [255 - head_picture(seed=9)] * 16 + [head_picture(seed=2)] * 16
    write_video(tmp_path / "a.mp4", frames, Fraction(25))
    outcomes = list(curation(MediaFile(path=tmp_path / "a.mp4")))
    starts = [o.start for o in outcomes if isinstance(o, Sample)]
    assert starts == [0, 32]
    assert [o.reason for o in outcomes if isinstance(o, Drop)] == ["no head found"]


@pytest.mark.parametrize("content", [b"", b"no picture" * 50])
def test_an_unreadable_file_is_a_drop(curation: Curation, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.jpg"
    path.write_bytes(content)
    (drop,) = curation(MediaFile(path=path))
    assert isinstance(drop, Drop)
    assert (drop.stage, drop.reason) == ("probe", "unreadable")
    assert "bad.jpg" in drop.detail


def test_a_small_head_is_a_drop_with_its_reason(curation: Curation, ball_clip: Path) -> None:
    strict = replace(curation, gate=QualityGate(min_side_px=500.0))
    (drop,) = strict(MediaFile(path=ball_clip))
    assert isinstance(drop, Drop)
    assert drop.reason == "head too small"


def test_a_manifest_names_the_species_and_unwanted_ones_are_dropped(curation: Curation, ball_clip: Path) -> None:
    (sample,) = curation(MediaFile(path=ball_clip, species="panda"))
    assert isinstance(sample, Sample)
    assert sample.species == "panda"
    (drop,) = replace(curation, species=("dog",))(MediaFile(path=ball_clip))
    assert isinstance(drop, Drop)
    assert drop.reason == "species not asked for"


def test_unknown_species_are_refused(curation: Curation) -> None:
    with pytest.raises(ValueError, match="yeti"):
        replace(curation, species=("yeti",))  # type: ignore[arg-type]
