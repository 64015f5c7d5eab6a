import io
import json
import pickle
import zipfile
from fractions import Fraction

import numpy as np
import pytest

from evaluation.template_layouts import Stored, from_npz, from_upstream, to_npz, to_upstream
from evaluation.templates import TemplateError, read_template


def arrays(T: int = 5) -> dict[str, np.ndarray]:
    """The four parts that every template has."""
    rng = np.random.default_rng(0)
    return {
        "rotation": np.eye(3, dtype=np.float32)[None].repeat(T, axis=0),
        "delta": rng.normal(size=(T, 21, 3)).astype(np.float32),
        "scale": np.full((T, 1), 1.3, np.float32),
        "shift": rng.normal(size=(T, 3)).astype(np.float32),
    }


def upstream(T: int = 4) -> dict:
    """What LivePortrait pickles."""
    parts = arrays(T)
    names = {"R": "rotation", "exp": "delta", "scale": "scale", "t": "shift"}
    return {
        "n_frames": T, "output_fps": 25,
        "motion": [{key: parts[name][t : t + 1] for key, name in names.items()} for t in range(T)],
        "c_eyes_lst": [np.full((1, 2), 0.3, np.float32)] * T, "c_lip_lst": [np.full((1, 1), 0.1, np.float32)] * T,
    }  # fmt: skip


def test_both_layouts_give_back_what_they_were_given() -> None:
    given = Stored(arrays() | {"canonical": arrays()["delta"]}, Fraction(25), "me.mp4", "starter")
    for read in (from_npz(to_npz(given)), from_upstream(to_upstream(given, arrays()["delta"]), "me.mp4")):
        assert read.arrays.keys() == given.arrays.keys()
        assert all(np.array_equal(read.arrays[name], given.arrays[name]) for name in given.arrays)
        assert (read.fps, read.source) == (25, "me.mp4")


def test_upstreams_arrays_may_lack_the_leading_one_and_the_rate() -> None:
    content = upstream()
    content["motion"] = [{key: value[0] for key, value in frame.items()} for frame in content["motion"]]
    del content["output_fps"], content["n_frames"]
    read = from_upstream(pickle.dumps(content), "x")
    assert read.arrays["delta"].shape == (4, 21, 3)
    assert read.fps == 25


def changed(**changes: object) -> bytes:
    return pickle.dumps(upstream() | changes)


def frame_changed(key: str, value: object) -> bytes:
    content = upstream()
    content["motion"][2][key] = value
    return pickle.dumps(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1", "git-lfs pointer"),
        (b"\x00\x00\x00\x18ftypmp42", "is not a motion template"),
        (pickle.dumps([1, 2]), "it has no list named motion"),
        (changed(motion=[]), "its motion has no frames"),
        (changed(n_frames=5), "n_frames is 5 but motion has 4 frames"),
        (changed(n_frames=np.ones(3)), "n_frames is"),
        (changed(output_fps=0), "output_fps is 0"),
        (changed(output_fps="fast"), "output_fps is 'fast'"),
        (changed(c_eyes_lst=[np.ones((1, 2))]), "c_eyes_lst does not have one entry"),
        (changed(c_lip_lst=[np.ones((1, 2), np.float32)] * 4), r"c_lip_lst of frame 0 is \[1, 2\] instead of \[1, 1\]"),
        (frame_changed("exp", np.ones((1, 20, 3), np.float32)), r"exp of frame 2 is \[1, 20, 3\] instead of \[1, 21,"),
        (frame_changed("R", np.eye(4, dtype=np.float32)[None]), r"R of frame 2 is \[1, 4, 4\] instead of \[1, 3, 3\]"),
        (frame_changed("t", 3), "t of frame 2 is int"),
        (changed(n_frames=1, motion=[{"exp": np.ones((1, 21, 3))}]), "frame 0 of its motion has no R"),
        (pickle.dumps(upstream())[:-700], "is damaged or cut off"),
    ],
)  # fmt: skip
def test_what_is_no_template_is_refused_in_one_sentence(tmp_path, content, message) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(content)
    with pytest.raises(TemplateError, match=message) as caught:
        read_template(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def npz(**changes: np.ndarray | bytes) -> bytes:
    """Our format, some members replaced."""
    stored = to_npz(Stored(arrays(), Fraction(25), "me", "starter"))
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(stored)) as old, zipfile.ZipFile(target, "w") as new:
        for info in old.infolist():
            name = info.filename.removesuffix(".npy")
            value = changes.get(name, old.read(info))
            if isinstance(value, np.ndarray):
                stream = io.BytesIO()
                np.save(stream, value, allow_pickle=True)
                value = stream.getvalue()
            if value:
                new.writestr(info.filename, value)
    return target.getvalue()


def header(**changes: object) -> np.ndarray:
    about = {"format": "pawtrait motion template", "version": 1, "fps": "25/1", "num_frames": 5, "num_keypoints": 21,
             "source": "", "model": ""} | changes  # fmt: skip
    return np.frombuffer(json.dumps(about).encode(), np.uint8)


HUGE = (
    b"\x93NUMPY\x01\x00v\x00"
    + b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999, 9999, 3), }".ljust(117)
    + b"\n"
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npz(header=b""), "an archive of something else"),
        (npz(header=header(version=2)), "this program reads version 1"),
        (npz(header=header(format="recipe")), "'recipe'"),
        (npz(header=header(fps="25/0")), "its header is damaged"),
        (npz(header=header(num_frames=6)), r"rotation is float32\[5, 3, 3\] instead of float32\[6, 3, 3\]"),
        (npz(header=np.frombuffer(b"[1]", np.uint8)), "its header is damaged"),
        (npz(header=np.frombuffer(b"[" * 100_000, np.uint8)), "is not a usable motion template"),
        (npz(delta=b""), "it has no delta"),
        (npz(delta=np.zeros((5, 21, 3))), "an array of another kind than float32"),
        (npz(delta=np.array([{}], dtype=object)), "an array of another kind than float32"),
        (npz(delta=HUGE), r"claims the shape \[99999999, 9999, 3\]"),
        (npz(scale=np.ones((5, 1), np.uint8)), r"scale is uint8\[5, 1\]"),
        (npz()[:-500], "is damaged or cut off"),
    ],
)
def test_a_damaged_archive_is_refused(tmp_path, content, message) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with pytest.raises(TemplateError, match=message) as caught:
        read_template(path)
    assert str(caught.value).startswith(str(path))


def test_a_compressed_archive_could_be_a_bomb(tmp_path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, header=header(), delta=np.zeros((200_000, 21, 3), np.float32))
    with pytest.raises(TemplateError, match="its arrays are compressed"):
        read_template(path)
