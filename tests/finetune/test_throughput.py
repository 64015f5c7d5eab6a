import pytest
import torch

from finetune import throughput
from finetune.throughput import Throughput, peak_memory_mib

CPU = torch.device("cpu")


def test_only_the_wait_for_the_loader_counts_as_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0

    def after(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(throughput.time, "monotonic", lambda: now)
    watch = Throughput(flops_per_row=5.0, peak_flops=40.0, processes=2)
    watch.start()
    after(1.0)
    watch.batch_came()
    after(2.0)
    watch.step_done(8)
    after(3.0)  # pictures are drawn, a checkpoint is written
    watch.waits()
    after(1.0)
    watch.batch_came()
    after(1.0)
    watch.step_done(8)
    found = watch.numbers(CPU)
    assert found["samples_per_s"] == pytest.approx(2 * 16 / 8)
    assert found["loader_wait_frac"] == pytest.approx(2 / 8)
    assert found["mfu_frac"] == pytest.approx(2 * 5 / 40)
    watch.start()
    after(1.0)
    assert watch.numbers(CPU)["samples_per_s"] == 0


def test_without_a_peak_there_is_no_share_of_it() -> None:
    watch = Throughput(flops_per_row=5.0)
    watch.start()
    assert "mfu_frac" not in watch.numbers(CPU)


def test_memory_is_the_most_that_was_held() -> None:
    before = peak_memory_mib(CPU)
    assert before > 50
    held = torch.ones(60 << 18)
    assert peak_memory_mib(CPU) >= before
    assert len(held) == 60 << 18
