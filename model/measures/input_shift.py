"""Internal covariate shift as the post defines it: how a layer's input moves in one step.

The input of each linear layer and convolution is taken on the same rows before and after an
optimizer step. Per unit, with a before and b after, SDs over n:

    mean shift       |mean(b) - mean(a)| / SD(a)
    log SD ratio     ln(SD(b) / SD(a))
    Wasserstein      mean_i |sort(b)_i - sort(a)_i| / SD(a)

The last is the 1-Wasserstein distance of the two samples, exact: in one dimension equal samples
are matched in order. A unit that does not move has a shift of 0; one that did not vary before,
and moved, has no SD to tell it in. Noise that a norm adds is drawn anew after the step, as in
training, and so counts as shift.

Section "What is ICS?" of https://github.com/Iancheung228 (BatchNorm, 2024-04-01).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any

import torch
from torch import Tensor, nn

from model import spec
from model.measures.numbers import layer_points, number
from model.measures.probe import MOST_ROWS, Block, Moment, Reading, Setting
from model.measures.sites import Site, watched, weight_sites
from model.measures.untouched import Again, device_of, seeded, untouched
from model.measures.values import by_unit, count_rows, some_positions, sorted_values, told_rows
from model.plan import Checked

_Inputs = Mapping[str, Sequence[Tensor]]  # by layer and block, (n, U, P)


@dataclass(frozen=True)
class LayerShift:
    """The shift of one layer's input.

    Shape letters: U units or channels of the input.
    """

    name: str
    mean: Tensor  # (U,) float64, SDs, at least 0
    log_sd: Tensor  # (U,) float64
    wasserstein: Tensor  # (U,) float64, SDs, at least 0
    has_scale: Tensor  # (U,) bool: varied before, or has not moved; the shift of others is NaN

    def median(self, what: Tensor) -> float:
        """Median of the absolute values over the units with a scale; NaN without any."""
        told = what[self.has_scale].abs()
        return float(told.quantile(0.5)) if len(told) else nan

    def worst(self, what: Tensor) -> float:
        """Largest absolute value over the units with a scale; NaN without any."""
        told = what[self.has_scale].abs()
        return float(told.max()) if len(told) else nan


@torch.no_grad()
def input_shift_of(
    before: nn.Module,
    after: nn.Module,
    blocks: Sequence[Block],
    *,
    later: Sequence[Block] | None = None,
    again: tuple[Again, Again] | None = None,
) -> tuple[LayerShift, ...]:
    """How far the input of each layer with weights moved from one network to the other.

    The networks are run in the modes in which they are, and left as they are. A layer that is
    fed with the rows themselves has a shift of 0, or that of the rows where they differ.

    Args:
        before, after: of one architecture.
        blocks: rows, of which all values are held: of images, those of some positions.
        later: as many rows, which the other network gets; None: the same.
        again: puts the generators back, before and after.

    Returns:
        One for each layer, in network order.
    """
    device = device_of(before)
    first, second = again or (seeded(0, device), seeded(1, device))
    a, b = _inputs(before, blocks, first), _inputs(after, later or blocks, second)
    return tuple(_shift(name, values, b[name]) for name, values in a.items())


def passes(asked: spec.InputShift, checked: Checked) -> int:
    """Row-passes of one probe: each row before and after."""
    return 2 * min(MOST_ROWS, checked.rows.train)


def probe(asked: spec.InputShift, setting: Setting) -> "InputShiftProbe":
    """What is asked at every probed step."""
    return InputShiftProbe()


@dataclass(frozen=True)
class InputShiftProbe:
    """The shift of every layer's input in one step, on the fixed rows."""

    def compare(self, before: Moment, after: Moment) -> Reading:
        """Median and worst over each layer's units."""
        both = (before.again, after.again)
        shifts = input_shift_of(before.network, after.network, before.rows, again=both)
        points: dict[str, Callable[[LayerShift], float]] = {
            "wasserstein": lambda one: one.median(one.wasserstein),
            "mean": lambda one: one.median(one.mean),
            "log_sd": lambda one: one.median(one.log_sd),
            "wasserstein_worst": lambda one: one.worst(one.wasserstein),
        }
        values = layer_points("input_shift", points, enumerate(shifts, 1))
        layers = [_json(n, shift) for n, shift in enumerate(shifts, 1)]
        return Reading(values, told_rows(before.rows) | {"layers": layers})


def _inputs(network: nn.Module, blocks: Sequence[Block], again: Again) -> _Inputs:
    sites = weight_sites(network)
    found: dict[str, list[Tensor]] = {site.name: [] for site in sites}
    rows = count_rows(blocks)

    def note(site: Site, x: Tensor, _: Tensor) -> None:
        seen = found[site.name]
        seen.append(some_positions(x, rows, len(seen)).cpu())

    with untouched(network, again) as begin, watched(sites, note):
        for block in begin.each(blocks):
            network(block.inputs)
    return found


def _shift(name: str, before: Sequence[Tensor], after: Sequence[Tensor]) -> LayerShift:
    units = before[0].shape[1]
    zeros = torch.zeros(units, dtype=torch.float64)
    if all(map(torch.equal, before, after)):  # as where the rows themselves enter: no sorting
        return LayerShift(name, zeros, zeros, zeros, torch.ones(units, dtype=torch.bool))
    a, b = (sorted_values(by_unit(values)).double() for values in (before, after))
    apart = (b - a).abs().mean(1)
    means, deviations = (a.mean(1), b.mean(1)), (_deviation(a), _deviation(b))
    moves, sd = apart != 0, deviations[0]

    def told(values: Tensor) -> Tensor:
        return values.where(moves, zeros).where(~moves | (sd != 0), nan)

    return LayerShift(
        name,
        told((means[1] - means[0]).abs() / sd),
        told((deviations[1] / sd).log()),
        told(apart / sd),
        ~moves | (sd != 0),
    )


def _deviation(values: Tensor) -> Tensor:
    """Over n, of each row."""
    return (values - values.mean(1, keepdim=True)).square().mean(1).sqrt()


def _json(n: int, shift: LayerShift) -> dict[str, Any]:
    told: dict[str, Any] = {
        "layer": n,
        "name": shift.name,
        "units": len(shift.mean),
        "units_without_scale": int((~shift.has_scale).sum()),
    }
    kinds = {"mean": shift.mean, "log_sd": shift.log_sd, "wasserstein": shift.wasserstein}
    for kind, what in kinds.items():
        told[kind] = {"median": number(shift.median(what)), "worst": number(shift.worst(what))}
    return told
