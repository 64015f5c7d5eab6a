"""The package's own face reader as a reader of openings: puppets whose openings are known."""

import numpy as np
import pytest
import torch

from data_pipeline.crop import crop_transform, warp_crop
from data_pipeline.puppets import render, sample_identity
from data_pipeline.puppets.motion import COLUMN, NEUTRAL
from data_pipeline.records import Species
from evaluation.built_in_openings import BuiltInOpenings
from evaluation.metrics.reader import FaceReader
from evaluation.metrics.signals import Signals
from evaluation.openings import GivenOpenings, reader_of


class Told(FaceReader):
    """A face reader that says how bright each crop is, and for whom it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def __call__(self, frames: np.ndarray, species: str) -> Signals:
        self.asked.append(species)
        light = frames.reshape(len(frames), -1).mean(axis=1).astype(np.float32) / 255
        light[light == 0] = np.nan
        return Signals(light, light, light, light, light / 2, light - 0.5)


def crops(*lights: int) -> list[np.ndarray]:
    return [np.full((32, 32, 3), light, np.uint8) for light in lights]


def test_readings_are_ratios_of_the_viewers_left_eye_first() -> None:
    one, dark, none = BuiltInOpenings(reader=Told())(crops(255, 51, 0))
    assert one is not None
    assert dark is not None
    torch.testing.assert_close(one.eyes, torch.tensor([[1.0, 0.5]]))
    torch.testing.assert_close(one.lips, torch.tensor([[0.5]]))
    assert dark.lips.item() == 0  # never below shut
    assert none is None
    assert BuiltInOpenings(reader=Told())([]) == []


def test_a_source_is_read_as_its_own_species_and_a_driver_as_a_person() -> None:
    told = Told()
    reader = BuiltInOpenings(reader=told)
    for species in (None, "cat"):
        own = reader_of(reader, species)
        assert own is not None
        own(crops(9))
    assert told.asked == ["human", "cat"]
    given = GivenOpenings()
    assert reader_of(given, "cat") is given
    assert reader_of(None, "cat") is None


@pytest.mark.parametrize("species", ["human", "cat", "panda"])
def test_it_tells_open_from_shut_on_puppets(species: Species) -> None:
    identity, wide = sample_identity(species, 5, seed=99), NEUTRAL.copy()
    shut = wide.copy()
    shut[[COLUMN["lid_right"], COLUMN["lid_left"]]] = 0
    wide[COLUMN["jaw"]] = 0.8
    frames = [render(identity, motion, 160) for motion in (shut, wide)]
    square = crop_transform(frames[0].points, species, 128)
    found = BuiltInOpenings(species=species)([warp_crop(frame.image, square, 128) for frame in frames])
    assert found[0] is not None
    assert found[1] is not None
    assert (found[1].eyes - found[0].eyes).min() > 0.1
    assert found[1].lips > found[0].lips + 0.1
