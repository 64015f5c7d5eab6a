from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_pipeline.adapters.folder import FolderSource
from data_pipeline.candidates import read_candidates
from data_pipeline.crop import Cropper
from data_pipeline.curate import FileWorker, curate
from data_pipeline.curation import Curation
from data_pipeline.dedup import NearDuplicates
from data_pipeline.executors.local import LocalExecutor
from data_pipeline.file_worker import REJECTED
from data_pipeline.quality import QualityGate
from data_pipeline.requalify import requalify
from data_pipeline.shards import ShardWriter, read_samples
from data_pipeline.shots import ShotSplitter
from data_pipeline.split import Splitter
from data_pipeline.track import TrackLinker

GATE = QualityGate(min_side_px=60.0, min_coverage_frac=0.2, max_light_frac=1.0, min_resolved_px=0.0)


@pytest.fixture
def made(tmp_path: Path, ball_clip: Path, ball_detector, head_picture):
    """A clip, a large head and a small one; the small one is dropped by the gate."""
    for number, radius in enumerate((40, 24)):
        picture = head_picture(seed=number + 5, radius=radius, centre=(80 + 20 * number, 75))
        Image.fromarray(picture).save(ball_clip.parent / f"still {number}.png")

    def start(keep: bool) -> Path:
        out = tmp_path / f"out{keep}"
        curation = Curation(
            detector=ball_detector, shots=ShotSplitter(), linker=TrackLinker(), cropper=Cropper(side_px=64),
            gate=GATE, splitter=Splitter(),
        )  # fmt: skip
        curate(
            source=FolderSource(path=str(ball_clip.parent)),
            worker=FileWorker(curation=curation, keep_rejected=keep),
            duplicates=NearDuplicates(),
            writer=ShardWriter(),
            executor=LocalExecutor(workers=1),
            out=out,
            config={"side": 64},
        )
        return out

    return start


def test_every_measured_crop_has_a_line_with_all_its_scores(made) -> None:
    out = made(False)
    found = read_candidates(out)
    kept = {one.key: one for one in read_samples(out)}
    assert {one.key for one in found if not one.reasons} == set(kept)
    (small,) = [one for one in found if one.reasons]
    assert small.reasons == ("head too small",)
    assert small.place.endswith("still 1.png#frame0")
    assert sorted(one.kind for one in found) == ["image", "image", "video"]
    for one in found:
        again = GATE.reasons(one.scores, one.side_px, one.num_frames, one.kind == "video")
        assert tuple(again) == one.reasons
        if one.key in kept:
            assert one.scores == kept[one.key].quality
    assert not list((out / ".work").glob(f"*{REJECTED}"))


def test_kept_work_admits_what_the_gate_dropped(made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = made(True)
    before = {one.key for one in read_samples(out)}
    monkeypatch.setattr("data_pipeline.media.read_frames", None)  # nothing is decoded
    done = requalify(out, tmp_path / "new", QualityGate(min_side_px=30.0, **_same(GATE)))
    assert len(done.admitted) == 1
    samples = list(read_samples(tmp_path / "new"))
    assert {one.key for one in samples} == before | set(done.admitted)
    assert all(np.ptp(one.frames) > 50 for one in samples)


def _same(gate: QualityGate) -> dict[str, float]:
    return {name: getattr(gate, name) for name in ("min_coverage_frac", "max_light_frac", "min_resolved_px")}
