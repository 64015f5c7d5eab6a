import numpy as np
import pytest

from data_pipeline.video import read_frames, read_info
from evaluation.pair_folder import entry_of, file_name, pairs_text, read_arrays, read_pairs, write_arrays, write_pair


def test_names_of_files_are_plain_and_never_meet() -> None:
    assert file_name("plain-all-cat-00") == "plain-all-cat-00"
    names = [file_name(one) for one in ("a/b", "a-b", "a b", "猫", "x" * 300, "x" * 301)]
    assert len(set(names)) == len(names)
    assert all(len(name) < 120 and name.isascii() and "/" not in name for name in names)


def test_a_pair_can_be_read_by_anybody(tmp_path, moves) -> None:
    frames = moves(5)
    entry = entry_of("a/b", 5, 12.5, {"species": "cat"})
    write_pair(tmp_path, entry, frames[0], frames)
    (tmp_path / "pairs.json").write_text(pairs_text([entry], {"protocol": "self"}))
    (found,) = read_pairs(tmp_path)["pairs"]
    assert found == entry
    assert np.array_equal(next(read_frames_of_png(tmp_path / found["source"])), frames[0])
    driver = np.stack(list(read_frames(tmp_path / found["driver"])))
    assert np.abs(driver.astype(int) - frames).mean() < 6
    assert float(read_info(tmp_path / found["driver"]).fps) == 12.5


def read_frames_of_png(path):
    from data_pipeline.media import read_frames as read_any

    return read_any(path)


def test_arrays_come_back_and_damage_is_named(tmp_path) -> None:
    write_arrays(tmp_path / "a.npz", {"points": np.arange(6.0)})
    assert read_arrays(tmp_path / "a.npz")["points"].tolist() == list(range(6))
    (tmp_path / "b.npz").write_bytes(b"no zip")
    for name in ("b.npz", "c.npz"):
        with pytest.raises(ValueError, match=f"{name} cannot be read"):
            read_arrays(tmp_path / name)


@pytest.mark.parametrize("text", ["", "{}", '{"format": 9, "pairs": []}', '{"format": 1, "pairs": [{"id": 1}]}'])
def test_a_folder_that_is_none_is_refused(tmp_path, text) -> None:
    (tmp_path / "pairs.json").write_text(text)
    with pytest.raises(ValueError, match=r"pairs\.json"):
        read_pairs(tmp_path)
