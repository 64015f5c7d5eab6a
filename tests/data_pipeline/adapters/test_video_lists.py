import json
from pathlib import Path

import pytest

from data_pipeline.adapters.folder import MediaFile, SourceError
from data_pipeline.adapters.video_lists import CelebVHqSource, HdtfSource, TalkingHeadSource, VfhqSource
from data_pipeline.records import ClipSpan


def put(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())


def span(start: float, stop: float, region: tuple[float, ...], of: tuple[float, ...], unit: str = "s") -> ClipSpan:
    x0, y0, x1, y1 = map(float, region)
    size = (float(of[0]), float(of[1]))
    start, stop = float(start), float(stop)
    return ClipSpan(start=start, stop=stop, unit=unit, region_xyxy=(x0, y0, x1, y1), region_of=size)  # type: ignore[arg-type]


def problems(files: list[MediaFile]) -> dict[str, str]:
    return {f.path.name: f.problem for f in files if f.problem}


def test_celebv_hq(tmp_path: Path) -> None:
    put(tmp_path, "cut/A_0.mp4", "raw/-B c.mp4")
    box = {"top": 0.1, "bottom": 0.5, "left": 0.2, "right": 0.6}
    clips = {
        "A_0": {"ytb_id": "A", "duration": {"start_sec": 1, "end_sec": 2}, "bbox": box},
        "B_0": {"ytb_id": "-B c", "duration": {"start_sec": 1.5, "end_sec": 4}, "bbox": box},
        "B_1": {"ytb_id": "-B c", "duration": {"start_sec": 4, "end_sec": 4}, "bbox": box},
        "C_0": {"ytb_id": "C", "duration": {"start_sec": 1, "end_sec": 2}, "bbox": box},
        "D_0": {"ytb_id": "D"},
    }
    (tmp_path / "celebvhq_info.json").write_text(json.dumps({"meta_info": {}, "clips": clips}))
    files = CelebVHqSource(path=str(tmp_path))()
    cut, whole = (f for f in files if not f.problem)
    assert (cut.path.name, cut.span, cut.identity, cut.species) == ("A_0.mp4", None, "youtube/A", "human")
    assert whole.span == span(1.5, 4, (0.2, 0.1, 0.6, 0.5), (1, 1))
    assert whole.licence == "non-commercial research"
    assert problems(files) == {
        "C_0.mp4": "listed but absent",
        "celebvhq_info.json#3": "annotation damaged",
        "celebvhq_info.json#5": "annotation damaged",
    }
    (tmp_path / "celebvhq_info.json").write_text("[]")
    with pytest.raises(SourceError, match="no list of CelebV-HQ"):
        CelebVHqSource(path=str(tmp_path))()


def test_talkinghead_1kh(tmp_path: Path) -> None:
    put(tmp_path, "1min/--Y9_0000.mp4", "cropped/x_0001_S5_E9_L1_T2_R30_B40.mp4")
    lines = ["--Y9_0000, 720, 1280, 0, 271, 504, 63, 792, 351", "x_0001,100,100,5,9,1,2,30,40", "y, 1, 2", ""]
    (tmp_path / "train_video_tubes.txt").write_text("\n".join(lines))
    files = TalkingHeadSource(path=str(tmp_path))()
    whole, cut = (f for f in files if not f.problem)
    expected = span(0, 272, (504, 63, 792, 351), (1280, 720), "frames")
    assert whole.span == expected
    assert (cut.span, cut.identity) == (None, "youtube/x")
    assert problems(files) == {"train_video_tubes.txt#3": "annotation damaged"}
    with pytest.raises(SourceError, match=r"val\.txt is no file; give the list of TalkingHead-1KH"):
        TalkingHeadSource(path=str(tmp_path), manifest="val.txt")()


def test_hdtf(tmp_path: Path) -> None:
    put(tmp_path, "WRA_TomPrice0.mp4", "cut/TomPrice1_0.mp4")
    lists = tmp_path / "HDTF_dataset"
    lists.mkdir()
    (lists / "WRA_annotion_time.txt").write_text("TomPrice0.mp4 00:13-01:18 02:00-01:00\nTomPrice1.mp4 00:01-00:02\n")
    (lists / "WRA_crop_wh.txt").write_text("TomPrice0_0.mp4 414 487 10 480\n")
    (lists / "WRA_resolution.txt").write_text("TomPrice0.mp4 720\n")
    files = HdtfSource(path=str(tmp_path))()
    by_name = {f.path.name: f for f in files if not f.problem}
    assert by_name["WRA_TomPrice0.mp4"].span == span(13, 78, (414, 10, 901, 490), (0, 720))
    assert by_name["TomPrice1_0.mp4"].span is None
    assert {f.identity for f in by_name.values()} == {"hdtf/TomPrice"}
    assert problems(files) == {"WRA_annotion_time.txt#1": "annotation damaged"}


def test_vfhq(tmp_path: Path) -> None:
    put(tmp_path, "videos/0Hy2D-FF4cY.mp4", "frames/readme.md")
    info = tmp_path / "meta_info"
    info.mkdir()
    text = "H 1080\nW 1920\nFPS 25.0\nCROP: 100 50 900 850\n"
    (info / "Clip+0Hy2D-FF4cY+P0+C0+F100-250.txt").write_text(text)
    (info / "Clip+gone+P0+C0+F1-9.txt").write_text(text)
    (info / "Clip+frames+P0+C0+F1-9.txt").write_text(text)
    (tmp_path / "Clip+frames+P0+C0+F1-9").mkdir()
    (info / "Clip+bad+P0+C0+F1-9.txt").write_text("H 1080\n")
    files = VfhqSource(path=str(tmp_path))()
    (file,) = (f for f in files if not f.problem)
    assert file.span == span(4, 10, (100, 50, 900, 850), (1920, 1080))
    assert file.identity == "youtube/0Hy2D-FF4cY/P0"
    assert sorted(problems(files).values()) == ["annotation damaged", "clip is a folder", "listed but absent"]
