import csv
from pathlib import Path

import numpy as np
import pytest

from data_pipeline.puppets.identity import sample_identity
from data_pipeline.puppets.motion import sample_performance
from data_pipeline.puppets.render import render
from evaluation.metrics.faces import spread
from evaluation.metrics.identity import GalleryRank, IdentityKept, IdentityReader, stand_in_reader
from evaluation.metrics.look import IDENTITY_WEIGHTS, PICTURE_WEIGHTS, LookFeatures
from evaluation.protocols.pairs import PairFrames, Truth

POINTS = np.array([[24, 26], [40, 26], [32, 36], [26, 44], [38, 44]], np.float32)


class Colours:
    """An identity network for pictures of one colour."""

    side_px, template = 32, None

    def __init__(self) -> None:
        self.num_seen = 0

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        self.num_seen += len(pictures)
        return pictures[:, 8:24, 8:24].mean(axis=(1, 2)).astype(np.float32)


def plain(*colours: tuple[int, int, int]) -> np.ndarray:
    return np.stack([np.full((64, 64, 3), colour, np.uint8) for colour in colours])


def pair(source: tuple[int, int, int], T: int = 4, truth: bool = True) -> PairFrames:
    frames = plain(*([source] * T))
    points = np.repeat(POINTS[None], T, 0)
    known = Truth(frames=frames, species="cat", points=points)
    return PairFrames(
        source=frames[0], driving=frames, truth=known if truth else None, source_points=POINTS,
        driving_points=points, species="cat", driver_species="cat",
    )  # fmt: skip


RED, GREEN, BLUE = (200, 0, 0), (0, 200, 0), (0, 0, 200)


def test_the_cosine_is_one_for_the_same_and_nought_for_an_unrelated_one() -> None:
    kept = IdentityKept(IdentityReader({"cat": Colours()}))
    assert kept(plain(RED, RED, RED, RED), pair(RED)) == pytest.approx({"csim": 1, "csim_truth": 1})
    assert kept(plain(RED, GREEN, GREEN, RED), pair(RED)) == pytest.approx({"csim": 0.5, "csim_truth": 0.5})
    assert kept(plain(GREEN, BLUE, GREEN, BLUE), pair(RED)) == pytest.approx({"csim": 0, "csim_truth": 0})


def test_without_truth_there_is_no_number_against_it_and_without_a_network_none_at_all() -> None:
    blind = stand_in_reader()
    kept = IdentityKept(IdentityReader({"cat": Colours()}, lambda frames: [[] for _ in frames]))
    unknown = pair(RED, 2)._replace(source_points=None)
    assert kept(plain(RED, RED), unknown) == {}  # no head in the source: nothing to compare with
    assert kept(plain(RED, RED), pair(RED, 2)) == {"csim": 0, "csim_truth": 0}  # the source's is known, result's is not
    assert IdentityKept(IdentityReader({"dog": Colours()}))(plain(RED, RED), pair(RED, 2)) == {}
    none = IdentityKept(IdentityReader({}))
    assert none(plain(RED, RED), pair(RED, 2)) == {}
    assert set(none.missing()) == {"csim", "csim_truth"}
    assert IdentityKept(blind).missing() == {}


def test_a_head_that_is_gone_counts_as_nothing_kept() -> None:
    from data_pipeline.records import Detection

    def detect(frames: list[np.ndarray]) -> list[list[Detection]]:
        head = Detection(
            frame=0, species="cat", box_xyxy=np.array([10, 10, 54, 60], np.float32), points_xy=POINTS,
            point_scores=np.ones(5, np.float32), score=0.9,
        )  # fmt: skip
        return [[head] if frame.any() else [] for frame in frames]

    reader = IdentityReader({"cat": Colours()}, detect)
    kept, rank = IdentityKept(reader), GalleryRank(reader)
    half = plain(RED, (0, 0, 0), (0, 0, 0), RED)
    assert kept(half, pair(RED)) == pytest.approx({"csim": 0.5, "csim_truth": 0.5})
    gone = plain(*([(0, 0, 0)] * 4))
    assert kept(gone, pair(RED)) == {"csim": 0, "csim_truth": 0}
    assert kept(gone, pair(RED, truth=False)) == {"csim": 0}
    entries = [("a", rank.features(pair(RED), half)), ("b", rank.features(pair(GREEN), gone))]
    assert rank.values(entries) == {"gallery_rank": 0.25}


def test_several_measures_share_one_reading() -> None:
    network = Colours()
    reader = IdentityReader({"cat": network})
    one, made = pair(RED), plain(RED, RED, RED, RED)
    IdentityKept(reader)(made, one)
    seen = network.num_seen
    GalleryRank(reader).features(one, made)
    assert network.num_seen == seen
    IdentityKept(reader)(plain(BLUE, BLUE, BLUE, BLUE), one)
    assert network.num_seen == seen + 4  # source and truth are known
    IdentityKept(reader)(made, pair(GREEN))
    assert network.num_seen == seen + 4 + 5  # what was made is known, another source and another truth are not


