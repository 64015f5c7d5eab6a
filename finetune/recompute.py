"""A network -> the same network that forgets its activations and computes them again when gradients need them."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lp_models.layers import SpectralConv2d


def recompute(model: nn.Module, parts: Sequence[str]) -> None:
    """Make the named children trade time for memory; names and numbers of the state dict stay what they are."""
    for part in parts:
        module = model.get_submodule(part)
        module.forward = partial(checkpoint, module.forward, use_reentrant=False, context_fn=partial(_contexts, module))


def _contexts(module: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Contexts of the first pass and of the second."""
    return nullcontext(), again(module)


@contextmanager
def again(module: nn.Module) -> Iterator[None]:
    """The second pass must see what the first saw and leave nothing behind.

    Batch statistics would else be averaged in twice, and the spectral norm would take another power iteration, so that
    gradients were those of another weight.
    """
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training]
    spectral = [m for m in module.modules() if isinstance(m, SpectralConv2d) and m.training]
    kept: list[tuple[nn.Module, float | None, Tensor | None]] = []
    for norm in norms:
        counter = norm.num_batches_tracked
        kept.append((norm, norm.momentum, None if counter is None else counter.clone()))
        norm.momentum = 0.0
    for layer in spectral:
        layer.training = False
    try:
        yield
    finally:
        for norm, (_, momentum, counter) in zip(norms, kept, strict=True):
            norm.momentum = momentum
            if counter is not None and norm.num_batches_tracked is not None:
                norm.num_batches_tracked.copy_(counter)
        for layer in spectral:
            layer.training = True
