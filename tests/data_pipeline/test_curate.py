import csv
import json
import os
from pathlib import Path

import pytest
from PIL import Image

from data_pipeline.adapters.folder import FolderSource, SourceError
from data_pipeline.crop import Cropper
from data_pipeline.curate import FILES, FileWorker, Summary, curate
from data_pipeline.curation import Curation
from data_pipeline.dedup import NearDuplicates
from data_pipeline.executors.local import LocalExecutor
from data_pipeline.quality import QualityGate
from data_pipeline.report import write_report
from data_pipeline.shards import ShardError, ShardWriter, read_samples
from data_pipeline.shots import ShotSplitter
from data_pipeline.split import Splitter
from data_pipeline.track import TrackLinker


@pytest.fixture
def folder(tmp_path: Path, ball_clip: Path, head_picture) -> Path:
    root = ball_clip.parent
    for i in range(4):
        picture = head_picture(centre=(70 + 15 * i, 75), seed=i + 5, radius=40 - 4 * i)
        Image.fromarray(picture).save(root / f"still {i}.png")
    (root / "copy.png").write_bytes((root / "still 0.png").read_bytes())
    Image.open(root / "still 1.png").save(root / "again.jpg", quality=80)
    (root / "broken.mp4").write_bytes(b"no film" * 30)
    (root / "notes.txt").write_text("not media")
    return root


@pytest.fixture
def run(ball_detector):
    curation = Curation(
        detector=ball_detector,
        shots=ShotSplitter(),
        linker=TrackLinker(),
        cropper=Cropper(side_px=64),
        gate=QualityGate(min_side_px=20.0, min_coverage_frac=0.2),
        splitter=Splitter(),
    )

    def start(root: Path, out: Path, **source: object) -> Summary:
        return curate(
            source=FolderSource(path=str(root), **source),  # type: ignore[arg-type]
            worker=FileWorker(curation=curation),
            duplicates=NearDuplicates(),
            writer=ShardWriter(max_samples=2),
            executor=LocalExecutor(workers=1),
            out=out,
            config={"side": 64},
        )

    return start


def contents(out: Path) -> dict[str, bytes]:
    """All but the seconds that each file took."""
    return {path.name: path.read_bytes() for path in out.iterdir() if path.is_file() and path.name != FILES}


def test_every_input_ends_as_samples_or_a_drop(run, folder: Path, tmp_path: Path) -> None:
    summary = run(folder, tmp_path / "out")
    assert summary.num_files == 8
    assert summary.manifest["samples"] == 5
    assert sorted((Path(d.key.partition("#")[0]).name, d.reason) for d in summary.drops) == [
        ("again.jpg", "near-duplicate"),
        ("broken.mp4", "unreadable"),
        ("still 0.png", "exact duplicate"),
    ]
    assert len(list(read_samples(tmp_path / "out"))) == 5
    lines = (tmp_path / "out" / "drops.jsonl").read_text().splitlines()
    assert len(lines) == len(summary.drops)


def test_an_interrupted_run_ends_like_an_undisturbed_one(run, folder: Path, tmp_path: Path, monkeypatch) -> None:
    run(folder, tmp_path / "whole")
    done = 0
    real = FileWorker.__call__

    def dies_after_three(self: FileWorker, job):
        nonlocal done
        if done == 3:
            raise KeyboardInterrupt
        done += 1
        return real(self, job)

    monkeypatch.setattr(FileWorker, "__call__", dies_after_three)
    with pytest.raises(KeyboardInterrupt):
        run(folder, tmp_path / "resumed")
    assert not (tmp_path / "resumed" / "manifest.json").exists()
    calls = 0

    def counting(self: FileWorker, job):
        nonlocal calls
        calls += 1
        return real(self, job)

    monkeypatch.setattr(FileWorker, "__call__", counting)
    run(folder, tmp_path / "resumed")
    assert calls == 4, "7 distinct contents, 3 done before"
    assert contents(tmp_path / "resumed") == contents(tmp_path / "whole")


def test_a_second_run_changes_nothing(run, folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "out")
    before = contents(tmp_path / "out")
    run(folder, tmp_path / "out")
    assert contents(tmp_path / "out") == before


def test_several_processes_give_the_same_shards(run, folder: Path, tmp_path: Path, monkeypatch) -> None:
    """The order in which files finish must not show; here they finish backwards."""
    run(folder, tmp_path / "one")

    def backwards(self, work, jobs, lost):
        yield from ((job, work(job)) for job in reversed(jobs))

    monkeypatch.setattr(LocalExecutor, "__call__", backwards)
    run(folder, tmp_path / "two")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_the_report_stands_alone_and_names_every_reason(run, folder: Path, tmp_path: Path) -> None:
    summary = run(folder, tmp_path / "out")
    page = write_report(tmp_path / "out", summary, QualityGate()).read_text()
    assert "http" not in page.replace("data:image", "")
    for drop in summary.drops:
        assert drop.reason in page
    assert page.count("<img") >= 2


