"""Percentiles 15, 50 and 85 of what enters each unit's activation, on fixed rows.

The input is what the activation itself gets: behind a norm, after its gain and bias.

Ioffe and Szegedy 2015, figure 1 b and c, of one unit of the last hidden layer:
https://arxiv.org/abs/1502.03167
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any

import torch
from torch import Tensor, nn

from model import spec
from model.measures.numbers import unit_lists
from model.measures.probe import MOST_ROWS, Block, Moment, Reading, Setting
from model.measures.sites import Site, activation_sites, watched
from model.measures.untouched import Again, untouched
from model.measures.values import by_unit, count_rows, some_positions, sorted_values, told_rows
from model.plan import Checked

LEVELS = {"p15": 0.15, "p50": 0.50, "p85": 0.85}


@dataclass(frozen=True)
class LayerPercentiles:
    """Percentiles of the input of one activation layer.

    Shape letters: U units or channels.
    """

    number: int  # among the activation layers, from 1
    site: Site
    levels: dict[str, Tensor]  # p15, p50, p85: (U,) float64, NaN for a unit that had a NaN


@torch.no_grad()
def percentiles_of(
    network: nn.Module,
    blocks: Sequence[Block],
    *,
    layers: Collection[int] | None = None,
    again: Again | None = None,
) -> tuple[LayerPercentiles, ...]:
    """Percentiles over all rows, between two values by linear interpolation.

    The network is run in the mode in which it is, and left as it is. The inputs of the layers
    asked for are held for all rows: of images, those of some positions.

    Args:
        layers: activation layers, counted from 1; None: the last. Others than there are find
            nothing.
        again: puts the generators back before the rows pass.
    """
    numbered = list(enumerate(activation_sites(network), 1))
    chosen = numbered[-1:] if layers is None else [one for one in numbered if one[0] in layers]
    found: dict[str, list[Tensor]] = {site.name: [] for _, site in chosen}
    rows = count_rows(blocks)

    def note(site: Site, x: Tensor, _: Tensor) -> None:
        seen = found[site.name]
        seen.append(some_positions(x, rows, len(seen)))

    with untouched(network, again) as begin, watched([site for _, site in chosen], note):
        for block in begin.each(blocks):
            network(block.inputs)
    return tuple(
        LayerPercentiles(n, site, _levels(by_unit(found[site.name]))) for n, site in chosen
    )


def passes(asked: spec.Percentiles, checked: Checked) -> int:
    """Row-passes of one probe: each row once."""
    return min(MOST_ROWS, checked.rows.train)


def probe(asked: spec.Percentiles, setting: Setting) -> "PercentilesProbe":
    """What is asked at every probed step."""
    return PercentilesProbe(asked.layers)


@dataclass(frozen=True)
class PercentilesProbe:
    """Percentiles of every unit of some activation layers."""

    layers: tuple[int, ...] | None

    def look(self, at: Moment) -> Reading:
        """Every unit's percentiles, and the median over units as points."""
        found = percentiles_of(at.network, at.rows, layers=self.layers, again=at.again)
        values = {
            f"percentiles.{level}.{one.number}": float(units.quantile(0.5))
            for one in found
            for level, units in one.levels.items()
        }
        layers = [_json(one, len(found)) for one in found]
        return Reading(values, told_rows(at.rows) | {"layers": layers})


def _levels(values: Tensor) -> dict[str, Tensor]:
    """Percentiles of each row of (U, M)."""
    ordered = sorted_values(values)
    known = ~ordered[:, -1].isnan()  # NaN is sorted to the end
    return {name: _at(ordered, level).where(known, nan).cpu() for name, level in LEVELS.items()}


def _at(ordered: Tensor, level: float) -> Tensor:
    place = level * (ordered.shape[1] - 1)
    below = int(place)
    above = min(below + 1, ordered.shape[1] - 1)
    # Two columns widened, and not all values: of 60,000 rows they are hundreds of megabytes.
    ends = ordered[:, below].double(), ordered[:, above].double()
    return torch.lerp(*ends, place - below)


def _json(one: LayerPercentiles, layers: int) -> dict[str, Any]:
    told = {"layer": one.number, "name": one.site.name, "activation": one.site.kind}
    return told | unit_lists(one.levels, layers)
