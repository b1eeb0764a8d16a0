"""New running statistics for a checkpoint, from rows; not a byte of its weights moves.

It knows nothing of files or records: what comes out is a state dict and how it was made.
"""

import copy
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, assert_never

import numpy as np
import torch
from torch import Tensor, nn

from model.checkpoint import Loaded
from model.data.inputs import blocks
from model.errors import InputRefused
from model.networks.indices import refuse_indices
from model.predict import refuse_rows
from model.statistics.adapt import adapted
from model.statistics.convergence import CurvePoint, converge, partial_counts
from model.statistics.levels import norm_levels
from model.statistics.modes import batch_norms, running_norms
from model.statistics.population import FEW, Statistics, ema, pooled, precise
from model.statistics.row_batches import RowBatches

Method = Literal["precise", "pooled", "ema", "adapt"]


NO_NORM = "the network has no batch norm, so it has no running statistics"
LP_NORM = "the statistics of an l_p norm come from training alone and cannot be recalibrated"
CURVE_BATCHES = 16  # at least, unless a batch would be less than a row


@dataclass(frozen=True)
class Recalibration:
    """How new statistics are made. Rows are shuffled by `seed`, whatever the method."""

    method: Method = "precise"
    batch_rows: int | None = None  # null: a sixteenth of the rows, or for pooled and ema the run's
    seed: int = 0  # of the order of the rows, which decides pooled and ema and every curve
    momentum: float | None = None  # of ema: share of the newest batch; None: all weigh the same
    source_rows: float = 16.0  # of adapt: rows that the old statistics count as


@dataclass(frozen=True)
class Recalibrated:
    """A network's tensors with new statistics, and what they were made from."""

    tensors: dict[str, Tensor]  # state dict, copied, on the CPU
    method: Method
    batch_rows: int
    seed: int
    num_batches: int  # used; every layer's num_batches_tracked
    num_rows: int
    rows: str  # "sha256:...", fingerprint of the raw rows in the order in which they came
    curve: tuple[CurvePoint, ...]  # error of the statistics against batches used


def recalibrated(
    loaded: Loaded,
    rows: np.ndarray,
    asked: Recalibration,
    on_batch: Callable[[float], None] | None = None,
) -> Recalibrated:
    """Compute the statistics of every batch norm anew.

    Args:
        loaded: left as it is.
        rows: (n, *input_shape) or (n, product of input_shape), raw, as in the dataset; the
            checkpoint's own scaling is applied. Labels are not needed.
        asked: the method and its numbers.
        on_batch: told before each batch which share of them has been read, 0 to 1; what it
            raises ends the work.

    Raises:
        InputRefused: the network has no batch norm of any kind; fewer than two rows (one for
            adapt), another shape, a value that is not finite, before or after the scaling, or no
            index where the network looks up such.
        ValueError: batches of a single row for a method that needs two, or of none.
        DeviationZero: with pooled and ema: see `model.statistics.population`.
    """
    layers = batch_norms(loaded.network)
    if not layers:
        raise InputRefused(why_not(loaded.network), layers=0)
    least = 1 if asked.method == "adapt" else 2
    rows = _checked(loaded, rows, least)
    batch_rows = _batch_rows(loaded, asked, least, len(rows))
    joins = 2 if asked.method in ("pooled", "ema") else 1  # a batch of one has no variance
    batches = RowBatches.shuffled(
        rows, loaded.scaling, _type(loaded), batch_rows, asked.seed, joins
    )
    if on_batch is not None:
        reads = _reads(loaded.network, batches, asked.method)
        batches = replace(batches, on_read=_Counter(on_batch, reads).count)
    final, curve = converge(lambda some: _estimate(loaded.network, some, asked), batches, layers)
    return Recalibrated(
        _with_statistics(loaded.network, final, len(batches)),
        asked.method,
        batch_rows,
        asked.seed,
        len(batches),
        len(rows),
        rows_fingerprint(rows),
        curve,
    )


def why_not(network: nn.Module) -> str:
    """Why rows cannot give a network without batch norms other statistics."""
    return LP_NORM if running_norms(network) else NO_NORM


