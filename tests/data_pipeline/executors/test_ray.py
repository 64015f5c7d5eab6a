import importlib.util
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from data_pipeline.adapters.folder import FolderSource
from data_pipeline.crop import Cropper
from data_pipeline.curate import FILES, curate
from data_pipeline.curation import Curation
from data_pipeline.dedup import NearDuplicates
from data_pipeline.detect import BoxesDetector
from data_pipeline.executors.executor import Executor, ExecutorError
from data_pipeline.executors.local import LocalExecutor
from data_pipeline.executors.ray import RayExecutor
from data_pipeline.file_worker import FileRow, FileWorker, Job
from data_pipeline.quality import QualityGate
from data_pipeline.shards import ShardWriter
from data_pipeline.shots import ShotSplitter
from data_pipeline.split import Splitter
from data_pipeline.track import TrackLinker
from tests.data_pipeline.boxed_media import write_boxed_media

has_ray = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not has_ray, reason="ray is not installed: pip install 'pawtrait[ray]'")
noisy_ray = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)  # fmt: skip


def test_ray_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ExecutorError, match=r"pip install 'pawtrait\[ray\]'"):
        RayExecutor()


@needs_ray
@pytest.mark.parametrize("options", [{"cpus_per_job": 0.0}, {"retries": -1}, {"gpus_per_detector": 1.0}])
def test_wrong_numbers_are_told(options: dict) -> None:
    with pytest.raises(ExecutorError, match=next(iter(options))):
        RayExecutor(**options)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Two machines of one core each, as Ray sees them."""
    # Tests must not use the network, and Ray gives this machine's own address there, not 127.0.0.1.
    monkeypatch.setattr("data_pipeline.executors.ray._check_answers", lambda address: None)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray.cluster_utils import Cluster

    # What the tests define reaches the workers by value: they cannot import it.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.add_node(num_cpus=1)
    made.wait_for_nodes()
    yield made
    ray.shutdown()
    made.shutdown()
    ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@dataclass(frozen=True)
class Noting:
    """Says which machine begins a file, and gives the test a moment to kill that."""

    worker: FileWorker
    notes: Path

    @property
    def curation(self) -> Curation:
        return self.worker.curation

    @property
    def detector(self) -> Any:
        return self.worker.detector

    def with_detector(self, detector: Any) -> "Noting":
        return replace(self, worker=self.worker.with_detector(detector))

    def __call__(self, job: Job) -> FileRow:
        import ray

        node = ray.get_runtime_context().get_node_id()
        (self.notes / f"{node}.{job.file.path.stem}.{time.time_ns()}").touch()
        time.sleep(1.0)
        return self.worker(job)


@dataclass(frozen=True)
class KillsOneMachine:
    """Runs the work on the cluster; a machine dies as soon as it has begun its second file."""

    executor: RayExecutor
    cluster: Any
    notes: Path

    def __call__(self, work: Callable, jobs: Sequence, lost: Callable) -> Iterator:
        victim = self.cluster.worker_nodes.copy().pop()
        watcher = threading.Thread(target=self._kill, args=(victim,), daemon=True)
        watcher.start()
        yield from self.executor(Noting(work, self.notes), jobs, lost)
        watcher.join(1)
        assert not watcher.is_alive(), "the machine that was to die never had a second file"

    def _kill(self, victim: Any) -> None:
        while len(list(self.notes.glob(f"{victim.node_id}.*"))) < 2:
            time.sleep(0.05)
        self.cluster.remove_node(victim, allow_graceful=False)


def run(root: Path, out: Path, executor: Executor, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Curate the media below root; all files of `out` but the one that tells seconds."""
    monkeypatch.chdir(root)
    curation = Curation(
        detector=BoxesDetector(path="media-boxes.csv"), shots=ShotSplitter(), linker=TrackLinker(),
        cropper=Cropper(side_px=64), splitter=Splitter(),
        gate=QualityGate(min_side_px=20.0, min_resolved_px=0.0, max_text_frac=1.0, max_people_frac=1.0),
    )  # fmt: skip
    curate(
        source=FolderSource(path="media"), worker=FileWorker(curation=curation), duplicates=NearDuplicates(),
        writer=ShardWriter(max_samples=3), executor=executor, out=out, config={},
    )  # fmt: skip
    return {path.name: path.read_bytes() for path in out.iterdir() if path.is_file() and path.name != FILES}


