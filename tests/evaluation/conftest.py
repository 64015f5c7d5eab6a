"""Fixtures: networks and pictures of the golden recipe, and small media made on the spot."""

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.evaluation.stand_ins import (
    BOXES,
    FakeCapture,
    FakeReader,
    Run,
    ball_picture,
    balls_as_heads,
    called,
    small_driver,
)
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


@pytest.fixture
def as_installed() -> Iterator[None]:
    """No types are checked while code runs, as users have it: the code itself must tell values of a wrong kind."""
    import jaxtyping

    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def run(tmp_path, monkeypatch, capsys) -> Callable[..., Run]:
    """Call a program as its console script does, in an empty folder."""
    import importlib

    programs = {"evaluate": ("evaluation.cli", "evaluate"), "animate": ("evaluation.animate_cli", "main")}

    def call(program: str, *args: object) -> Run:
        module, function = programs[program]
        monkeypatch.chdir(tmp_path)
        entry = getattr(importlib.import_module(module), function)
        return called(entry, [f"lp-{program}", *args], monkeypatch, capsys)

    return call


@pytest.fixture
def photo(tmp_path, picture) -> Path:
    """A photo of a ball, cat.jpg."""
    from data_pipeline.photo import encode_jpeg

    path = tmp_path / "cat.jpg"
    path.write_bytes(encode_jpeg(picture(120, 90)))
    return path


@pytest.fixture
def animate(run, photo, lively_weights):
    """Run lp-animate with the lively weights and heads given by hand; later options win."""

    def call(*args: object):
        given = {str(arg).split("=")[0] for arg in args}
        usual = [f"source={photo}", f"weights={lively_weights}", "precision=float32", "batch_frames=3", *BOXES]
        return run("animate", *(word for word in usual if word.split("=")[0] not in given), *args)

    return call


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory):
    """A weights directory of the tiny model, random."""
    from lp_models import LivePortrait, LivePortraitConfig
    from lp_models.weights import save_pretrained

    torch.manual_seed(0)
    return save_pretrained(
        LivePortrait(LivePortraitConfig.named("tiny")), tmp_path_factory.mktemp("tiny"), {"species": ["cat"]}
    )


@pytest.fixture(scope="session")
def lively_weights(tmp_path_factory) -> Path:
    """The tiny model with larger motion heads and corrections that are not zero: what it shows moves."""
    from lp_models import LivePortrait, LivePortraitConfig
    from lp_models.weights import save_pretrained

    torch.manual_seed(0)
    model = LivePortrait(LivePortraitConfig.named("tiny"))
    spreads = {"fc_exp": 0.02, "fc_t": 0.05, "fc_scale": 0.05, "fc_pitch": 0.3, "fc_yaw": 0.3, "fc_roll": 0.3}
    with torch.no_grad():
        for name, spread in spreads.items():
            getattr(model.motion.detector, name).weight.normal_(0, spread)
        for part in (model.stitching.stitching, model.stitching.eye, model.stitching.lip):
            last = part.mlp[-1]
            assert isinstance(last, torch.nn.Linear)
            last.weight.normal_(0, 0.05)
            last.bias.normal_(0, 0.01)
    return save_pretrained(model, tmp_path_factory.mktemp("lively"), {"species": ["cat"]})


@pytest.fixture
def lively(lively_weights, find_head):
    """An animator with the lively weights, three frames at once."""
    from evaluation import Animator

    return Animator.from_pretrained(
        lively_weights, detector=find_head, device="cpu", batch_frames=3, precision="float32"
    )


@pytest.fixture
def keypoints() -> Callable:
    """Iterates an animation and gives the keypoints that its generator was asked to show; pictures are left out."""

    def of(animation) -> torch.Tensor:
        asked: list[torch.Tensor] = []
        side_px = animation.engine.output_px

        def render(source, x_d):
            asked.append(x_d)
            return iter(np.zeros((len(x_d), side_px, side_px, 3), np.uint8))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(animation.engine, "render", render)
            for _ in animation:
                pass
        return torch.cat(asked)

    return of


@pytest.fixture
def fake_reader() -> type[FakeReader]:
    """The class."""
    return FakeReader


@pytest.fixture
def camera():
    """Maker of a live driver from pictures, whose clock ticks one frame for each: Footage and its capture."""

    def make(pictures: Iterable[np.ndarray], fps: float = 25.0, seconds: float | None = None):
        from data_pipeline.webcam import WebcamFrames
        from evaluation.driver import Camera, Footage

        capture = FakeCapture(pictures, fps)
        clock = (i / fps for i in range(10**9))
        live = WebcamFrames(0, seconds, open_capture=lambda _: capture, clock=lambda: next(clock))
        footage = Footage(
            name="camera 0", is_still=False, fps=live.fps, num_frames=0, height_px=live.height_px,
            width_px=live.width_px, camera=Camera(live), seconds=seconds,
        )  # fmt: skip
        return footage, capture

    return make


@pytest.fixture
def fake_capture() -> type[FakeCapture]:
    """The class."""
    return FakeCapture


@pytest.fixture
def find_balls():
    """A stub detector that finds several heads in a frame."""
    return balls_as_heads


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


@pytest.fixture
def moves():
    """Maker of driving frames that need no crop."""
    return small_driver


@pytest.fixture
def ball_video(tmp_path):
    """Maker of a file in which balls move: places (x, y) or lists of them, a frame each."""

    def make(
        name: str, places: Iterable[tuple[float, float]], fps: Fraction = Fraction(30), radius: float = 40, **size: int
    ) -> Path:
        from data_pipeline.video import write_video

        def frames() -> Iterator[np.ndarray]:
            for x, y in places:
                yield ball_picture(x, y, radius, **size)

        write_video(tmp_path / name, frames(), fps, crf=10, preset="ultrafast")
        return tmp_path / name

    return make


@pytest.fixture
def picture():
    """Maker of photos with one head."""
    return ball_picture


@pytest.fixture
def driving_video(tmp_path):
    """Maker of a synthetic driving file: a ball that swings, at 30000/1001 frames a second, with a tone."""

    def make(num_frames: int = 11, *, sound: bool = True):
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


@pytest.fixture
def small_benchmark(monkeypatch):
    """The puppet benchmark in miniature: a cat in three levels, six frames of 48 pixels."""
    from dataclasses import replace

    from evaluation import puppet_benchmark
    from evaluation.protocols import benchmark
    from evaluation.puppet_benchmark import Extent, benchmark_text, checksum
    from evaluation.puppet_levels import Kind

    kinds = (Kind("plain", "all"), Kind("occlusion", "all"), Kind("other_light", "all"))
    quick, full = Extent(identities=1, num_frames=6, stride=2), Extent(identities=1, num_frames=8, stride=1)
    sizes, version_1 = {"quick": quick, "full": full}, puppet_benchmark.PUPPETS_BENCHMARK_V1
    spec = replace(version_1, render_px=64, side_px=48, species=("cat",), sizes=sizes)
    monkeypatch.setattr(puppet_benchmark, "KINDS", kinds)
    monkeypatch.setattr(puppet_benchmark, "PUPPETS_BENCHMARK_V1", spec)
    spec = replace(spec, checksums={size: checksum(benchmark_text(size)) for size in sizes})
    monkeypatch.setattr(puppet_benchmark, "PUPPETS_BENCHMARK_V1", spec)
    monkeypatch.setattr(benchmark, "PUPPETS_BENCHMARK_V1", spec)
    return spec
