import math

from evaluation.paper_tables import paper_tables


def test_both_tables_are_there_with_nine_methods_each() -> None:
    papers = paper_tables()
    assert [len(papers.of_kind(kind)) for kind in ("self", "cross")] == [2, 2]
    for table in papers.tables:
        assert len(table.rows) == 9
        assert all(len(values) == len(table.columns) for _, values in table.rows)
        assert table.rows[-1][0] == "LivePortrait"
    assert dict(papers.of_kind("cross")[1].rows)["X-Portrait"] == (58.6731, 0.5881, 0.8463, 0.1226, 22.5937)


def test_the_warning_about_psnr_is_arithmetic() -> None:
    """An RMS error is never below the mean absolute one, so PSNR <= -20 log10(L1): all 18 rows exceed that."""
    excess = {}
    for table in paper_tables().of_kind("self"):
        psnr, l1 = table.columns.index("PSNR"), table.columns.index("L1")
        excess |= {(table.title, name): v[psnr] + 20 * math.log10(v[l1]) for name, v in table.rows}
    assert len(excess) == 18
    assert min(excess.values()) > 0
    assert round(min(v for (_, name), v in excess.items() if name == "LivePortrait"), 1) == 2.8
    assert round(max(excess.values()), 1) == 6.5
    assert "2.8 dB" in paper_tables().psnr_warning
    assert "6.5 dB" in paper_tables().psnr_warning