@needs_ray
@noisy_ray
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_machine_that_dies_does_not_show_in_the_shards(cluster, tmp_path: Path, monkeypatch) -> None:
    write_boxed_media(tmp_path / "media")
    local = run(tmp_path, tmp_path / "local", LocalExecutor(workers=1), monkeypatch)
    notes = tmp_path / "notes"
    notes.mkdir()
    executor = KillsOneMachine(RayExecutor(address=cluster.address), cluster, notes)
    assert isinstance(executor, Executor)
    spread = run(tmp_path, tmp_path / "ray", executor, monkeypatch)  # type: ignore[arg-type]
    begun = [path.name.split(".") for path in notes.iterdir()]
    assert len({node for node, *_ in begun}) == 2, "both machines worked"
    assert len(begun) > len({name for _, name, _ in begun}), "what died was begun again"
    assert spread == local
    assert "worker died" not in spread["drops.jsonl"].decode()


@needs_ray
@noisy_ray
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_detectors_of_their_own_give_the_same_shards(cluster, tmp_path: Path, monkeypatch) -> None:
    write_boxed_media(tmp_path / "media", stills=2, clips=1)
    local = run(tmp_path, tmp_path / "local", LocalExecutor(workers=1), monkeypatch)
    executor = RayExecutor(address=cluster.address, detectors=1)
    assert run(tmp_path, tmp_path / "ray", executor, monkeypatch) == local


@dataclass(frozen=True)
class Plain:
    """A job of numbers."""

    number: int
    result: Path
    needs: Path | None = None


def dies_on_three(job: Plain) -> int:
    if job.number == 3:
        os._exit(9)
    job.result.touch()
    return job.number


def mark_lost(job: Plain) -> int:
    job.result.touch()
    return -job.number


@needs_ray
@noisy_ray
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_jobs_that_kill_their_worker_are_lost_and_wrong_files_are_told(cluster, tmp_path: Path) -> None:
    executor = RayExecutor(address=cluster.address, retries=1, wait_for_file_s=0.5)
    jobs = [Plain(i, tmp_path / str(i)) for i in range(5)]
    results = {job.number: result for job, result in executor(dies_on_three, jobs, mark_lost)}
    assert results == {0: 0, 1: 1, 2: 2, 3: -3, 4: 4}
    blind = [Plain(0, tmp_path / "a", needs=tmp_path / "nowhere.mp4")]
    with pytest.raises(ExecutorError, match=r"does not see .*nowhere\.mp4; on a cluster"):
        list(executor(dies_on_three, blind, mark_lost))
    with pytest.raises(ExecutorError, match="not to be seen here"):
        list(executor(_writes_nothing, [Plain(0, tmp_path / "b")], mark_lost))
    with pytest.raises(ZeroDivisionError):
        list(executor(_is_wrong, [Plain(0, tmp_path / "c")], mark_lost))
    large = RayExecutor(address=cluster.address, cpus_per_job=64.0)
    with pytest.raises(ExecutorError, match="has 2 CPUs"):
        list(large(dies_on_three, jobs, mark_lost))


def _writes_nothing(job: Plain) -> int:
    return job.number


def _is_wrong(job: Plain) -> float:
    return 1 / job.number


@needs_ray
@noisy_ray
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_was_started_here_ends_here(tmp_path: Path) -> None:
    results = RayExecutor()(dies_on_three, [Plain(i, tmp_path / str(i)) for i in range(2)], mark_lost)
    next(results)
    import ray

    assert ray.is_initialized()
    results.close()  # what Ctrl-C does
    assert not ray.is_initialized()
    with pytest.raises(ExecutorError, match=r"nothing answers at executor\.address=127\.0\.0\.1:1"):
        list(RayExecutor(address="127.0.0.1:1")(dies_on_three, [Plain(1, tmp_path / "1")], mark_lost))
