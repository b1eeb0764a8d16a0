"""Internal covariate shift as the post defines it: how a layer's input moves in one step.

The input of each layer with weights is taken on the same rows before and after an optimizer
step. Per unit, with a before and b after, SDs over n:

    mean shift       |mean(b) - mean(a)| / SD(a)
    log SD ratio     ln(SD(b) / SD(a))
    Wasserstein      mean_i |sort(b)_i - sort(a)_i| / SD(a)

The last is the 1-Wasserstein distance of the two samples, exact: in one dimension equal samples
are matched in order. Noise that a norm adds is drawn anew after the step, as in training, and so
counts as shift.

Section "What is ICS?" of https://github.com/Iancheung228 (BatchNorm, 2024-04-01).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any

import torch
from torch import Tensor, nn

from model import spec
from model.measures.numbers import number
from model.measures.probe import MOST_ROWS, Block, Moment, Reading, Setting
from model.measures.sites import Site, watched, weight_sites
from model.measures.untouched import Again, device_of, seeded, untouched
from model.measures.values import count_rows, leading, sorted_values, unit_values
from model.plan import Checked

_Inputs = Mapping[str, Tensor]  # by layer, (U, M)


@dataclass(frozen=True)
class LayerShift:
    """The shift of one layer's input; a unit that did not vary before has none: NaN.

    Shape letters: U units or channels of the input.
    """

    name: str
    mean: Tensor  # (U,) float64, SDs, at least 0
    log_sd: Tensor  # (U,) float64
    wasserstein: Tensor  # (U,) float64, SDs, at least 0
    constant: Tensor  # (U,) bool: did not vary before

    def median(self, what: Tensor) -> float:
        """Median of the absolute values over the units that varied."""
        varied = what[~self.constant].abs()
        return float(varied.quantile(0.5)) if len(varied) else nan

    def worst(self, what: Tensor) -> float:
        """Largest absolute value over the units that varied."""
        varied = what[~self.constant].abs()
        return float(varied.max()) if len(varied) else nan


@torch.no_grad()
def input_shift_of(
    before: nn.Module,
    after: nn.Module,
    blocks: Sequence[Block],
    *,
    again: tuple[Again, Again] | None = None,
) -> tuple[LayerShift, ...]:
    """How far the input of each layer with weights moved from one network to the other.

    The networks are run in the modes in which they are, and left as they are. A layer that is
    fed with the rows themselves has a shift of 0; an embedding, whose input are indices, is
    left out.

    Args:
        before, after: of one architecture.
        blocks: rows, of which all values are held: of images, those of some positions.
        again: puts the generators back, before and after.

    Returns:
        One for each layer, in network order.
    """
    device = device_of(before)
    first, second = again or (seeded(0, device), seeded(1, device))
    earlier, later = _inputs(before, blocks, first), _inputs(after, blocks, second)
    return tuple(_shift(name, values, later[name]) for name, values in earlier.items())


def passes(asked: spec.InputShift, checked: Checked) -> int:
    """Row-passes of one probe: each row before and after."""
    return 2 * min(MOST_ROWS, checked.rows.train)


def probe(asked: spec.InputShift, setting: Setting) -> "InputShiftProbe":
    """What is asked at every probed step."""
    return InputShiftProbe()


@dataclass(frozen=True)
class InputShiftProbe:
    """The shift of every layer's input in one step, on at most 2,000 rows also at the start."""

    def compare(self, before: Moment, after: Moment) -> Reading:
        """Median and worst over each layer's units."""
        rows = leading(before.rows, MOST_ROWS)
        both = (before.again, after.again)
        shifts = input_shift_of(before.network, after.network, rows, again=both)
        numbered = list(enumerate(shifts, 1))
        values: dict[str, float] = {}
        for n, shift in numbered:
            values |= {
                f"input_shift.mean.{n}": shift.median(shift.mean),
                f"input_shift.log_sd.{n}": shift.median(shift.log_sd),
                f"input_shift.wasserstein.{n}": shift.median(shift.wasserstein),
                f"input_shift.wasserstein_worst.{n}": shift.worst(shift.wasserstein),
            }
        layers = [_json(n, shift) for n, shift in numbered]
        return Reading(values, {"rows": count_rows(rows), "layers": layers})


def _inputs(network: nn.Module, blocks: Sequence[Block], again: Again) -> _Inputs:
    sites = [one for one in weight_sites(network) if not isinstance(one.module, nn.Embedding)]
    found: dict[str, list[Tensor]] = {site.name: [] for site in sites}
    rows = count_rows(blocks)

    def note(site: Site, x: Tensor, _: Tensor) -> None:
        found[site.name].append(unit_values(x, rows).cpu())

    with untouched(network, again) as same_noise, watched(sites, note):
        same_noise()
        for block in blocks:
            network(block.inputs)
    return {name: torch.cat(parts, 1) for name, parts in found.items()}


def _shift(name: str, before: Tensor, after: Tensor) -> LayerShift:
    a, b = before.double(), after.double()
    sd = a.std(1, correction=0)
    constant = sd == 0
    if torch.equal(a, b):  # nothing to sort; a layer that the rows themselves enter
        still = torch.zeros_like(sd).where(~constant, nan)
        return LayerShift(name, still, still, still, constant)
    apart = (sorted_values(after).double() - sorted_values(before).double()).abs().mean(1)
    return LayerShift(
        name,
        ((b.mean(1) - a.mean(1)).abs() / sd).where(~constant, nan),
        (b.std(1, correction=0) / sd).log().where(~constant, nan),
        (apart / sd).where(~constant, nan),
        constant,
    )


def _json(n: int, shift: LayerShift) -> dict[str, Any]:
    told: dict[str, Any] = {
        "layer": n,
        "name": shift.name,
        "units": len(shift.mean),
        "constant_units": int(shift.constant.sum()),
    }
    kinds = {"mean": shift.mean, "log_sd": shift.log_sd, "wasserstein": shift.wasserstein}
    for kind, what in kinds.items():
        told[kind] = {"median": number(shift.median(what)), "worst": number(shift.worst(what))}
    return told
