"""Mean and deviation of each unit or channel before and after its activation, on fixed rows.

Deviations are over n. The input is what the activation itself gets: behind a norm, after its
gain and bias. A channel's values are those of all rows and positions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from model import spec
from model.measures.numbers import layer_points, unit_lists
from model.measures.probe import MOST_ROWS, Block, Moment, Reading, Setting
from model.measures.sites import Site, activation_sites, watched
from model.measures.untouched import Again, untouched
from model.measures.values import told_rows
from model.plan import Checked
from model.statistics.moments import Moments


@dataclass(frozen=True)
class LayerMoments:
    """What enters and leaves one activation layer, unit by unit, in float64."""

    site: Site
    before: Moments
    after: Moments


@torch.no_grad()
def moments_of(
    network: nn.Module, blocks: Sequence[Block], *, again: Again | None = None
) -> tuple[LayerMoments, ...]:
    """Moments of every activation layer over all rows, in network order.

    The network is run in the mode in which it is, and left as it is. Nothing is kept of a block
    but its moments.

    Args:
        again: puts the generators back before the rows pass.
    """
    sites = activation_sites(network)
    found: dict[str, tuple[Moments, Moments]] = {}

    def note(site: Site, x: Tensor, y: Tensor) -> None:
        new = Moments.of(x), Moments.of(y)
        old = found.get(site.name)
        found[site.name] = (old[0].merged(new[0]), old[1].merged(new[1])) if old else new

    with untouched(network, again) as begin, watched(sites, note):
        for block in begin.each(blocks):
            network(block.inputs)
    return tuple(LayerMoments(site, *found[site.name]) for site in sites)


def passes(asked: spec.Moments, checked: Checked) -> int:
    """Row-passes of one probe: each row once."""
    return min(MOST_ROWS, checked.rows.train)


def probe(asked: spec.Moments, setting: Setting) -> "MomentsProbe":
    """What is asked at every probed step."""
    return MomentsProbe()


class MomentsProbe:
    """Moments of every unit of every activation layer."""

    def look(self, at: Moment) -> Reading:
        """Every unit's moments, and as points the median over units of |mean| and deviation."""
        found = moments_of(at.network, at.rows, again=at.again)
        points: dict[str, Callable[[LayerMoments], float]] = {
            "input_mean": lambda one: _median(one.before.mean.abs()),
            "input_sd": lambda one: _median(_deviation(one.before)),
            "output_mean": lambda one: _median(one.after.mean.abs()),
            "output_sd": lambda one: _median(_deviation(one.after)),
        }
        values = layer_points("moments", points, enumerate(found, 1))
        layers = [_json(n, one, len(found)) for n, one in enumerate(found, 1)]
        return Reading(values, told_rows(at.rows) | {"layers": layers})


def _deviation(moments: Moments) -> Tensor:
    return moments.variance(0).sqrt()


def _median(units: Tensor) -> float:
    return float(units.quantile(0.5))


def _json(n: int, one: LayerMoments, layers: int) -> dict[str, Any]:
    told: dict[str, Any] = {"layer": n, "name": one.site.name, "activation": one.site.kind}
    lists = {
        "input_mean": one.before.mean,
        "input_sd": _deviation(one.before),
        "output_mean": one.after.mean,
        "output_sd": _deviation(one.after),
    }
    return told | unit_lists(lists, layers)
