import cv2
import numpy as np
import pytest

from data_pipeline.clusters import smallest_of_group
from data_pipeline.dedup import Fingerprint, NearDuplicates
from data_pipeline.hash_index import HashIndex
from data_pipeline.hashes import hamming, perceptual_hash, plain_hashes, stored_frames, thumbnails, view_hashes, views
from data_pipeline.photo import decode_jpeg, encode_jpeg
from data_pipeline.thumb_store import ThumbStore, note_to_thumbs, thumbs_to_note


def scene(seed: int, side: int = 128) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return cv2.resize(rng.integers(0, 255, (9, 9, 3), np.uint8), (side, side), interpolation=cv2.INTER_CUBIC)


def clip(seed: int, num_frames: int = 40) -> np.ndarray:
    """A bright disc wanders over a scene, differently for each seed."""
    rng = np.random.default_rng(seed)
    at = 64 + np.cumsum(cv2.GaussianBlur(rng.normal(0, 12, (num_frames, 2)), (1, 9), 3), axis=0)
    frames = []
    for x, y in np.clip(at, 20, 108):
        frame = scene(0).copy()
        cv2.circle(frame, (round(x), round(y)), 18, (250, 250, 250), -1)
        frames.append(frame)
    return np.stack(frames)


def bits(a: np.ndarray, b: np.ndarray) -> int:
    return int(hamming(np.array([perceptual_hash(a)], np.uint64), np.array([perceptual_hash(b)], np.uint64))[0, 0])


def fingerprint(key: str, frames: np.ndarray, source: str = "", rank: float = 1.0, exempt: bool = False) -> Fingerprint:
    frames = frames if frames.ndim == 4 else frames[None]
    return Fingerprint(key=key, source_id=source or key, thumbs=thumbnails(frames), rank=rank, exempt=exempt)


def kept_for(prints: list[Fingerprint], **options: float) -> dict[str, str]:
    return NearDuplicates(**options)(prints).kept_for


@pytest.mark.parametrize("seed", range(5))
def test_copies_are_close_and_other_pictures_far(seed: int) -> None:
    image = scene(seed)
    assert bits(image, decode_jpeg(encode_jpeg(image, 40))) <= 6
    assert bits(image, cv2.resize(image, (70, 70), interpolation=cv2.INTER_AREA)) <= 6
    assert bits(image, np.clip(image * 0.8 + 20, 0, 255).astype(np.uint8)) <= 6
    assert bits(image, scene(seed + 100)) > 12


def test_the_hash_of_a_view_is_that_of_the_part_it_shows() -> None:
    image = scene(1, side=320)
    found = view_hashes(thumbnails(image[None]))[0]
    assert len(found) == len(views()) == 38
    for view, code in zip(views(), found, strict=True):
        picture = image[:, ::-1] if view.mirrored else image
        left, top, side = (round(320 * v) for v in (view.left, view.top, view.scale))
        part = np.ascontiguousarray(picture[top : top + side, left : left + side])
        assert np.bitwise_count(code ^ plain_hashes(thumbnails(part[None]))[0]) <= 6, view


def test_the_index_finds_everything_within_seven_bits() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, 3000, np.uint64)
    queries = hashes[:60].copy()
    for i in range(60):
        for bit in rng.choice(64, i % 8, replace=False):
            queries[i] ^= np.uint64(1) << np.uint64(bit)
    hits = HashIndex(hashes)(queries, 7)
    near = hamming(queries, hashes) <= 7
    assert sorted(zip(hits.query.tolist(), hits.entry.tolist(), strict=True)) == list(map(tuple, np.argwhere(near)))
    assert (hits.bits == hamming(queries, hashes)[hits.query, hits.entry]).all()


def test_the_better_copy_is_kept() -> None:
    image = scene(0)
    copy = decode_jpeg(encode_jpeg(image, 50))
    assert kept_for([fingerprint("small", copy, rank=1.0), fingerprint("large", image, rank=9.0)]) == {"small": "large"}


