"""Fixtures: networks and pictures of the golden recipe, and small media made on the spot."""

import numpy as np
import pytest
import torch

from tests.golden_recipe import Golden, lattice_picture


@pytest.fixture(scope="session")
def corrections():
    """S, R_eyes and R_lip with the golden weights."""
    from lp_models.config import LivePortraitConfig
    from lp_models.stitching import StitchingRetargeting

    net = StitchingRetargeting(LivePortraitConfig.named("official"))
    for part in ("stitching", "lip", "eye"):
        state = Golden().weights(f"stitching_retargeting_module.{part}")
        getattr(net, part).load_state_dict({key: torch.from_numpy(value) for key, value in state.items()})
    return net.eval()


@pytest.fixture(scope="session")
def lattice_image():
    """Maker of the golden pictures: name, height, width, cells -> u8[H,W,3]."""
    return lattice_picture


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory):
    """A weights directory of the tiny model, random."""
    from lp_models import LivePortrait, LivePortraitConfig
    from lp_models.weights import save_pretrained

    torch.manual_seed(0)
    return save_pretrained(
        LivePortrait(LivePortraitConfig.named("tiny")), tmp_path_factory.mktemp("tiny"), {"species": ["cat"]}
    )


@pytest.fixture
def find_head():
    """A stub detector: one head per frame, at the centre of the brightest red, or none in a dark frame."""
    from data_pipeline.records import Detection

    def detect(frames: list[np.ndarray], first_frame: int = 0) -> list[list[Detection]]:
        found = []
        for number, frame in enumerate(frames, start=first_frame):
            rows, columns = np.nonzero(frame[:, :, 0].astype(int) - frame[:, :, 2] > 60)
            if not len(rows):
                found.append([])
                continue
            x, y, r = columns.mean(), rows.mean(), np.ptp(columns) / 2
            points = np.array([[-0.4, -0.3], [0.4, -0.3], [0, 0], [-0.3, 0.4], [0.3, 0.4]]) * r + (x, y)
            found.append(
                [
                    Detection(
                        frame=number,
                        species="cat",
                        box_xyxy=np.array([x - r, y - r, x + r, y + r], np.float32),
                        points_xy=points.astype(np.float32),
                        point_scores=np.ones(5, np.float32),
                        score=0.9,
                    )
                ]
            )
        return found

    return detect


def ball_picture(x: float, y: float, radius: float = 40, height: int = 200, width: int = 260) -> np.ndarray:
    """A red ball on a blue-grey gradient."""
    rows, columns = np.mgrid[:height, :width]
    image = np.stack((60 + 0 * rows, rows * 0.4 + 30, 120 + columns * 0.4), axis=2)
    inside = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
    image[inside] = (230, 90, 40)
    return image.astype(np.uint8)


@pytest.fixture
def picture():
    """Maker of photos with one head."""
    return ball_picture


@pytest.fixture
def driving_video(tmp_path):
    """Maker of a synthetic driving file: a ball that swings, at 30000/1001 frames a second, with a tone."""

    def make(num_frames: int = 11, *, sound: bool = True):
        from fractions import Fraction

        import av

        path, fps = tmp_path / f"driver{num_frames}.mp4", Fraction(30000, 1001)
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=fps)
            stream.height, stream.width, stream.pix_fmt = 200, 260, "yuv420p"
            stream.options = {"threads": "1", "preset": "ultrafast"}
            tone = container.add_stream("aac", rate=44100, layout="mono") if sound else None
            for i in range(num_frames):
                image = ball_picture(130 + 15 * np.sin(i / 3), 100)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode())
            if tone is not None:
                samples = np.sin(np.arange(int(44100 * num_frames / fps)) * 0.06).astype(np.float32)[None]
                for start in range(0, samples.shape[1], 1024):
                    part = av.AudioFrame.from_ndarray(samples[:, start : start + 1024], format="fltp", layout="mono")
                    part.rate, part.pts = 44100, start
                    container.mux(tone.encode(part))
                container.mux(tone.encode())
        return path

    return make


@pytest.fixture(scope="session")
def puppet_set(tmp_path_factory):
    """A cat and a person that perform the same for six frames, with truth and masks."""
    from data_pipeline.puppets.make import PuppetSet

    folder = tmp_path_factory.mktemp("puppets")
    PuppetSet(
        out=folder, identities=1, clips=1, seconds=0.6, fps=10.0, species=("human", "cat"), size_px=96, workers=1
    )()
    return folder
