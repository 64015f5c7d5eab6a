import numpy as np
import pytest

from evaluation.source import choose_head, crop_source, points_in_box, probe_source, whole_frame


def test_the_head_fills_the_crop(picture, find_head) -> None:
    (portrait,) = crop_source(picture(130, 100), 64, find_head)
    assert portrait.species == "cat"
    assert portrait.crop.shape == (64, 64, 3)
    middle = portrait.source_from_crop @ [32, 32, 1]
    assert np.linalg.norm(middle - [130, 100]) < 40


def test_several_heads_are_chosen_by_size_or_by_place(picture, find_head) -> None:
    small, large = find_head([picture(60, 100, 20)])[0][0], find_head([picture(180, 100, 50)])[0][0]
    assert choose_head([small, large], "largest", "x") is large
    assert choose_head([large, small], 0, "x") is small
    assert choose_head([large, small], 1, "x") is large
    for head in (2, -1):
        with pytest.raises(ValueError, match=f"head={head}, but there are 2 heads; give largest or 0 to 1"):
            choose_head([large, small], head, "x")


def two_balls(picture) -> np.ndarray:
    image = picture(60, 100, 25)
    other = picture(190, 90, 40)
    image[:, 130:] = other[:, 130:]
    return image


def test_all_heads_are_given_from_left_to_right(picture, find_balls) -> None:
    image = two_balls(picture)
    left, right = crop_source(image, 64, find_balls, head="all")
    assert [one.num_heads for one in (left, right)] == [2, 2]
    for portrait, x in ((left, 60), (right, 190)):
        assert abs((portrait.source_from_crop @ [32, 32, 1])[0] - x) < 5
    (largest,) = crop_source(image, 64, find_balls)
    assert np.array_equal(largest.crop, right.crop)
    (first,) = crop_source(image, 64, find_balls, head=0)
    assert np.array_equal(first.crop, left.crop)


def test_no_head_is_one_sentence_with_a_way_out(find_head) -> None:
    for head in ("largest", "all", 0):
        with pytest.raises(ValueError, match=r"wall\.jpg: no head found; give its box as source_box"):
            crop_source(np.zeros((90, 90, 3), np.uint8), 64, find_head, name="wall.jpg", head=head)


def test_a_box_by_hand_gives_the_crop_around_it(picture) -> None:
    (portrait,) = crop_source(picture(130, 100), 64, None, box=[90, 60, 170, 140])
    assert portrait.species is None
    assert np.linalg.norm(portrait.source_from_crop @ [32, 32, 1] - [130, 100]) < 40


def test_a_larger_scale_shows_more_around_the_head(picture, find_head) -> None:
    sides = []
    for scale in (3.0, 6.0):
        (portrait,) = crop_source(picture(130, 100), 64, find_head, scale=scale)
        sides.append(portrait.source_from_crop[0, 0])
    assert sides[1] == pytest.approx(2 * sides[0])


def test_without_cropping_the_whole_photo_is_squeezed(picture) -> None:
    (portrait,) = crop_source(picture(130, 100), 64, None, crop=False)
    assert portrait.crop.shape == (64, 64, 3)
    assert np.allclose(portrait.source_from_crop @ [31.5, 31.5, 1], [129.5, 99.5])


@pytest.mark.parametrize("box", [[1, 2, 3], [50, 50, 40, 60], [900, 10, 950, 60]])
def test_a_box_that_is_none_is_refused(box) -> None:
    with pytest.raises(ValueError, match=r"box \["):
        points_in_box(box, 100, 100, "photo")


def test_the_whole_frame_maps_corner_to_corner() -> None:
    assert np.allclose(whole_frame(100, 200, 50) @ [-0.5, -0.5, 1], [-0.5, -0.5])
    assert np.allclose(whole_frame(100, 200, 50) @ [49.5, 49.5, 1], [199.5, 99.5])


def test_what_a_source_is_its_content_says(driving_video, tmp_path, picture) -> None:
    from data_pipeline.photo import encode_jpeg

    (tmp_path / "cat.mp4").write_bytes(encode_jpeg(picture(130, 100)))
    assert probe_source(tmp_path / "cat.mp4").kind == "image"
    assert probe_source(driving_video(2)).kind == "video"
    with pytest.raises(ValueError, match="is not a file; give a photo or a video"):
        probe_source(tmp_path / "none.jpg")
    with pytest.raises(ValueError, match="is not a file; give a photo or a video"):
        probe_source(tmp_path)