def test_a_manifest_chooses_files_and_says_whose_they_are(run, folder: Path, tmp_path: Path) -> None:
    with (folder / "list.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["path", "identity", "licence", "species", "ship"])
        writer.writerow(["still 1.png", "tom", "MIT", "cat", "1"])
        writer.writerow(["still 2.png", "rex", "MIT", "dog", "0"])
    run(folder, tmp_path / "out", manifest="list.csv", only={"ship": "1"})
    (sample,) = read_samples(tmp_path / "out")
    assert (sample.identity, sample.licence, sample.species) == ("tom", "MIT", "cat")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"path": "nowhere"}, "does not exist"),
        ({"manifest": "missing.csv"}, "missing.csv"),
        ({"manifest": "bad.csv"}, "path"),
    ],
)
def test_a_wrong_source_is_told(folder: Path, source: dict, said: str) -> None:
    (folder / "bad.csv").write_text("file,licence\na,b\n")
    with pytest.raises(SourceError, match=said):
        FolderSource(**({"path": str(folder)} | source))()


def test_drops_are_one_json_object_a_line(run, folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "out")
    entries = [json.loads(line) for line in (tmp_path / "out" / "drops.jsonl").read_text().splitlines()]
    assert all(set(entry) == {"key", "stage", "reason", "detail"} for entry in entries)


def test_every_input_file_has_a_row_of_what_it_cost(run, folder: Path, tmp_path: Path) -> None:
    summary = run(folder, tmp_path / "out")
    rows = [json.loads(line) for line in (tmp_path / "out" / FILES).read_text().splitlines()]
    assert len(rows) == summary.num_files
    by_name = {Path(row["key"]).name: row for row in rows}
    assert list(by_name) == sorted(by_name)
    assert (by_name["ball.mp4"]["frames"], by_name["ball.mp4"]["media_s"]) == (24, pytest.approx(0.96))
    assert (by_name["broken.mp4"]["media_s"], by_name["broken.mp4"]["drops"]) == (0.0, 1)
    assert (by_name["still 0.png"]["seconds"], by_name["still 0.png"]["drops"]) == (0.0, 1), "a copy of another"
    assert sum(row["samples"] for row in rows) == 6, "the near-duplicate is one of them"
    assert list(summary.seconds) == ["looking", "curating", "duplicates", "packing"]
    assert (summary.num_done, summary.media_s) == (7, pytest.approx(0.96))
    before = (tmp_path / "out" / FILES).read_bytes()
    again = run(folder, tmp_path / "out")
    assert (again.num_done, again.media_s) == (0, 0.0)
    assert (tmp_path / "out" / FILES).read_bytes() == before, "times are kept with the results"


def test_the_largest_files_are_begun_first(run, folder: Path, tmp_path: Path, monkeypatch) -> None:
    sizes: list[int] = []

    def noting(self, work, jobs, lost):
        sizes.extend(job.size_bytes for job in jobs)
        yield from ((job, work(job)) for job in jobs)

    monkeypatch.setattr(LocalExecutor, "__call__", noting)
    run(folder, tmp_path / "out")
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[-1]


def test_a_damaged_result_is_named_with_what_to_do(run, folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "out")
    result = max((tmp_path / "out" / ".work").glob("*.tar"), key=lambda path: path.stat().st_size)
    result.write_bytes(result.read_bytes()[:700])
    with pytest.raises(ShardError, match=f"{result.name} is damaged; delete it"):
        run(folder, tmp_path / "out")


def test_names_of_bytes_that_are_no_text_go_through(run, tmp_path: Path, head_picture) -> None:
    root = tmp_path / "odd"
    root.mkdir()
    for number, name in enumerate((b"new\nline.png", b"bytes\xe9\xff.png")):
        Image.fromarray(head_picture(seed=number + 5, radius=40 - 9 * number)).save(root / "x.png")
        (root / "x.png").rename(os.fsdecode(os.path.join(os.fsencode(root), name)))  # noqa: PTH118
    summary = run(root, tmp_path / "out")
    assert summary.manifest["samples"] + len(summary.drops) == 2
    keys = [json.loads(line)["key"] for line in (tmp_path / "out" / FILES).read_text().splitlines()]
    assert sorted(os.fsencode(Path(key).name) for key in keys) == [b"bytes\xe9\xff.png", b"new\nline.png"]
