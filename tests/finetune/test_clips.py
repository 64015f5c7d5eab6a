import numpy as np
import pytest

from finetune.clips import ClipPool, ShardError
from tests.finetune.conftest import FRAMES, SIDE, sample, write_shards


def test_clips_hold_what_the_shards_hold(shards):
    clips = {clip.key: clip for clip in ClipPool(shards=shards, with_labels=True)()}
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
    clips = {clip.key: clip for clip in ClipPool(shards=shards, frame_stride=3)()}
    for key in ("cat-1", "human-1"):
        clip = clips[key]
        native = clip.start + clip.stride * np.arange(clip.num_frames)
        assert (native % 3 == 0).all()
        np.testing.assert_allclose(clip.truth["pose_deg"][:, 1], 2 * native)


def test_a_full_cache_leaves_the_rest_out_and_says_so(shards, capsys):
    clips = ClipPool(shards=shards, cache_gb=1e-9)()
    assert len(clips) == 1
    assert "cache_gb" in capsys.readouterr().err


@pytest.mark.parametrize(("make", "words"), [
    (lambda f: f / "none", "not a folder"),
    (lambda f: f, "no train"),
])  # fmt: skip
def test_missing_shards_are_one_clear_sentence(tmp_path, make, words):
    with pytest.raises(ShardError, match=words):
        ClipPool(shards=make(tmp_path))()


def test_a_cut_off_shard_is_named(tmp_path):
    folder = write_shards(tmp_path, [sample(f"cat-{i}", "cat") for i in range(2)])
    path = folder / "train-00000.tar"
    path.write_bytes(path.read_bytes()[:7000])
    with pytest.raises(ShardError, match=r"damaged|does not fit|member"):
        ClipPool(shards=folder)()


def test_a_video_shorter_than_its_record_is_refused(tmp_path):
    members = sample("cat-1", "cat", exact=False)
    members["json"] = members["json"].replace(b'"points": [', b'"points": [[[1,1],[1,1],[1,1],[1,1],[1,1]],')
    with pytest.raises(ShardError, match="6 frames in the video, 7"):
        ClipPool(shards=write_shards(tmp_path, [members]))()
