import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from evaluation.metrics.network_file import NetworkFile, opened

SIDE = 16


class Means(nn.Module):
    """Six numbers: mean of each colour, and of each colour's left half."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat((x.mean(dim=(2, 3)), x[..., : SIDE // 2].mean(dim=(2, 3))), dim=1)


class Maps(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return nn.functional.avg_pool2d(x, 4), x


def script(path: Path, net: nn.Module) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.trace(net, torch.rand(2, 3, SIDE, SIDE)), path)
    return path


def exported(path: Path, net: nn.Module) -> Path:
    batch = torch.export.Dim("batch", min=1, max=64)
    torch.export.save(torch.export.export(net, (torch.rand(2, 3, SIDE, SIDE),), dynamic_shapes=({0: batch},)), path)
    return path


def onnx_means(path: Path) -> Path:
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    shape = ["batch", 3, SIDE, SIDE]
    pooled = helper.make_node("GlobalAveragePool", ["x"], ["pooled"])
    flat = helper.make_node("Flatten", ["pooled"], ["y"])
    graph = helper.make_graph(
        [pooled, flat], "means", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)
    return path


def coloured(N: int = 3, S: int = SIDE) -> np.ndarray:
    return np.tile(np.array([51, 102, 204], np.uint8), (N, S, S, 1))


# torch.export, and reading what it wrote, start autograd's threads: tests of one process that fork afterwards could not
# train (tests/finetune/ranks.py). So .pt2 is slow, which keeps it out of the suite that has both.
@pytest.mark.parametrize(
    ("make", "name"), [(script, "net.pt"), pytest.param(exported, "net.pt2", marks=pytest.mark.slow)]
)
def test_each_kind_of_file_gives_the_vectors_of_its_network(make, name, tmp_path) -> None:
    path = make(tmp_path / name, Means())
    network = NetworkFile(path=path, side_px=SIDE, mean=(0.2, 0.2, 0.2), std=(0.5, 0.25, 1.0))
    found = network(coloured(11))  # more than one batch
    assert found.shape == (11, 6)
    assert np.allclose(found[:, :3], [0, 0.8, 0.6], atol=1e-6)
    assert network(coloured(0)).shape[0] == 0


def test_onnx_files_run_without_torch(tmp_path) -> None:
    found = NetworkFile(path=onnx_means(tmp_path / "net.onnx"), side_px=SIDE)(coloured())
    assert np.allclose(found, np.tile([-0.6, -0.2, 0.6], (3, 1)), atol=1e-6)


def test_channels_size_and_outputs_are_as_told(tmp_path) -> None:
    path = script(tmp_path / "net.pt", Means())
    plain = {"path": path, "side_px": SIDE, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    assert np.allclose(NetworkFile(**plain, channels="bgr", outputs=(0, 3))(coloured()), [0.8, 0.4, 0.2], atol=1e-6)
    assert np.allclose(NetworkFile(**plain, outputs=(1, 3))(coloured(2, 64)), [0.4, 0.8], atol=1e-6)


def test_a_map_counts_by_its_mean_and_the_first_of_several_outputs(tmp_path) -> None:
    path = script(tmp_path / "maps.ts", Maps())
    found = NetworkFile(path=path, side_px=SIDE, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))(coloured())
    assert np.allclose(found, [0.2, 0.4, 0.8], atol=1e-6)


def test_files_that_are_no_networks_are_named(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"none\.pt: no such file"):
        opened(tmp_path / "none.pt")
    for name in ("text.pt", "text.pt2", "text.onnx"):
        (tmp_path / name).write_text("<html>")
        with pytest.raises(ValueError, match=f"{name}: this is not a network"):
            opened(tmp_path / name)
    (tmp_path / "net.ckpt").write_text("")
    with pytest.raises(ValueError, match="unknown kind of network"):
        opened(tmp_path / "net.ckpt")


def test_a_network_that_does_not_fit_its_options_is_named(tmp_path) -> None:
    path = script(tmp_path / "net.pt", Means())
    with pytest.raises(ValueError, match=r"gives 6 numbers; outputs=\(3, 9\)"):
        NetworkFile(path=path, side_px=SIDE, outputs=(3, 9))(coloured())
    with pytest.raises(ValueError, match="must be above 0"):
        NetworkFile(path=path, side_px=0)
    with pytest.raises(ValueError, match="five points"):
        NetworkFile(path=path, side_px=SIDE, template=((1.0, 2.0),))
    onnx = onnx_means(tmp_path / "net.onnx")
    with pytest.raises(ValueError, match="does not take 8x8 px pictures"):  # the graph wants 16 px
        NetworkFile(path=onnx, side_px=8)(coloured())
