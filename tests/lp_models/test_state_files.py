"""Single files: whole or absent on a full disk, readable by others, and not confused with what is no weight file."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lp_models import LivePortrait, WeightsError, load_pretrained, save_official, save_pretrained
from lp_models.weights import read_state
from tests.lp_models.same_state import assert_same_state


def test_others_may_read_the_files(pristine: Path) -> None:
    plain = pristine.parent / "plain"
    plain.touch()
    assert {p.stat().st_mode for p in pristine.iterdir()} == {plain.stat().st_mode}


@pytest.mark.parametrize("save", [save_pretrained, save_official])
def test_a_full_disk_leaves_nothing_half_written(
    model: LivePortrait, tmp_path: Path, save: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.write_bytes

    def write(path: Path, content: bytes) -> int:
        if "spade_generator" in path.name:
            real(path, content[: len(content) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(path, content)

    monkeypatch.setattr(Path, "write_bytes", write)
    with pytest.raises(WeightsError, match=r"spade_generator.*No space left on device.*free some space"):
        save(model, tmp_path / "out")
    assert [p for p in (tmp_path / "out").rglob("*") if p.is_file()] == []


def test_a_full_disk_leaves_a_former_export_as_it_was(
    model: LivePortrait, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {p.name: p.read_bytes() for p in directory.iterdir()}

    def refuse(path: Path, content: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(WeightsError, match=r"model\.json.*No space left"):
        save_pretrained(LivePortrait(model.config), directory)
    assert {p.name: p.read_bytes() for p in directory.iterdir()} == before


def test_a_folder_that_cannot_be_made_is_named(model: LivePortrait, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WeightsError, match=r"file/out/.* could not be written.*give another folder"):
        save_pretrained(model, tmp_path / "file" / "out")


def test_a_safetensors_file_is_not_taken_for_a_web_page(tmp_path: Path) -> None:
    # The length of the header is the first number: of 15392 bytes it begins with " <".
    path = tmp_path / "x.safetensors"
    tensors = {"a": torch.zeros(1)}
    save_file(tensors, path, metadata={"pad": "."})
    header = int.from_bytes(path.read_bytes()[:8], "little")
    save_file(tensors, path, metadata={"pad": "." * (1 + 15392 - header)})
    assert path.read_bytes().startswith(b" <")
    assert read_state(path).keys() == {"a"}


def test_a_saved_tensor_does_not_take_its_neighbours_with_it(model: LivePortrait, tmp_path: Path) -> None:
    view = LivePortrait(model.config)
    big = torch.zeros(1_000_000)
    size = view.generator.fc.bias.numel()
    view.generator.fc.bias = torch.nn.Parameter(big[:size])
    save_official(view, tmp_path)
    assert (tmp_path / "base_models" / "spade_generator.pth").stat().st_size < 1_000_000


def test_a_loaded_model_does_not_change_when_its_file_does(model: LivePortrait, directory: Path) -> None:
    loaded = load_pretrained(directory)
    for path in directory.glob("*.safetensors"):
        path.write_bytes(bytes(path.stat().st_size))
    assert_same_state(model, loaded)
