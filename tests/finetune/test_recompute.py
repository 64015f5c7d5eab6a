import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.finetune.rows import CAT, HUMAN, batch, module

REPO = Path(__file__).resolve().parents[2]
WEIGHTS = {"reconstruction": 1.0, "equivariance": 1.0, "pose": 0.1}
PARTS = ["appearance", "motion", "warping", "generator"]


def stepped(**options):
    trained = module(WEIGHTS, **options)
    trained.manual_backward = lambda loss: loss.backward()
    trained.accumulated(batch([HUMAN, CAT]), adversarial=False)
    return trained.model


def test_recomputed_modules_have_the_same_gradients_statistics_and_names():
    plain, twice = stepped(), stepped(recompute_modules=PARTS)
    assert list(plain.state_dict()) == list(twice.state_dict())
    for (name, a), b in zip(plain.state_dict().items(), twice.state_dict().values(), strict=True):
        assert torch.equal(a, b), name  # batch statistics and spectral vectors moved once, not twice
    for (name, p), q in zip(plain.named_parameters(), twice.parameters(), strict=True):
        assert (p.grad is None) == (q.grad is None), name
        if p.grad is not None:
            torch.testing.assert_close(q.grad, p.grad, rtol=1e-5, atol=1e-7, msg=name)
    assert all(m.momentum == 0.1 for m in twice.modules() if isinstance(m, torch.nn.BatchNorm2d | torch.nn.BatchNorm3d))


def test_less_is_remembered():
    def remembered(options):
        kept = 0

        def pack(tensor):
            nonlocal kept
            kept += tensor.nbytes
            return tensor

        trained = module(WEIGHTS, **options)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            trained.terms(batch([HUMAN, CAT]), adversarial=False)
        return kept

    assert remembered({"recompute_modules": PARTS}) < 0.6 * remembered({})


COMPILED = """
import torch
from tests.finetune.rows import CAT, HUMAN, batch, module

compiled = torch.nn.Module.compile
torch.nn.Module.compile = lambda self: compiled(self, backend="eager")
models = []
for parts in ([], ["motion"]):
    trained = module({"pose": 1.0}, compile_modules=parts)
    trained.manual_backward = lambda loss: loss.backward()
    trained.accumulated(batch([HUMAN, CAT]), adversarial=False)
    models.append(trained.model)
plain, quick = models
assert quick.motion._compiled_call_impl is not None
assert list(plain.state_dict()) == list(quick.state_dict())
for p, q in zip(plain.motion.parameters(), quick.motion.parameters(), strict=True):
    torch.testing.assert_close(q.grad, p.grad, rtol=1e-3, atol=1e-5)
"""


@pytest.mark.slow
def test_compiled_modules_keep_their_names_and_gradients():
    # Apart: torch's compiler cannot read the shape checks that tests put around every function.
    done = subprocess.run([sys.executable, "-c", COMPILED], cwd=REPO, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
