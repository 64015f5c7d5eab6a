import numpy as np
import pytest

from evaluation.protocols import HumanAnimal, PuppetsCross, SameSpecies


def test_a_person_drives_the_animal_that_performs_the_same(puppet_set) -> None:
    (pair,) = PuppetsCross()(puppet_set, "quick", 64, None)
    assert (pair.species, pair.driver_species, pair.num_frames) == ("cat", "human", 6)
    frames = pair.load()
    assert np.array_equal(frames.source, frames.truth.frames[0])
    assert len(frames.driving) == len(frames.truth.frames) == 6
    assert not np.array_equal(frames.driving[0], frames.source)
    assert frames.signals is not None


def test_without_a_common_performance_the_way_out_is_named(puppet_set) -> None:
    with pytest.raises(ValueError, match="performances=shared"):
        PuppetsCross(driver_species="panda")(puppet_set, "quick", 64, None)


def test_another_individual_of_the_species_drives_and_puppets_know_the_answer(family) -> None:
    pairs = SameSpecies()(family, "quick", 64, None)
    assert len(pairs) == 4
    for pair in pairs:
        assert pair.facts["source_identity"] != pair.facts["driver_identity"]
        assert pair.species == pair.driver_species
    frames = pairs[0].load()
    assert frames.truth is not None
    assert not np.array_equal(frames.driving, frames.truth.frames)
    assert np.array_equal(frames.source, frames.truth.frames[0])


def test_one_individual_alone_cannot_be_driven_by_another(puppet_set) -> None:
    with pytest.raises(ValueError, match="no two individuals"):
        SameSpecies()(puppet_set, "quick", 64, None)


def test_a_person_drives_photos_and_clips_of_animals_and_nobody_knows_the_answer(family) -> None:
    pairs = HumanAnimal()(family, "quick", 64, None)
    assert len(pairs) == 4
    assert {(pair.species, pair.driver_species) for pair in pairs} == {("cat", "human")}
    stills = HumanAnimal(sources="stills")(family, "quick", 64, None)
    assert len(stills) == 2
    frames = stills[0].load()
    assert frames.truth is None
    assert frames.signals is None
    assert len(frames.driving) == 6
    assert frames.source_landmarks is not None


def test_people_may_come_from_another_folder(family, puppet_set) -> None:
    pairs = HumanAnimal(drivers=puppet_set, sources="clips", drivers_per_source=2)(family, "quick", 64, None)
    assert {pair.facts["driver"]["clip"].split("/")[0] for pair in pairs} == {"human"}
    assert len(pairs) == 2


def test_shards_have_splits_of_sources(family_shards) -> None:
    assert len(HumanAnimal()(family_shards, "quick", 64, None)) == 4
    assert len(PuppetsCross(split="all")(family_shards, "quick", 64, None)) == 4
    with pytest.raises(ValueError, match="no split 'val'"):
        HumanAnimal(split="val")(family_shards, "quick", 64, None)
    with pytest.raises(ValueError, match=r"protocol.split='tset' is unknown"):
        HumanAnimal(split="tset")(family_shards, "quick", 64, None)


def test_clips_of_another_rate_are_not_the_same_performance(family) -> None:
    from dataclasses import replace

    from evaluation.clips import find_clips
    from evaluation.protocols.plan import common_frames

    clip, other = find_clips(family, side_px=64)[:2]
    assert len(common_frames(clip, other)) == 6
    assert len(common_frames(clip, replace(other, fps=12.0))) == 0
    assert len(common_frames(clip, replace(other, start=3))) == 0


def test_a_media_list_says_who_drives_whom(family, tmp_path) -> None:
    import shutil

    shutil.copytree(family, tmp_path / "media")
    cat = next(path for path in sorted((tmp_path / "media/cat").rglob("still-0.jpg")))
    human = next(path for path in sorted((tmp_path / "media/human").rglob("*.mp4")))
    listed = tmp_path / "media" / "list.csv"
    root = tmp_path / "media"
    listed.write_text(f"source,driver\n{cat.relative_to(root)},{human.relative_to(root)}\n")
    (pair,) = HumanAnimal()(listed, "quick", 64, None)
    assert pair.facts["source"]["clip"] == cat.relative_to(root).as_posix()
    assert pair.load().driving.shape == (6, 64, 64, 3)
    with pytest.raises(ValueError, match="same_species needs equal ones"):
        SameSpecies()(listed, "quick", 64, None)
    with pytest.raises(ValueError, match="use human_animal"):
        PuppetsCross()(listed, "quick", 64, None)


def test_wrong_options_are_refused(family, as_installed) -> None:
    with pytest.raises(ValueError, match="choose all, stills or clips"):
        HumanAnimal(sources="photos")(family, "quick", 64, None)
    with pytest.raises(ValueError, match="drivers_per_source=0 is out of range"):
        HumanAnimal(drivers_per_source=0)(family, "quick", 64, None)
