import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from data_pipeline.photo import encode_jpeg
from data_pipeline.video import encode_clip
from evaluation.metrics.catalog import BY_NAME, METRICS
from evaluation.metrics.suite import MetricSuite
from evaluation.report import report_blocks, write_report
from evaluation.report.charts import curve_of, sweep_figures
from evaluation.report.content import verdicts
from evaluation.report.scores import axes_of, scores_of
from evaluation.results import Evaluation, Example
from evaluation.rows import Failure, PairRow

VOID = {"meta", "br", "img", "source", "rect", "line", "polygon", "polyline"}
ERRORS = {"l1": 0.1, "l1_face": 0.1, "l1_eyes": 0.1, "l1_mouth": 0.1, "grad_distance": 0.4, "flicker": 0.01}


def made(tmp_path: Path, count: int = 10, **more) -> Evaluation:
    """The copy has known errors, the network half of them; it keeps its looks less."""
    rows = []
    for i in range(count):
        for method, factor, look in (("copy source", 1.0, 1.0), ("mine <1>", 0.5, 0.9)):
            metrics = {name: value * factor * (1 + 0.01 * i) for name, value in ERRORS.items()}
            metrics |= {"csim_stand_in": look - 0.001 * i, "yaw_corr": 1 - factor, "motion_gain": 1 - factor}
            rows.append(
                PairRow(
                    pair_id=f"pair | {i}", protocol="puppets_cross", species=("cat", "dog")[i % 2],
                    driver_species="human", method=method, num_frames=4, seconds=1.0, metrics=metrics,
                    tags={"level": ("plain", "occlusion")[i % 2]}, source_identity=f"animal-{i}",
                )
            )  # fmt: skip
    still, video = tmp_path / "examples" / "a.jpg", tmp_path / "examples" / "a.mp4"
    still.parent.mkdir(parents=True)
    frames = [np.full((16, 16, 3), 90, np.uint8)] * 2
    still.write_bytes(encode_jpeg(frames[0]))
    video.write_bytes(encode_clip(frames, 5.0))
    example = Example(pair_id=f"pair | {count - 1}", species="cat", panels=("source", "mine"), still=still, video=video)
    usual = {
        "protocol": "puppets_cross", "rows": rows, "not_measured": MetricSuite().missing(), "examples": [example],
        "methods": {"copy source": {"kind": "baseline"}, "mine <1>": {"sha256": "abc123"}},
        "about": {"commit": "0123abc", "config": "size: quick\n"},
        "failures": [Failure(pair_id="p9", method="mine <1>", reason="lost a frame")],
    }  # fmt: skip
    return Evaluation(**usual | more)


