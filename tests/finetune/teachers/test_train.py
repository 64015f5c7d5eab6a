import sys

import numpy as np
import pytest
import torch

from finetune.shard_index import read_index
from finetune.shard_stream import ClipStore
from finetune.teachers.puppet_lessons import PuppetLessons
from finetune.teachers.puppet_net import PuppetFile, PuppetNet, _centres
from finetune.teachers.train import IdentityClasses, TeacherTraining, lesson_loss, main, measure, teach


def lessons(shards) -> PuppetLessons:
    store = ClipStore(read_index(shards, "train"), 1.0)
    store.read_all()
    return PuppetLessons(clips=store, seed=0)


def test_lessons_are_a_function_of_seed_and_step_and_hold_puppets_only(shards):
    first, again = lessons(shards), lessons(shards)
    assert len(first.by_identity()) == 3
    a, b, other = first.batch(3, 6), again.batch(3, 6), first.batch(4, 6)
    assert torch.equal(a.image, b.image)
    assert not torch.equal(a.image, other.image)
    assert a.image.shape == (6, 3, 128, 128)
    assert a.landmarks.shape == (6, 70, 2)
    assert a.opening.shape == (6, 3)


def test_shards_without_truth_are_refused(shards):
    store = ClipStore(read_index(shards, "train"), 1.0)
    real = [number for number, card in enumerate(store.cards) if not card.has_truth]

    class Real:
        cards = tuple(store.cards[i] for i in real)

        def clip(self, number):
            return store.clip(real[number])

    with pytest.raises(ValueError, match="no puppets"):
        PuppetLessons(clips=Real())


def test_a_heat_map_is_read_at_its_middle():
    heat = torch.full((1, 1, 8, 8), -50.0)
    heat[0, 0, 2, 5] = 50
    torch.testing.assert_close(_centres(heat)[0, 0], torch.tensor([5.5 / 8, 2.5 / 8]))


def test_the_lesson_reaches_every_weight(shards):
    net, heads = PuppetNet(), lessons(shards).batch(0, 4)
    lesson_loss(net(heads.image), heads, IdentityClasses(3)).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_some_steps_teach_something(shards):
    drawn = lessons(shards)
    options = TeacherTraining(shards=str(shards), out="x.safetensors", steps=25, batch_size=8, lr=3e-3)
    before, after = measure(PuppetNet(), drawn, 1), measure(teach(drawn, options), drawn, 1)
    assert after["landmark_error_frac"] < before["landmark_error_frac"]
    assert np.isfinite(list(after.values())).all()


def test_the_command_writes_a_file_that_loads_and_says_how_good_it_is(shards, tmp_path, monkeypatch, capsys):
    out = tmp_path / "teacher.safetensors"
    monkeypatch.setattr(sys, "argv", ["train", f"shards={shards}", f"out={out}", "steps=2", "batch_size=4"])
    main()
    said = capsys.readouterr().out
    assert "landmark_error_frac" in said
    assert str(out) in said
    assert out.stat().st_size <= 2e6
    assert isinstance(PuppetFile(path=out).load(), PuppetNet)
    for words, message in ((["shards=x"], "out"), ([f"shards={shards}", "out=a.pth"], "safetensors")):
        monkeypatch.setattr(sys, "argv", ["train", *words])
        with pytest.raises(SystemExit):
            main()
        assert message in capsys.readouterr().err
