"""The base's step -> what each way of saving time gives: the straight piece and the quick one, forward and backward."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from finetune.discriminator import PatchDiscriminator
from finetune.losses import hinge_generator, random_transform
from finetune.optimiser import TRAINED, MovingAverage, Optimiser
from finetune.pairs import Batch
from finetune.perceptual import FeatureNet, OrientedFilters, perceptual
from finetune.plain_step import bent
from finetune.quick_networks import quicken, restore
from finetune.step_clock import Clock
from finetune.step_ways import Ready, Setup, ready
from lp_models import LivePortrait, source_keypoints


@dataclass(frozen=True, slots=True, kw_only=True)
class Trick:
    """One piece of a step, both ways; medians of wall time."""

    name: str
    plain_ms: float
    fast_ms: float
    saved_frac: float
    """Of the straight step's time."""


class Piece(NamedTuple):
    """Two ways to do the same."""

    name: str
    plain: Callable[[], object]
    fast: Callable[[], object]


def tricks_of(setup: Setup, batch: Batch, plain_step_s: float, clock: Clock) -> list[Trick]:
    """Time every piece both ways in turns.

    Args:
        setup: the step's.
        batch: pictures to work on.
        plain_step_s: a whole straight step.
        clock: how often, on which device.
    """
    made = ready("fast", setup)
    found = []
    for piece in (*_whole_steps(setup, made, batch), *_network_pieces(made, batch), *_update_pieces(made)):
        plain, fast = clock.alternating([piece.plain, piece.fast])
        saved = (plain.median_s - fast.median_s) / plain_step_s
        found.append(
            Trick(name=piece.name, plain_ms=1e3 * plain.median_s, fast_ms=1e3 * fast.median_s, saved_frac=saved)
        )
    return found


def _whole_steps(setup: Setup, made: Ready, batch: Batch) -> list[Piece]:
    if setup.precision != "auto":
        return []
    exact = ready("fast", replace(setup, precision="fp32"))
    return [Piece("bfloat16 (whole step)", lambda: exact.step(batch), lambda: made.step(batch))]


def _network_pieces(made: Ready, batch: Batch) -> list[Piece]:
    module, model = made.module, made.module.model
    readable, quick = copy.deepcopy(model), copy.deepcopy(model)
    restore(readable)
    quicken(quick)
    pictures = [batch.source, batch.driving, batch.source[: max(1, len(batch.source) // 4)]]

    def apart() -> None:
        _back([source_keypoints(model.motion(picture)) for picture in pictures], model)

    def together() -> None:
        _back([source_keypoints(model.motion(torch.cat(pictures)))], model)

    def painted(net: LivePortrait) -> Callable[[], None]:
        with torch.no_grad(), module.autocast():
            motion = net.motion(batch.source)
            start, volume = source_keypoints(motion), net.appearance(batch.source)

        def paint() -> None:
            with module.autocast():
                _back([net.drive(volume, start, start + 0.02, batch.source)], net)

        return paint

    with_autocast = [_under(module.autocast, call) for call in (apart, together)]
    pieces = [
        Piece("one pass of the motion network", *with_autocast),
        Piece("quick ways through warping and generator", painted(readable), painted(quick)),
    ]
    if isinstance(module.features, OrientedFilters):
        filters = copy.deepcopy(module.features), copy.deepcopy(module.features)
        restore(filters[0])
        quicken(filters[1])
        pieces.append(Piece("quick way back through the filters", *(_compared(net, batch) for net in filters)))
    transform = random_transform(len(pictures[2]), 0.05, 0.005, torch.Generator().manual_seed(0))
    transform = type(transform)(*(value.to(batch.source.device) for value in transform))
    pieces.append(
        Piece("spline's basis once for all rows", lambda: bent(pictures[2], transform),
              lambda: transform.warp(pictures[2]))
    )  # fmt: skip
    judge = module.discriminator
    if isinstance(judge, PatchDiscriminator):
        pieces += _judge_pieces(judge, batch, module.autocast)
    return pieces


def _compared(net: OrientedFilters, batch: Batch) -> Callable[[], None]:
    image = batch.target.roll(1, dims=0).requires_grad_(True)
    given: FeatureNet = net  # pyright: ignore[reportAssignmentType]
    return lambda: perceptual(given, image, batch.target).backward()


def _judge_pieces(judge: PatchDiscriminator, batch: Batch, autocast: Callable[[], torch.autocast]) -> list[Piece]:
    from finetune.discriminator import FrozenParameters

    image = batch.target.clone().requires_grad_(True)

    def look(net: Callable[[Tensor], list[Tensor]]) -> Callable[[], None]:
        def call() -> None:
            with autocast():
                total = hinge_generator(net(image))
            total.backward()
            judge.zero_grad()

        return call

    def frozen(picture: Tensor) -> list[Tensor]:
        with FrozenParameters(judge):
            return judge(picture).scores

    return [
        Piece("judge in channels-last", look(lambda x: _rows_first(judge, x)), look(lambda x: judge(x).scores)),
        Piece("no gradient for the judge's weights", look(lambda x: judge(x).scores), look(frozen)),
    ]


def _rows_first(judge: PatchDiscriminator, image: Tensor) -> list[Tensor]:
    """What the discriminator does, in the layout that pictures come in."""
    scores = []
    for index, net in enumerate(judge.nets):
        assert isinstance(net, nn.ModuleList)
        y = image * 2 - 1
        for _ in range(index):
            y = F.avg_pool2d(y, 2)
        for layer in net[:-1]:
            y = F.leaky_relu(layer(y), 0.2)
        scores.append(net[-1](y))
    return scores


def _update_pieces(made: Ready) -> list[Piece]:
    model = copy.deepcopy(made.module.model)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 1e-3)
    numbers = Optimiser(lr=1e-6)
    fused = numbers.build(model, TRAINED)
    loop = torch.optim.Adam([p for part in TRAINED for p in model.get_submodule(part).parameters()], lr=1e-6)
    average = MovingAverage(model, 0.999)
    values = {name: value.clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def one_by_one() -> None:
        for name, value in model.state_dict().items():
            values[name] = 0.999 * values[name] + 0.001 * value if value.is_floating_point() else value.clone()

    return [
        Piece("Adam in one kernel", lambda: loop.step(), lambda: fused.step()),
        Piece("moving average of all weights at once", one_by_one, lambda: average.update(model, 100)),
    ]


def _back(outputs: Sequence[Tensor], model: LivePortrait) -> None:
    torch.stack([output.float().square().mean() for output in outputs]).sum().backward()
    model.zero_grad()


def _under(context: Callable[[], torch.autocast], call: Callable[[], None]) -> Callable[[], None]:
    def wrapped() -> None:
        with context():
            call()

    return wrapped