def test_pieces_of_one_file_and_rendered_media_are_left_alone() -> None:
    image = scene(0)
    assert kept_for([fingerprint("a", image, "one"), fingerprint("b", image, "one")]) == {}
    assert kept_for([fingerprint("a", image, exempt=True), fingerprint("b", image, exempt=True)]) == {}


def test_a_chain_of_copies_leaves_one_and_is_one_cluster() -> None:
    image = scene(3)
    prints = [fingerprint(str(i), image, rank=float(i)) for i in range(5)]
    found = NearDuplicates()(prints)
    assert set(found.kept_for.values()) == {"4"}
    assert set(found.cluster_of.values()) == {"0"}


def test_without_drop_clusters_are_only_recorded() -> None:
    image = scene(3)
    found = NearDuplicates(drop=False)([fingerprint("b", image), fingerprint("a", image), fingerprint("c", scene(4))])
    assert found.kept_for == {}
    assert found.cluster_of == {"a": "a", "b": "a", "c": "c"}


@pytest.mark.parametrize(
    "copy",
    [
        pytest.param(lambda f: f[:, :, ::-1], id="mirrored"),
        pytest.param(lambda f: f[:, 12:124, 4:116], id="cropped"),
        pytest.param(lambda f: f[10:30], id="trimmed"),
        pytest.param(lambda f: f[::2], id="faster"),
        pytest.param(lambda f: np.repeat(f, 2, axis=0), id="slower"),
        pytest.param(lambda f: (f * 0.8 + 15).astype(np.uint8), id="lighter"),
    ],
)
def test_a_changed_clip_is_known_and_another_motion_before_the_same_scene_is_not(copy) -> None:
    changed = fingerprint("copy", np.ascontiguousarray(copy(clip(1))))
    found = NearDuplicates()([fingerprint("original", clip(1)), changed, fingerprint("other", clip(2))])
    assert found.cluster_of == {"original": "copy", "copy": "copy", "other": "other"}


def test_a_still_of_a_clip_shares_its_cluster_and_both_stay() -> None:
    found = NearDuplicates()([fingerprint("clip", clip(1)), fingerprint("still", clip(1)[20])])
    assert set(found.cluster_of.values()) == {"clip"}
    assert found.kept_for == {}


def test_a_small_local_change_is_another_moment() -> None:
    image, changed = scene(5), scene(5).copy()
    cv2.circle(changed, (64, 50), 9, (0, 0, 0), -1)
    assert kept_for([fingerprint("a", image), fingerprint("b", changed)]) == {}


def test_nothing_and_pictures_of_one_colour_do_no_harm() -> None:
    assert NearDuplicates()([]) == ({}, {})
    flat = np.full((64, 64, 3), 7, np.uint8)
    assert kept_for([fingerprint("a", flat), fingerprint("b", scene(1))]) == {}


def test_a_long_clip_keeps_few_thumbnails() -> None:
    assert len(stored_frames(100_000)) <= 48
    assert stored_frames(40).tolist() == list(range(40))


def test_thumbnails_come_back_from_notes_and_from_disk(tmp_path) -> None:
    several = [thumbnails(clip(1)), thumbnails(scene(2)[None])]
    with ThumbStore(tmp_path / "thumbs") as store:
        for thumbs in several:
            store.append(note_to_thumbs(thumbs_to_note(thumbs)))
    for before, after in zip(several, store.views(), strict=True):
        np.testing.assert_array_equal(before, after)
    with pytest.raises(ValueError, match="run lp-curate again"):
        note_to_thumbs({"hashes": [1, 2, 3]})


def test_clusters_are_named_by_their_smallest_key() -> None:
    assert smallest_of_group("edcba", [("e", "d"), ("d", "b"), ("c", "a")]) == dict(zip("edcba", "bbaba", strict=True))


@pytest.mark.parametrize("options", [{"min_shape": 0.0}, {"max_bits": 40}, {"max_guesses": 0}])
def test_thresholds_out_of_range_are_refused(options: dict) -> None:
    with pytest.raises(ValueError, match="duplicates"):
        NearDuplicates(**options)
