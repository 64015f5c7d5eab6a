import time

from data_pipeline.stage_clock import StageClock, stage_table


def test_times_of_one_stage_add_up_even_when_it_fails() -> None:
    clock = StageClock()
    with clock("looking"):
        time.sleep(0.02)
    try:
        with clock("looking"):
            time.sleep(0.02)
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    with clock("packing"):
        pass
    assert list(clock.seconds) == ["looking", "packing"]
    assert 0.04 <= clock.seconds["looking"] < 5


def test_the_table_tells_what_this_run_did() -> None:
    table = stage_table({"looking": 1.0, "curating": 20.0}, num_done=10, media_s=60.0)
    assert table.splitlines()[1].split() == ["curating", "20.0", "s"]
    assert "curated 10 files: 60.0 s of media, 3.00 media s/s, 0.50 files/s" in table
    assert "media" not in stage_table({"curating": 20.0}, 10, 0.0), "stills have no playing time"
    assert "curated" not in stage_table({"curating": 0.0}, 0, 0.0), "all was done before"
