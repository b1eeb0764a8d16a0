"""The classic failures of batch norm, planted into a sound network after its training.

The service itself lets most of them not happen: its guard takes a batch that is not finite back
out of the statistics, it loads strictly, and it refuses a tail of one row. So they are planted on
a copy, by what any loop in plain PyTorch would do.
"""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import replace

import torch
from torch import Tensor, nn

from model.data.dataset import Facts
from model.errors import SpecRefused
from model.lab.bug_zoo.specimens import (
    CHUNK,
    IN_EVAL,
    LEAST_ROWS,
    Planted,
    Specimen,
    Twin,
    accuracies,
)
from model.lab.results import NO_LIMITS, Results
from model.plan import check
from model.spec import RunSpec, Span
from model.statistics.layers import layer_fingerprint
from model.statistics.modes import batch_norms, batch_statistics
from model.training.arrays import Part
from model.training.evaluate import count_correct
from model.training.loop import Training
from model.training.order import order_of

BATCHES = 100  # that move the statistics in training mode
CONTRAST, OFFSET = 0.5, 1.0  # of the rows that "frozen" layers meet; in deviations of inputs
MOST_STEPS = 500  # of a training within the report
NOISE = 1.0  # of the second pass of each step, in deviations of inputs


def nan_batch(twin: Twin) -> Planted:
    """One batch with NaN passes in training mode: it never leaves the running statistics."""
    network = _copy(twin)
    rows = next(_batches(twin, 1)).clone()
    rows[0] = torch.nan
    _pass(network, [rows])
    return Planted("one batch with NaN", network, twin.loaded.about.evidence())


def missing_buffers(twin: Twin) -> Planted:
    """Weights alone were saved, and loaded without `strict`: the statistics are the first ones."""
    network = _copy(twin)
    for norm in batch_norms(network).values():
        norm.running_mean.zero_()
        norm.running_spread.fill_(1)
        norm.num_batches_tracked.zero_()
    return Planted("missing buffers", network, twin.loaded.about.evidence())


def averaged_weights(twin: Twin, results: Results) -> Planted | None:
    """Weights averaged over checkpoints, beside the statistics of the first of them.

    Returns:
        None where there are fewer than two checkpoints.
    """
    steps = [one.step for one in twin.run.checkpoints]
    found = [results.trained(twin.run, step) for step in steps]
    networks = [one.network for one in found if one is not None]
    if len(networks) < 2:
        return None
    network = deepcopy(networks[0])
    with torch.no_grad():
        for parameters in zip(
            network.parameters(), *(n.parameters() for n in networks), strict=True
        ):
            average, *parts = parameters
            average.copy_(torch.stack(list(parts)).mean(0))
    known = replace(twin.loaded.about.evidence(), batches=None, is_averaged=True)
    return Planted("averaged weights", network, known)


def double_update(twin: Twin) -> Planted:
    """Every step passes twice in training mode, the second time with noisy rows."""
    network, generator = _copy(twin), torch.Generator().manual_seed(twin.seed)
    passes, deviation = list[Tensor](), _deviation(twin)
    for rows in _batches(twin, BATCHES):
        noise = torch.randn(rows.shape, generator=generator, dtype=rows.dtype)
        passes += [rows, rows + NOISE * deviation * noise]
    _pass(network, passes)
    known = twin.loaded.about.evidence()
    expected = None if known.batches is None else known.batches + BATCHES
    return Planted("double update", network, replace(known, batches=expected))


def frozen_weights(twin: Twin) -> Planted:
    """Weights take no gradient any more, but training mode goes on moving the statistics."""
    network = _copy(twin)
    held = {name: layer_fingerprint(name, norm) for name, norm in batch_norms(network).items()}
    offset = OFFSET * _deviation(twin)
    _pass(network, [CONTRAST * rows + offset for rows in _batches(twin, BATCHES)])
    known = replace(twin.loaded.about.evidence(), frozen=held)
    before = _copy(twin)
    remedy = "put back the statistics that were frozen, and keep the layers in eval mode"
    return Planted('fine-tuning with "frozen" weights', network, known, remedy, before)


def batch_statistics_at_prediction(twin: Twin) -> Specimen:
    """A network in training mode answers rows that come one class at a time."""
    by_class, in_eval = _right_by_class(twin), accuracies(twin.loaded.network, twin)[1]
    return Specimen(
        "batch statistics at prediction",
        twin.seed,
        accuracies(twin.loaded.network, twin)[0],
        by_class,
        (),
        IN_EVAL,
        in_eval,
        "nothing is wrong with the checkpoint, so no diagnosis can tell: the answers hang on their "
        "neighbours",
    )


