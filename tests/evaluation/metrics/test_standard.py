import warnings

import numpy as np
import pytest
import torch
from torch import nn

from evaluation.metrics.faces import ARCFACE_112
from evaluation.metrics.standard import files_network, standard_measures
from evaluation.metrics.suite import MetricSuite
from evaluation.protocols.pairs import PairFrames, Truth

POINTS = np.array([[24, 26], [40, 26], [32, 36], [26, 44], [38, 44]], np.float32)


class Cells(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.adaptive_avg_pool2d(x, 4).flatten(1)


@pytest.fixture
def network(tmp_path):
    path = tmp_path / "cells.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.trace(Cells(), torch.rand(1, 3, 32, 32)), path)
    return path


def pair() -> PairFrames:
    frames = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    points = np.repeat(POINTS[None], 4, 0)
    return PairFrames(
        source=frames[0], driving=frames, truth=Truth(frames=frames, species="cat", points=points),
        source_points=POINTS, driving_points=points, species="cat", driver_species="cat",
    )  # fmt: skip


def test_without_networks_stand_ins_are_measured_and_the_rest_is_missing() -> None:
    found = standard_measures(None)
    suite = MetricSuite(extra=found.per_pair)
    assert {"csim", "aed", "apd", "gaze_mae"} <= suite.missing().keys()
    of_set = {name: why for one in found.of_set for name, why in one.missing().items()}
    assert set(of_set) == {"gallery_rank", "fid", "kid"}
    values = suite(pair().driving, pair())
    assert values["csim_truth_stand_in"] == pytest.approx(1)
    assert not {"csim", "aed"} & values.keys()
    assert found.files == {}


def test_given_networks_are_measured(network) -> None:
    one = {"path": str(network), "side_px": 32}
    aligned = one | {"template": "arcface", "mean": [0.4, 0.4, 0.4], "outputs": [0, 24]}
    options = {"identity": {"cat": aligned}, "features": one, "expression": {"cat": one}, "gaze": None}
    found = standard_measures(None, options)
    suite = MetricSuite(extra=found.per_pair)
    values = suite(pair().driving, pair())
    assert values["csim"] == pytest.approx(suite(pair().driving, pair())["csim"])
    assert values["csim_truth"] == pytest.approx(1, abs=1e-5)
    assert values["aed"] == 0
    assert "csim" not in suite.missing()
    assert "gaze_mae" in suite.missing()
    assert set(found.files) == {"identity cat", "features", "expression cat"}
    distance = next(one for one in found.of_set if one.name == "feature_distance")
    assert distance.values([("a", distance.features(pair(), pair().driving))])["fid"] == pytest.approx(0, abs=1e-3)


def test_options_become_a_network(network) -> None:
    found = files_network({"path": str(network), "side_px": 32, "template": "arcface", "std": [1, 1, 1]}, "here")
    assert found.template == ARCFACE_112
    five = [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10]]
    assert files_network({"path": network, "side_px": 32, "template": five}, "here").template == tuple(map(tuple, five))


def test_wrong_options_are_named(network, tmp_path) -> None:
    one = {"path": str(network), "side_px": 32}
    for options, message in (
        ({"beauty": one}, "networks.beauty is unknown"),
        ({"identity": {"fox": one}}, "networks.identity.fox is no species"),
        ({"features": one | {"size": 3}}, "networks.features.size is unknown"),
        ({"features": {"path": str(network)}}, "networks.features.side_px is missing"),
        ({"features": one | {"template": "mine"}}, "template='mine' is unknown"),
        ({"features": one | {"path": str(tmp_path / "none.onnx")}}, "no such file"),
    ):
        with pytest.raises(ValueError, match=message):
            standard_measures(None, options)
