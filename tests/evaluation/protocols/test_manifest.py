import json
import pickle
import shutil

import numpy as np
import pytest

from evaluation.protocols import EyesSweep, HumanAnimal, PuppetsCross, SelfReenactment, manifest_text, write_manifest


def test_the_same_data_give_the_same_bytes_wherever_they_lie(family, tmp_path) -> None:
    shutil.copytree(family, tmp_path / "elsewhere")
    texts = []
    for folder in (family, tmp_path / "elsewhere"):
        protocol = HumanAnimal()
        texts.append(manifest_text(protocol, protocol(folder, "quick", 64, None), 64))
    assert texts[0] == texts[1]
    assert str(tmp_path) not in texts[1]
    found = json.loads(texts[0])
    assert (found["format"], found["protocol"], found["options"]["sources"]) == (1, "human_animal", "all")
    assert len(found["pairs"][0]["driver"]["frames"]) == 6


@pytest.mark.parametrize("protocol", [SelfReenactment, PuppetsCross, HumanAnimal, EyesSweep])
def test_a_manifest_runs_exactly_its_pairs_and_frames(family, tmp_path, protocol) -> None:
    pairs = protocol()(family, "quick", 64, None)
    path = tmp_path / "protocol.json"
    write_manifest(path, protocol(), pairs[1:3], 64)
    again = protocol(manifest=path)(family, "full", 64, None)
    assert [pair.pair_id for pair in again] == [pair.pair_id for pair in pairs[1:3]]
    assert np.array_equal(again[0].load().driving, pairs[1].load().driving)
    assert manifest_text(protocol(), again, 64) == path.read_text()


def test_frames_come_from_the_manifest_and_not_from_the_size(family, tmp_path) -> None:
    protocol = SelfReenactment()
    path = tmp_path / "protocol.json"
    write_manifest(path, protocol, protocol(family, "quick", 64, None), 64)
    found = json.loads(path.read_text())
    for pair in found["pairs"]:
        pair["driver"]["frames"] = [0, 2, 4]
    path.write_text(json.dumps(found))
    pair = SelfReenactment(manifest=path)(family, "quick", 64, None)[0]
    assert (pair.num_frames, pair.stride) == (3, 2)
    whole = protocol(family, "quick", 64, None)[0].load()
    frames = pair.load()
    assert np.array_equal(frames.driving, whole.driving[::2])
    assert frames.fps == 5.0


def test_changed_data_are_refused_by_name(family, tmp_path) -> None:
    shutil.copytree(family, tmp_path / "data")
    protocol = PuppetsCross()
    path = tmp_path / "protocol.json"
    write_manifest(path, protocol, protocol(tmp_path / "data", "quick", 64, None), 64)
    clip = next((tmp_path / "data" / "human").rglob("*.mp4"))
    clip.write_bytes(clip.read_bytes() + b"\0")
    with pytest.raises(ValueError, match=r"the driver human/human-000\d/.* is another file now"):
        PuppetsCross(manifest=path)(tmp_path / "data", "quick", 64, None)
    with pytest.raises(ValueError, match="make them equal"):
        SelfReenactment(manifest=path)(tmp_path / "data", "quick", 64, None)
    with pytest.raises(ValueError, match="make them equal"):
        PuppetsCross(manifest=path)(tmp_path / "data", "quick", 96, None)


def test_other_data_and_files_that_are_no_manifest_are_refused(family, puppet_set, tmp_path) -> None:
    protocol = SelfReenactment(species=("cat",))
    path = tmp_path / "protocol.json"
    write_manifest(path, protocol, protocol(family, "quick", 64, None)[1:], 64)
    with pytest.raises(ValueError, match="does not hold"):
        SelfReenactment(manifest=path)(puppet_set, "quick", 64, None)
    for text in ("{", "[]", '{"format": 1, "protocol": "self", "side_px": 64, "pairs": []}'):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"protocol.json"):
            SelfReenactment(manifest=path)(family, "quick", 64, None)


def test_pairs_travel_to_other_processes(family) -> None:
    pair = PuppetsCross()(family, "quick", 64, None)[0]
    assert np.array_equal(pickle.loads(pickle.dumps(pair)).load().driving, pair.load().driving)


def test_shards_are_known_by_the_content_of_each_sample(family_shards, tmp_path) -> None:
    protocol = PuppetsCross()
    pairs = protocol(family_shards, "quick", 64, None)
    path = tmp_path / "protocol.json"
    write_manifest(path, protocol, pairs, 64)
    hashes = [pair.facts["source"]["hash"] for pair in pairs] + [pair.facts["driver"]["hash"] for pair in pairs]
    assert len(set(hashes)) == 4
    again = PuppetsCross(manifest=str(path))(family_shards, "quick", 64, None)
    assert np.array_equal(again[0].load().driving, pairs[0].load().driving)
    # One byte in the middle of the last sample: only its own hash changes.
    (shard,) = family_shards.glob("*.tar")
    content = bytearray(shard.read_bytes())
    at = content.rindex(b"mdat") + 400
    content[at] ^= 1
    shard.write_bytes(content)
    with pytest.raises(ValueError, match="is another file now"):
        PuppetsCross(manifest=path)(family_shards, "quick", 64, None)
