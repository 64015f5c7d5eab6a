from pathlib import Path

import numpy as np
import pytest

from evaluation.bench import build_bench, build_methods, device_of


def options_of(weights: object, **more: object) -> dict:
    chosen = {"copy_source": True, "affine": True, "tps": True, "external": None, "external_resize": False}
    usual = {
        "detector": None, "judge": None, "networks": {}, "lpips_weights": None, "weights": weights,
        "baseline_weights": None, "methods": chosen, "stitching": False, "multiplier": 1.0, "batch_frames": 4,
        "device": "cpu",
    }  # fmt: skip
    return usual | more


def test_the_weights_in_question_come_last_and_baselines_first(tiny_weights) -> None:
    names = [method.name for method in build_methods(options_of(str(tiny_weights)))]
    assert names == ["copy source", "similarity warp", "thin plate warp", Path(tiny_weights).name]
    both = build_methods(options_of(str(tiny_weights), baseline_weights=str(tiny_weights)))
    assert [method.name for method in both][-2:] == ["before", "after"]


def test_stitching_both_is_two_methods(tiny_weights) -> None:
    plain, stitched = build_methods(options_of(str(tiny_weights), stitching="both"))[-2:]
    assert stitched.name == f"{plain.name} stitched"
    assert (plain.about["stitching"], stitched.about["stitching"]) == (False, True)
    assert plain.about["multiplier"] == 1.0


def test_others_predictions_come_before_the_weights(tiny_weights, tmp_path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "a.mp4").write_bytes(b"")
    chosen = {"copy_source": False, "affine": False, "tps": False, "external": str(tmp_path), "external_resize": False}
    assert build_methods(options_of(str(tiny_weights), methods=chosen))[0].name == "theirs"
    assert [m.name for m in build_methods(options_of(None, methods=chosen | {"external": [str(tmp_path)]}))] == [
        "theirs"
    ]
    with pytest.raises(ValueError, match="there is no method"):
        build_methods(options_of(None, methods=chosen | {"external": None}))


def test_one_judge_reads_the_results_of_all_methods(tiny_weights) -> None:
    bench = build_bench(options_of(str(tiny_weights), judge=str(tiny_weights)))
    assert set(bench.plug_ins) == {"judge"}
    assert "delta_corr" not in bench.suite.missing()
    assert "delta_corr" in build_bench(options_of(str(tiny_weights))).suite.missing()
    deltas = next(measure for measure in bench.suite.extra if type(measure).__name__ == "KeypointDeltas")
    crops = np.random.default_rng(0).integers(0, 255, (5, 48, 48, 3), dtype=np.uint8)
    assert deltas.read_motion(crops).shape[0] == 5
    other = build_bench(options_of(str(tiny_weights)))
    assert other.suite_hash != bench.suite_hash


def test_a_named_device_stays(monkeypatch) -> None:
    import torch

    assert device_of("cpu", 3) == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device_of("auto", 3) == "cuda:1"
    assert device_of("auto", 2) == "cuda:0"