class Balance(HTMLParser):
    """Finds tags that are not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def test_the_report_needs_no_other_file_and_is_well_formed(tmp_path) -> None:
    path = write_report(tmp_path / "report.html", [made(tmp_path)], title="A <test>", before=["<p>first</p>"])
    page = path.read_text()
    Balance().feed(page)
    assert not re.findall(r"(?:src|href)=['\"](?!data:|#)", page)
    assert "A &lt;test&gt;" in page
    assert "mine &lt;1&gt;" in page
    assert "mine <1>" not in page
    assert "<p>first</p>" in page
    assert page.count("data:video/mp4;base64,") == 1
    assert page.count("data:image/jpeg;base64,") == 1
    for text in ("0123abc", "abc123", "size: quick", "lost a frame", "By level", "stand-in, not LPIPS", "By species"):
        assert text in page
    for target in re.findall(r"href='#([^']+)'", page):
        assert page.count(f"id='{target}'") == 1


def test_every_metric_is_shown_or_said_to_be_missing_and_why(tmp_path) -> None:
    page = write_report(tmp_path / "report.html", [made(tmp_path)]).read_text()
    missing = MetricSuite().missing()
    for metric in METRICS:
        if metric.name in missing:
            assert metric.title in page
    line = next(row for row in re.findall(r"<tr class='reason'>.*?</tr>", page) if ">LPIPS: not measured" in row)
    assert missing["lpips"] in line
    assert not re.search(r"LPIPS[^<]*</td><td[^>]*>0", page)


def test_the_markdown_says_the_same_and_links_to_files_that_exist(tmp_path) -> None:
    write_report(tmp_path / "report.html", [made(tmp_path)], title="Mine")
    text = (tmp_path / "summary.md").read_text()
    assert text.startswith("# Mine\n")
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert {
        "figures/puppets_cross_radar.svg",
        "figures/puppets_cross_errors.svg",
        "examples/a.jpg",
        "examples/a.mp4",
    } <= {*links}
    assert all((tmp_path / link).exists() for link in links)
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert any("pair \\| 9" in line or "lost a frame" in line for line in tables)
    # Every line of a table has as many cells as its head.
    widths = [len(re.findall(r"(?<!\\)\|", line)) for line in tables]
    for line, width, before in zip(tables[1:], widths[1:], widths, strict=False):
        assert width == before or not line.startswith("|-"), line


def test_two_protocols_on_one_page_do_not_share_figures_or_targets(tmp_path) -> None:
    first, second = made(tmp_path), replace(made(tmp_path / "b"), protocol="self")
    second = replace(second, rows=[replace(row, protocol="self") for row in second.rows])
    page = write_report(tmp_path / "report.html", [first, second]).read_text()
    targets = re.findall(r"id='([^']+)'", page)
    assert len(targets) == len(set(targets))
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {"self_radar.svg", "puppets_cross_radar.svg"} <= names


def test_what_the_verdict_says_is_what_the_numbers_are(tmp_path) -> None:
    (line,) = verdicts(made(tmp_path))
    assert line.startswith("“mine <1>” against “copy source”, 7 main numbers: better in 6 (")
    assert "worse in 1 (look kept)" in line
    few = verdicts(made(tmp_path / "few", count=3))[0]
    assert "better in 6" not in few
    assert "no proven difference in 7 (by their intervals alone: better in gradient distance" in few


def test_few_sources_are_warned_of(tmp_path) -> None:
    def said(count: int) -> str:
        return " ".join(str(block) for block in report_blocks([made(tmp_path / str(count), count=count)]))

    assert "Only 3 independent sources" in said(3)
    assert "independent sources" not in said(12)


def test_the_radar_is_normalised_as_its_table_says(tmp_path) -> None:
    result = made(tmp_path)
    axes = {axis.metric.name: axis for axis in axes_of(result)}
    assert axes["l1_face"].zero == pytest.approx(result.mean("copy source", "l1_face").mean)
    assert axes["l1_face"].one == 0
    assert (axes["yaw_corr"].zero, axes["yaw_corr"].one) == (0, 1)
    scores = scores_of(result, list(axes.values()))
    place = list(axes).index("l1_face")
    assert scores["copy source"][place] == pytest.approx(0)
    assert scores["mine <1>"][place] == pytest.approx(0.5)
    assert scores["mine <1>"][list(axes).index("yaw_corr")] == pytest.approx(0.5)


def test_a_method_without_a_number_has_no_score_instead_of_zero(tmp_path) -> None:
    result = made(tmp_path)
    rows = [
        replace(row, metrics={k: v for k, v in row.metrics.items() if k != "yaw_corr"})
        if row.method != "copy source"
        else row
        for row in result.rows
    ]
    result = replace(result, rows=rows)
    axes = axes_of(result)
    assert scores_of(result, axes)["mine <1>"][[a.metric.name for a in axes].index("yaw_corr")] is None
    assert "not measured</td>" in write_report(tmp_path / "report.html", [result]).read_text()


def sweep_row(method: str, gain: float) -> PairRow:
    asked = [0.0, 0.2, 0.4, 0.8]
    return PairRow(
        pair_id="eyes", protocol="eyes_sweep", species="cat", driver_species="cat", method=method, num_frames=4,
        seconds=1.0, metrics={"commanded_corr": 1.0},
        curve={"commanded": asked, "eyes": [*(gain * a for a in asked[:3]), None]},
    )  # fmt: skip


def test_a_sweep_is_drawn_as_commanded_against_measured() -> None:
    line = curve_of([sweep_row("m", 0.5), sweep_row("m", 0.7)], "eyes")
    assert [place.x for place in line] == pytest.approx([0.0, 0.2, 0.4])
    assert [place.y for place in line] == pytest.approx([0.0, 0.12, 0.24])
    result = Evaluation(protocol="eyes_sweep", rows=[sweep_row("m", 0.5)], methods={"m": {}}, not_measured={})
    (figure,) = sweep_figures(result)
    assert figure.name == "eyes_sweep_eyes_cat"
    assert "Asked for and done" in str(report_blocks([result]))


def test_the_papers_rows_stand_apart_with_their_warning(tmp_path) -> None:
    page = write_report(tmp_path / "report.html", [replace(made(tmp_path), protocol="self")]).read_text()
    assert "Do not compare our PSNR with this column" in page
    assert "theirs, not ours" in page
    assert "32.0082" in page
    own = page.split("For reference")[0]
    assert "LivePortrait" not in own
    cross = write_report(tmp_path / "cross.html", [made(tmp_path / "b")]).read_text()
    assert "X-Portrait" in cross
    assert "32.0082" not in cross


def test_all_definitions_are_given(tmp_path) -> None:
    page = write_report(tmp_path / "report.html", [made(tmp_path)]).read_text()
    assert BY_NAME["motion_gain"].definition[:40] in page
