import numpy as np
import pytest

from evaluation.source import choose_head, crop_source, points_in_box, read_photo, whole_frame


def test_the_head_fills_the_crop(picture, find_head) -> None:
    portrait = crop_source(picture(130, 100), 64, find_head)
    assert portrait.species == "cat"
    assert portrait.crop.shape == (64, 64, 3)
    middle = portrait.source_from_crop @ [32, 32, 1]
    assert np.linalg.norm(middle - [130, 100]) < 40


def test_several_heads_are_chosen_by_size_or_by_place(picture, find_head) -> None:
    small, large = find_head([picture(60, 100, 20)])[0][0], find_head([picture(180, 100, 50)])[0][0]
    assert choose_head([small, large], "largest", "x") is large
    assert choose_head([large, small], 0, "x") is small
    with pytest.raises(ValueError, match="head=2, but there are 2 heads; give largest or 0 to 1"):
        choose_head([large, small], 2, "x")


def test_no_head_is_one_sentence_with_a_way_out(find_head) -> None:
    with pytest.raises(ValueError, match=r"wall\.jpg: no head found; give its box as source_box"):
        crop_source(np.zeros((90, 90, 3), np.uint8), 64, find_head, name="wall.jpg")


def test_a_box_by_hand_gives_the_crop_around_it(picture) -> None:
    portrait = crop_source(picture(130, 100), 64, None, box=[90, 60, 170, 140])
    assert portrait.species is None
    assert np.linalg.norm(portrait.source_from_crop @ [32, 32, 1] - [130, 100]) < 40


@pytest.mark.parametrize("box", [[1, 2, 3], [50, 50, 40, 60], [900, 10, 950, 60]])
def test_a_box_that_is_none_is_refused(box) -> None:
    with pytest.raises(ValueError, match=r"box \["):
        points_in_box(box, 100, 100, "photo")


def test_the_whole_frame_maps_corner_to_corner() -> None:
    assert np.allclose(whole_frame(100, 200, 50) @ [-0.5, -0.5, 1], [-0.5, -0.5])
    assert np.allclose(whole_frame(100, 200, 50) @ [49.5, 49.5, 1], [199.5, 99.5])


def test_a_video_or_nothing_as_source_is_said(driving_video, tmp_path) -> None:
    with pytest.raises(ValueError, match="is a video, and only photos can be moved"):
        read_photo(driving_video(2))
    with pytest.raises(ValueError, match="is not a file; give a photo"):
        read_photo(tmp_path / "none.jpg")