def test_the_gallery_tells_who_a_result_is() -> None:
    rank = GalleryRank(IdentityReader({"cat": Colours()}))
    right = [(str(i), rank.features(pair(c), plain(c, c, c, c))) for i, c in enumerate((RED, GREEN, BLUE))]
    assert rank.values(right) == {"gallery_rank": 1}
    swapped = [("0", rank.features(pair(RED), plain(RED, GREEN, GREEN, GREEN))), *right[1:]]
    assert rank.values(swapped)["gallery_rank"] == pytest.approx(9 / 12)
    assert rank.values(right[:1]) == {}  # a gallery of one says nothing
    assert rank.values([]) == {}


def test_two_pictures_of_one_individual_are_one_entry_when_its_name_is_known() -> None:
    rank = GalleryRank(IdentityReader({"cat": Colours()}))
    pale = (210, 30, 30)
    entries = [
        ("a", rank.features(pair(RED), plain(pale, pale, pale, pale))),
        ("b", rank.features(pair(pale), plain(RED, RED, RED, RED))),
        ("c", rank.features(pair(BLUE), plain(BLUE, BLUE, BLUE, BLUE))),
    ]
    assert rank.values(entries)["gallery_rank"] == pytest.approx(1 / 3)
    assert rank.values(entries, {"a": "tom", "b": "tom", "c": "kit"}) == {"gallery_rank": 1}


def test_the_stand_in_bears_its_own_names() -> None:
    reader = stand_in_reader()
    noise = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    assert set(IdentityKept(reader)(noise, pair(RED, 2))) == {"csim_stand_in", "csim_truth_stand_in"}
    assert GalleryRank(reader).name == "gallery_rank_stand_in"


def test_the_look_is_of_length_one_and_the_same_for_the_same() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, 80, 80, 3), dtype=np.uint8)
    for weights in (IDENTITY_WEIGHTS, PICTURE_WEIGHTS):
        vectors = LookFeatures(weights)(noise)
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
        assert np.isfinite(LookFeatures(weights)(plain((0, 0, 0), (255, 255, 255)))).all()
    assert len(LookFeatures(IDENTITY_WEIGHTS)(noise[:0])) == 0


def test_the_stand_in_tells_puppets_apart_in_other_poses() -> None:
    motion = sample_performance(3, 12, 4.0)
    reader, rank = stand_in_reader(), None
    entries = []
    for index in range(5):
        shown = [render(sample_identity("cat", index), code, 128) for code in motion[[0, 5, 8, 11]]]
        frames, points = np.stack([one.image for one in shown]), np.stack([one.points for one in shown])
        truth = Truth(frames=frames, species="cat", points=points)
        one = PairFrames(
            source=frames[0], driving=frames, truth=truth, source_points=points[0], driving_points=points,
            species="cat", driver_species="cat",
        )  # fmt: skip
        rank = GalleryRank(reader)
        entries.append((str(index), rank.features(one, frames)))
    assert rank is not None
    found = rank.values(entries)["gallery_rank_stand_in"]
    assert found == 1  # chance is 0.2
    # Everybody handed to the next: nobody is right.
    moved = [(name, {**entries[(i + 1) % 5][1], "source": found["source"]}) for i, (name, found) in enumerate(entries)]
    assert rank.values(moved)["gallery_rank_stand_in"] == 0


@pytest.mark.slow
def test_the_stand_in_tells_real_animals_of_short_clips_apart(shared_data: Path) -> None:
    """22 animals; the gallery is each one's first clip's first frame, the probes are later frames of that clip."""
    from data_pipeline.detect import OnnxHeadDetector
    from data_pipeline.media import read_frames

    reader, entries, seen = stand_in_reader(OnnxHeadDetector(flip=False)), [], set()
    rank = GalleryRank(reader)
    for row in csv.DictReader((shared_data / "corpus" / "manifest.csv").read_text().splitlines()):
        if row["species"] not in ("cat", "dog", "panda") or row["identity"] in seen:
            continue
        frames = list(read_frames(shared_data / "corpus" / row["path"]))
        frames = np.stack([frames[i] for i in spread(len(frames), 9)])
        one = PairFrames(
            source=frames[0], driving=frames[1:], truth=None, source_points=None, driving_points=None,
            species=row["species"],
        )  # fmt: skip
        found = rank.features(one, frames[1:])
        if found:
            seen.add(row["identity"])
            entries.append((row["path"], found))
    assert len(entries) > 15
    assert rank.values(entries)["gallery_rank_stand_in"] > 0.8
