import io
import tarfile
from fractions import Fraction

import numpy as np
import pytest

from data_pipeline.video import encode_clip, read_frames
from finetune.clips import ShardError
from finetune.packets import PackedVideo, PacketError, unpack
from finetune.shard_index import read_index
from finetune.shard_stream import ClipStore
from tests.finetune.conftest import FRAMES, SIDE, face, sample, write_shards


def read(shards, **options) -> dict:
    store = ClipStore(read_index(shards, **options))
    return {card.key: store.clip(number) for number, card in enumerate(store.cards)}


def moving(num: int) -> np.ndarray:
    return np.stack([face("cat", 0.02 * i - 0.1, 100) for i in range(num)])


def test_clips_hold_what_the_shards_hold(shards):
    clips = read(shards, with_labels=True)
    cat, real, still = clips["cat-1"], clips["cat-real"], clips["cat-still"]
    assert cat.num_frames == FRAMES
    assert cat.image(0).shape == (SIDE, SIDE, 3)
    assert cat.label_map(0)[-1, 0] == 1
    assert 0 < cat.points.min() < cat.points.max() < 1
    assert not real.truth
    assert real.label_map(0) is None
    assert still.num_frames == 1
    # RGB: the human's head is reddish.
    middle = clips["human-real"].image(2)[SIDE // 2, SIDE // 2].astype(int)
    assert middle[0] > middle[2]


def test_a_stride_keeps_clips_of_one_performance_aligned(shards):
    clips = read(shards, frame_stride=3)
    for key in ("cat-1", "human-1"):
        clip = clips[key]
        native = clip.start + clip.stride * np.arange(clip.num_frames)
        assert (native % 3 == 0).all()
        np.testing.assert_allclose(clip.truth["pose_deg"][:, 1], 2 * native)
    whole = read(shards)["cat-1"]
    np.testing.assert_array_equal(clips["cat-1"].image(1), whole.image(3))
    assert clips["cat-1"].num_bytes < whole.num_bytes / 2


@pytest.mark.parametrize("gop", [1, 4, 8])
def test_any_frame_of_a_packed_video_is_the_one_that_reading_in_order_gives(gop):
    data = encode_clip(moving(21), 25.0, gop=gop)
    packed, whole = unpack(data), np.stack(list(read_frames(data)))
    assert packed.longest_run == gop
    for index in np.random.default_rng(0).permutation(21):
        np.testing.assert_array_equal(packed.image(int(index)), whole[index])
    some = packed.only(range(2, 21, 3))
    np.testing.assert_array_equal(some.image(4), whole[14])


def test_videos_with_few_key_frames_are_kept_as_jpeg(tmp_path):
    members = sample("cat-1", "cat", exact=False, num=40)
    members["mp4"] = encode_clip(moving(40), Fraction(25), gop=40)
    clip = read(write_shards(tmp_path, [members]))["cat-1"]
    assert not isinstance(clip.pictures, PackedVideo)
    assert clip.num_frames == 40
    assert np.abs(clip.image(30).astype(int) - moving(40)[30]).mean() < 6


def test_a_damaged_frame_is_named(tmp_path):
    packed = unpack(encode_clip(moving(3), 25.0))
    broken = PackedVideo(
        codec="h264", extradata=packed.extradata, packets=(b"\0\0\0\1" * 9,) * 3, shown_at=packed.shown_at,
        key_packets=packed.key_packets, order=packed.order,
    )  # fmt: skip
    with pytest.raises(PacketError, match="frame 1"):
        broken.image(1)
    np.testing.assert_array_equal(packed.image(1), unpack(encode_clip(moving(3), 25.0)).image(1))
    with pytest.raises(PacketError):
        unpack(b"no video")


def test_the_index_says_what_reading_finds(shards):
    index = read_index(shards, with_labels=True)
    for card, clip in zip(index.cards, read(shards, with_labels=True).values(), strict=True):
        for name in ("key", "species", "kind", "start", "stride", "num_frames", "identity", "performance"):
            assert getattr(card, name) == getattr(clip, name), name
        assert card.has_truth == bool(clip.truth)


def test_what_memory_is_planned_for_is_what_clips_take(tmp_path):
    members = [sample(f"cat-{i}", "cat", num=30) for i in range(2)]
    index = read_index(write_shards(tmp_path, members))
    took = sum(clip.num_bytes for clip in read(tmp_path).values())
    assert took == pytest.approx(index.kept_bytes, rel=0.3)


@pytest.mark.parametrize(("make", "words"), [
    (lambda f: f / "none", "not a folder"),
    (lambda f: f, "no train"),
])  # fmt: skip
def test_missing_shards_are_one_clear_sentence(tmp_path, make, words):
    with pytest.raises(ShardError, match=words):
        read_index(make(tmp_path))


def test_an_empty_split_is_one_clear_sentence(tmp_path):
    with pytest.raises(ShardError, match="hold no samples; curate more"):
        read_index(write_shards(tmp_path, []))
    (tmp_path / "train-00001.tar").touch()
    with pytest.raises(ShardError, match=r"train-00001\.tar is empty"):
        read_index(tmp_path)


@pytest.mark.parametrize("keep", [0.01, 0.3, 0.7])
def test_a_cut_off_shard_is_named(tmp_path, keep):
    folder = write_shards(tmp_path, [sample(f"cat-{i}", "cat") for i in range(2)])
    path = folder / "train-00000.tar"
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(ShardError, match=r"train-00000\.tar.*run lp-curate again"):
        ClipStore(read_index(folder)).read_all()


def test_a_shard_damaged_inside_is_named(tmp_path):
    folder = write_shards(tmp_path, [sample(f"cat-{i}", "cat") for i in range(2)])
    index = read_index(folder)
    path = folder / "train-00000.tar"
    data = bytearray(path.read_bytes())
    with tarfile.open(fileobj=io.BytesIO(bytes(data))) as tar:
        place = next(info.offset_data for info in tar if info.name == "cat-1.mp4")
    data[place : place + 400] = bytes(400)
    path.write_bytes(data)
    with pytest.raises(ShardError, match=r"train-00000\.tar: sample cat-1"):
        ClipStore(index).clip(1)


def test_a_shard_that_changed_meanwhile_is_named(tmp_path):
    index = read_index(write_shards(tmp_path, [sample("cat-0", "cat")]))
    write_shards(tmp_path, [sample("cat-9", "cat")])
    with pytest.raises(ShardError, match="no longer holds sample cat-0"):
        ClipStore(index).clip(0)


def test_a_video_shorter_than_its_record_is_refused(tmp_path):
    members = sample("cat-1", "cat", exact=False)
    members["json"] = members["json"].replace(b'"points": [', b'"points": [[[1,1],[1,1],[1,1],[1,1],[1,1]],')
    with pytest.raises(ShardError, match="6 frames in the video, 7"):
        read(write_shards(tmp_path, [members]))


def test_a_cache_smaller_than_one_clip_is_refused(shards):
    with pytest.raises(ValueError, match=r"data.cache_gb=1e-06 does not hold sample .* give at least"):
        ClipStore(read_index(shards), cache_gb=1e-6)