def rows_fingerprint(rows: np.ndarray) -> str:
    """ "sha256:..." over type, shape and values of raw rows, in their order."""
    digest = hashlib.sha256(json.dumps([rows.dtype.name, list(rows.shape)]).encode())
    for some in blocks(rows):
        digest.update(np.ascontiguousarray(rows[some], rows.dtype.newbyteorder("<")).data)
    return "sha256:" + digest.hexdigest()


class _Counter:
    """Turns reads of batches into the share of all that will be read."""

    def __init__(self, told: Callable[[float], None], total: int) -> None:
        self._told, self._total, self._read = told, total, 0

    def count(self) -> None:
        self._told(min(1.0, self._read / self._total))
        self._read += 1


def _reads(network: nn.Module, batches: RowBatches, method: Method) -> int:
    """How many batches all estimates together read."""
    counts = [*partial_counts(len(batches)), len(batches)]
    if method in ("pooled", "ema"):
        return sum(counts)
    few = next(iter(batches))[:FEW].to(next(network.parameters()).device)
    return len(norm_levels(network, few)) * sum(counts) + len(counts)


def _estimate(
    network: nn.Module, batches: RowBatches, asked: Recalibration
) -> dict[str, Statistics]:
    match asked.method:
        case "precise":
            return precise(network, batches)
        case "pooled":
            return pooled(network, batches)
        case "ema":
            return ema(network, batches, asked.momentum)
        case "adapt":
            return adapted(network, batches, asked.source_rows)
        case _:
            assert_never(asked.method)


def _batch_rows(loaded: Loaded, asked: Recalibration, least: int, rows: int) -> int:
    """As asked; by default enough batches for a curve, where the answer does not hang on them."""
    is_by_batch = asked.method in ("pooled", "ema")
    few = max(least, min(rows // CURVE_BATCHES, loaded.block_rows))
    default = loaded.spec.batch_size if is_by_batch else few
    batch_rows = default if asked.batch_rows is None else asked.batch_rows
    if batch_rows < least:
        raise ValueError(f"expected batches of at least {least} rows, got {batch_rows}")
    return batch_rows


def _checked(loaded: Loaded, rows: np.ndarray, least: int) -> np.ndarray:
    """The rows in the shape of the network's inputs, every value finite before and after."""
    shape = loaded.facts.input_shape
    width = int(np.prod(shape))
    if rows.ndim < 2 or rows.shape[1:] not in (shape, (width,)):
        raise InputRefused(
            f"expected rows of shape {list(shape)}, got inputs of shape {list(rows.shape)}",
            expected=list(shape),
            got=list(rows.shape),
        )
    if len(rows) < least:
        raise InputRefused(f"expected at least {least} rows, got {len(rows)}", rows=len(rows))
    rows = rows.reshape(len(rows), *shape)
    is_finite, is_scaled = np.empty(len(rows), bool), np.empty(len(rows), bool)
    for some in blocks(rows):
        is_finite[some] = _all_finite(rows[some])
        with np.errstate(over="ignore"):  # refused below, by row
            is_scaled[some] = _all_finite(loaded.scaling.apply(rows[some], dtype=_type(loaded)))
    refuse_rows(is_finite, "not finite")
    refuse_rows(is_scaled, f"too large for {_type(loaded).__name__}")
    refuse_indices(loaded.network, rows)
    return rows


def _all_finite(rows: np.ndarray) -> np.ndarray:
    finite: np.ndarray = np.isfinite(rows).reshape(len(rows), -1).all(1)
    return finite


def _type(loaded: Loaded) -> type[np.float32] | type[np.float64]:
    return np.float64 if loaded.spec.precision == "float64" else np.float32


def _with_statistics(
    network: nn.Module, found: dict[str, Statistics], num_batches: int
) -> dict[str, Tensor]:
    changed = copy.deepcopy(network)
    with torch.no_grad():
        for name, layer in batch_norms(changed).items():
            if name in found:
                found[name].put_into(layer)
                layer.num_batches_tracked.fill_(num_batches)
    return {name: one.detach().cpu().clone() for name, one in changed.state_dict().items()}
