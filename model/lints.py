"""What a submission should be told although it may run: rules over a plan, no refusal here."""

from collections.abc import Iterator
from itertools import pairwise

from model.findings import Finding
from model.norms.lag import MOST_SHARE, forecast
from model.sizes import Plan, PlannedLayer
from model.spec import (
    BatchRenorm,
    BatchStatistics,
    Conv2d,
    GhostBatchNorm,
    Linear,
    NoNorm,
    OverBatch,
    RunSpec,
    Vgg,
)
from model.vgg import MOST_POOLS, dropped_pools

FEW_VALUES = 8  # values per channel under which a batch's statistics are mostly noise
FAST_MOMENTUM = 0.5  # share of the newest batch over which the running values forget the rest


def findings(spec: RunSpec, plan: Plan, steps: int) -> tuple[Finding, ...]:
    """Every finding about a run of `steps` steps that is about to be queued."""
    return (*_network(spec, plan), *_norm(spec, plan, steps))


def _network(spec: RunSpec, plan: Plan) -> Iterator[Finding]:
    if isinstance(spec.network, Vgg):
        shape = plan.layers[0].input_shape
        dropped = dropped_pools(spec.network, shape)
        if dropped:
            yield Finding(
                "VGG_POOLS_DROPPED",
                "note",
                None,
                {"dropped": list(dropped), "pools": MOST_POOLS, "input_shape": list(shape)},
                f"Rows of at least {2**MOST_POOLS} pixels a side keep all {MOST_POOLS} pools.",
            )


def _norm(spec: RunSpec, plan: Plan, steps: int) -> tuple[Finding, ...]:
    norm = spec.norm
    if isinstance(norm, NoNorm):
        return ()
    placed = [layer for layer in plan.walk() if layer.norm is not None]
    if not placed:
        return (_not_placed(norm.kind),)
    if not isinstance(norm, OverBatch):
        return ()
    rows = min(_group_rows(norm, spec.batch_size), spec.batch_size)
    small = (_small_batch(layer, spec.batch_size, rows) for layer in placed)
    # The divisor of an l_p norm hangs on the bias that its mean takes away.
    biases = _biases_before_a_norm(plan.layers) if isinstance(norm, BatchStatistics) else ()
    return (
        *_momentum(norm),
        *(finding for finding in small if finding is not None),
        *(_redundant_bias(*pair) for pair in biases),
        *_lag(norm, spec.batch_size, steps),
        *_renorm_warmup(norm, steps),
    )


def _group_rows(norm: OverBatch, batch_size: int) -> int:
    """Rows that are normalized together, at most."""
    return norm.group_size if isinstance(norm, GhostBatchNorm) else batch_size


def _not_placed(kind: str) -> Finding:
    return Finding(
        "NORM_NOT_PLACED",
        "note",
        None,
        {"norm": kind},
        "Put a norm layer into the network, or set norm to none.",
    )


def _momentum(norm: OverBatch) -> Iterator[Finding]:
    momentum = norm.momentum
    if momentum is not None and (momentum == 0 or momentum > FAST_MOMENTUM):
        yield Finding(
            "BN_MOMENTUM_SUSPECT",
            "warning",
            None,
            {"momentum": momentum, "usual": [0.01, FAST_MOMENTUM]},
            "Momentum is the share of the newest batch; Keras and Flax give the other share.",
        )


def _lag(norm: OverBatch, batch_size: int, steps: int) -> Iterator[Finding]:
    """A budget that ends before the running values have forgotten their start."""
    momentum = norm.momentum
    told = forecast(_share_of_step(norm, batch_size), steps)
    if told.is_reached or momentum == 0:  # momentum 0 has a finding of its own
        return
    first = told.trustworthy_step
    since = "never trustworthy" if first is None else f"trustworthy from step {first:,}"
    yield Finding(
        "BN_STATS_LAG",
        "warning",
        None,
        {
            "momentum": momentum,
            "steps": steps,
            "share_of_initial": told.share_at_end,
            "at_most": MOST_SHARE,
            "trustworthy_step": first,
        },
        f"Eval mode is {since}: train longer, raise norm.momentum, or after the run send "
        'POST /v1/checkpoints/{id}/recalibrate {"method": "precise"}.'
        if isinstance(norm, BatchStatistics)
        else f"Eval mode is {since}: train longer, or raise norm.momentum.",
    )


def _share_of_step(norm: OverBatch, batch_size: int) -> float | None:
    """Share in the running values of all that one step averages into them."""
    momentum, groups = norm.momentum, -(-batch_size // _group_rows(norm, batch_size))
    return momentum if momentum is None or groups == 1 else 1 - (1 - momentum) ** groups


def _renorm_warmup(norm: OverBatch, steps: int) -> Iterator[Finding]:
    if isinstance(norm, BatchRenorm) and steps <= norm.warmup_batches:
        yield Finding(
            "BN_RENORM_WARMUP",
            "warning",
            None,
            {"steps": steps, "warmup_batches": norm.warmup_batches},
            "The run ends in the warm-up, which is plain batch norm: lower norm.warmup_batches "
            "and the two ramps, or train longer.",
        )


def _small_batch(layer: PlannedLayer, batch_size: int, rows: int) -> Finding | None:
    values = rows * layer.positions
    if values >= FEW_VALUES:
        return None
    return Finding(
        "BN_SMALL_BATCH",
        "warning",
        layer.name,
        {"batch_size": batch_size, "values_per_channel": values, "at_least": FEW_VALUES},
        "Normalize more rows together, or use layer or group norm, which do not look at the batch.",
    )


def _redundant_bias(layer: PlannedLayer, norm: PlannedLayer) -> Finding:
    return Finding(
        "BN_BIAS_REDUNDANT",
        "note",
        layer.name,
        {"parameters": layer.output_shape[0], "norm": norm.name},
        "Set bias to false: the norm subtracts the mean, and the bias with it.",
    )


def _biases_before_a_norm(
    chain: tuple[PlannedLayer, ...],
) -> Iterator[tuple[PlannedLayer, PlannedLayer]]:
    for before, after in pairwise(chain):
        layer = before.layer
        biased = isinstance(layer, Linear | Conv2d) and layer.bias
        # A linear layer over the last of several axes has its biases along another one.
        along_channels = isinstance(layer, Conv2d) or len(before.output_shape) == 1
        if biased and along_channels and after.norm is not None:
            yield before, after
    for layer_with_branch in chain:
        yield from _biases_before_a_norm(layer_with_branch.branch)