def tail_of_one(twin: Twin, results: Results) -> Specimen | None:
    """The last batch of an epoch has one row: a layer after `Linear` has no variance to take.

    Returns:
        None where no batch size leaves a tail of one: fewer than three training rows.
    """
    size = _size_with_tail_of_one(len(twin.start.arrays.train), twin.run.spec.batch_size)
    if size is None:
        return None
    planted = _with_tail(twin, size)
    return Specimen(
        "tail batch of one",
        twin.seed,
        None,
        None,
        _refusal(planted, twin.loaded.facts),
        "tail: merge",
        _merged(planted, twin, results),
        f"batches of {size:,} rows leave one over; torch says: {_torch_says()}",
    )


def _with_tail(twin: Twin, size: int) -> RunSpec:
    """The spec of the run with another batch size, long enough for a tail to come.

    It takes as many steps as the run, or fewer where they would pass more rows than that did.
    """
    start, spec = twin.start, twin.start.checked.spec
    least = len(start.arrays.train) // size + 1
    as_many = min(start.checked.steps, start.checked.steps * spec.batch_size // size)
    steps = Span(steps=max(least, min(as_many, MOST_STEPS)))
    return spec.model_copy(update={"batch_size": size, "tail": "keep", "budget": steps})


def _merged(planted: RunSpec, twin: Twin, results: Results) -> float | None:
    """What is right in eval mode after training whose tail is merged; None: it diverged."""
    merged = check(planted.model_copy(update={"tail": "merge"}), twin.loaded.facts, NO_LIMITS)
    training = Training(merged, twin.start.arrays, torch.device("cpu"))
    ended = None
    for happening in training.run():
        ended = happening.ended
        results.moved()
    return accuracies(training.network.eval(), twin)[1] if ended == "completed" else None


def _copy(twin: Twin) -> nn.Module:
    return deepcopy(twin.loaded.network)


def _deviation(twin: Twin) -> float:
    """Of all values of all training rows."""
    return float(twin.start.arrays.train.inputs.std())


@torch.no_grad()
def _pass(network: nn.Module, batches: Sequence[Tensor]) -> None:
    """Let training mode move the statistics; the network is in eval mode afterwards."""
    network.train()
    for rows in batches:
        network(rows)
    network.eval()


def _batches(twin: Twin, count: int) -> Iterator[Tensor]:
    """Batches of training rows in the order that the run began with, again and again."""
    training, inputs = twin.start.training, twin.start.arrays.train.inputs
    order = order_of(training.spec, training.order.sizes, training.arrays.train)
    while count > 0:
        batches = order.epoch().rows.split(order.sizes)[:count]
        yield from (inputs[rows] for rows in batches)
        count -= len(batches)


def _right_by_class(twin: Twin) -> float:
    """The share of rows that are right in company of their own class; 0 of no rows.

    A class with a single row has no statistics to be answered by, and is left out.
    """
    part, network = twin.held_out, twin.loaded.network
    right = asked = 0
    with torch.inference_mode(), batch_statistics(network):
        for rows in _company(part):
            assert part.classes is not None
            right += count_correct(network(part.inputs[rows]), part.classes[rows])
            asked += len(rows)
    return right / max(1, asked)


def _company(part: Part) -> Iterator[Tensor]:
    """Indices of all rows of each class, in equal parts of at most so many as pass at once."""
    assert part.classes is not None
    for label in part.classes.unique():
        rows = torch.nonzero(part.classes == label).flatten()
        if len(rows) >= LEAST_ROWS:
            yield from rows.tensor_split(-(-len(rows) // CHUNK))


def _size_with_tail_of_one(rows: int, wanted: int) -> int | None:
    """The batch size nearest to the wanted one of which a whole number leaves one row.

    Of a size with which it would not come soon, nothing would be seen in the steps there are.
    """
    least = max(2, -(-rows // MOST_STEPS))
    sizes = [size for size in range(least, rows) if (rows - 1) % size == 0]
    return min(sizes, key=lambda size: abs(size - wanted), default=None)


def _refusal(spec: RunSpec, facts: Facts) -> tuple[str, ...]:
    try:
        check(spec, facts, NO_LIMITS)
    except SpecRefused as refused:
        return (refused.reason,)
    return ()


def _torch_says() -> str:
    try:
        nn.BatchNorm1d(2)(torch.zeros(1, 2))
    except ValueError as error:
        return str(error)
    return "nothing"
