"""Saturated and dead units of every activation layer, kept apart.

Saturated is a value: it lies on a flat region of its activation. Dead is a unit, in three senses
that are told side by side: all its values are flat; a 1 % move of its incoming weights changes
the loss by nothing that matters (`model.measures.dead`); a rule of another system calls it
inactive (`model.measures.flat.is_active`). Of a convolution a unit is a channel, and its values
are those of all rows and positions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from model import spec
from model.measures.dead import DEAD, SCREENED_ROWS, LossChange, steepest_changes_of
from model.measures.flat import RULE_LAYER, RULE_UNIT, is_active, is_flat
from model.measures.numbers import layer_points, number, unit_lists
from model.measures.probe import MOST_ROWS, Block, Moment, Reading, Setting
from model.measures.sites import Site, activation_sites, watched
from model.measures.untouched import Again, untouched
from model.measures.values import count_rows, evenly, leading, told_rows
from model.plan import Checked
from model.training.losses import LossKind

MAP_ROWS = 32  # of the map that a run keeps of its start and its end: the post's batch
MAP_CELLS = 16_384  # of all layers' maps together
LISTED = 12_000  # numbers in the lists of units, beside the maps


@dataclass(frozen=True)
class LayerSaturation:
    """How many of each unit's values are flat.

    Shape letters: U units or channels, R rows.
    """

    site: Site
    values: int  # of each unit: rows times positions
    low: Tensor  # (U,) int64: flat values at inputs up to 0
    high: Tensor  # (U,) int64: flat values at inputs above 0
    unknown: Tensor  # (U,) int64: values that are NaN
    active: Tensor | None  # (U,) int64, as `is_active` counts; None without a rule
    map: Tensor | None  # (U, R) float32: share of positions that are flat, 0 or 1 without positions

    @property
    def share(self) -> Tensor:
        """Share of flat values of each unit, (U,) float64; NaN for a unit that had a NaN."""
        return _known(self, (self.low + self.high) / self.values)

    @property
    def saturated(self) -> float:
        """Share of flat values over all units and rows."""
        return float(self.share.mean())

    @property
    def flat_units(self) -> Tensor:
        """Units that are flat on every row, on either side, (U,) bool: the all-white columns."""
        return self.low + self.high == self.values

    @property
    def flat_share(self) -> float:
        """Share of the units that are flat on every row, on either side."""
        return float(_known(self, self.flat_units.double()).mean())

    @property
    def one_sided_units(self) -> Tensor:
        """Units that are flat on every row, and always on the same side, (U,) bool."""
        return (self.low == self.values) | (self.high == self.values)

    @property
    def inactive_share(self) -> float | None:
        """Share of units that the rule calls inactive: active on less than 1 % of the values."""
        if self.active is None:
            return None
        inactive = (self.active < RULE_UNIT * self.values).double()
        return float(_known(self, inactive).mean())


@dataclass(frozen=True)
class Saturation:
    """The activation layers of one network on some rows."""

    rows: int
    layers: tuple[LayerSaturation, ...]  # in network order

    @property
    def saturated(self) -> float:
        """Share of flat values over all layers, units and rows; NaN without activations."""
        counted = [(one.saturated, one.values * len(one.low)) for one in self.layers]
        total = sum(values for _, values in counted)
        return sum(share * values / total for share, values in counted) if total else float("nan")


def saturation_of(
    network: nn.Module,
    blocks: Sequence[Block],
    *,
    with_map: bool = False,
    again: Again | None = None,
) -> Saturation:
    """Count flat values; see `model.measures.flat.is_flat` for what is flat.

    The network is measured in the mode in which it is, and left as it is.

    Args:
        blocks: rows, each block passing at once; nothing is kept of a block but counts.
        with_map: also keep the map of units and rows, which holds a number for each of both.
        again: puts the generators back before the rows pass.
    """
    sites = activation_sites(network)
    counts: dict[str, list[_Counted]] = {site.name: [] for site in sites}

    def note(site: Site, x: Tensor, y: Tensor) -> None:
        counts[site.name].append(_count(site.module, x, y, with_map))

    with untouched(network, again) as begin, torch.no_grad(), watched(sites, note):
        for block in begin.each(blocks):
            network(block.inputs)
    return Saturation(count_rows(blocks), tuple(_layer(one, counts[one.name]) for one in sites))


def passes(asked: spec.Saturation, checked: Checked) -> int:
    """Row-passes of one probe: each row once, and the gradient of the first 256 of them.

    At the start and the end, where all rows are looked at, it is more.
    """
    rows = min(MOST_ROWS, checked.rows.train)
    return rows + 3 * min(SCREENED_ROWS, rows)


def probe(asked: spec.Saturation, setting: Setting) -> "SaturationProbe":
    """What is asked at every probed step."""
    loss = setting.checked.spec.loss
    assert loss is not None
    return SaturationProbe(loss.kind, setting.checked.steps)


@dataclass(frozen=True)
class SaturationProbe:
    """Shares of flat values, flat units and dead units, layer by layer.

    The loss change of a unit is the first-order one on the first 256 rows, for the 1 % move that
    changes most; a unit that no more than a few other rows need looks dead on them. At the
    start and the end of a run the map is kept, too: of 32 rows, and of every unit where the
    network is not very large.
    """

    loss: LossKind
    steps: int  # of the whole run

    def look(self, at: Moment) -> Reading:
        """Flat values on all rows, loss changes on the first 256."""
        first = leading(at.rows, SCREENED_ROWS)
        found = saturation_of(at.network, at.rows, again=at.again)
        changes = steepest_changes_of(at.network, first, self.loss, again=at.again)
        maps = self._maps(at, first) if at.step in (0, self.steps) else [None] * len(changes)
        both = [_Both(*one) for one in zip(found.layers, changes, strict=True)]
        points: dict[str, Callable[[_Both], float | None]] = {
            "saturated": lambda one: one.layer.saturated,
            "flat_units": lambda one: one.layer.flat_share,
            "dead_units": lambda one: one.change.dead_share if one.change.source else None,
            "inactive_units": lambda one: one.layer.inactive_share,
        }
        values = {"saturation.saturated": found.saturated}
        values |= layer_points("saturation", points, enumerate(both, 1))
        layers = [
            _json(n, one.layer, one.change, len(both)) | {"map": maps[n - 1]}
            for n, one in enumerate(both, 1)
        ]
        about = told_rows(at.rows) | {"screened_rows": count_rows(first), "dead_below": DEAD}
        return Reading(values, about | {"layers": layers})

    def _maps(self, at: Moment, blocks: Sequence[Block]) -> list[dict[str, Any] | None]:
        rows = leading(blocks, MAP_ROWS)
        found = saturation_of(at.network, rows, with_map=True, again=at.again)
        most = MAP_CELLS // (count_rows(rows) * len(found.layers))
        return [_map_json(one, max(1, most)) for one in found.layers]


@dataclass(frozen=True)
class _Both:
    """What was found of one layer."""

    layer: LayerSaturation
    change: LossChange


@dataclass(frozen=True)
class _Counted:
    """What one block adds to a layer."""

    values: int
    low: Tensor
    high: Tensor
    unknown: Tensor
    active: Tensor | None
    map: Tensor | None  # (n, U)


def _count(activation: nn.Module, x: Tensor, y: Tensor, with_map: bool) -> _Counted:
    flat, active = is_flat(activation, x, y), is_active(activation, x, y)
    high = _per_unit(flat & (x > 0))
    return _Counted(
        y.numel() // y.shape[1],
        _per_unit(flat) - high,
        high,
        _unknown(y),
        None if active is None else _per_unit(active),
        _by_row(flat) if with_map else None,
    )


def _unknown(y: Tensor) -> Tensor:
    # A sum with a NaN in it is NaN, and much cheaper than to look at each value.
    if bool(y.sum().isfinite()):
        return torch.zeros(y.shape[1], dtype=torch.int64)
    return _per_unit(y.isnan())


def _by_row(flat: Tensor) -> Tensor:
    """Share of each row's positions that are flat, (n, U) float32."""
    return flat.float().flatten(2).mean(2) if flat.dim() > 2 else flat.float()


def _per_unit(chosen: Tensor) -> Tensor:
    """(n, U) or (n, U, *) bool to counts, (U,) int64 on the CPU."""
    # Summed as int32, which torch does twice as fast as int64: a block has fewer values.
    axes = (0, *range(2, chosen.dim()))
    return chosen.view(torch.uint8).sum(axes, dtype=torch.int32).cpu().long()


def _layer(site: Site, counted: Sequence[_Counted]) -> LayerSaturation:
    active = [one.active for one in counted if one.active is not None]
    maps = [one.map for one in counted if one.map is not None]
    return LayerSaturation(
        site,
        sum(one.values for one in counted),
        torch.stack([one.low for one in counted]).sum(0),
        torch.stack([one.high for one in counted]).sum(0),
        torch.stack([one.unknown for one in counted]).sum(0),
        torch.stack(active).sum(0) if active else None,
        torch.cat(maps).t().cpu() if maps else None,
    )


def _known(one: LayerSaturation, shares: Tensor) -> Tensor:
    return shares.double().where(one.unknown == 0, torch.nan)


def _json(n: int, one: LayerSaturation, change: LossChange, layers: int) -> dict[str, Any]:
    has_source, known = change.source is not None, one.unknown == 0
    lists = (
        {"share": one.share, "loss_change": change.change} if has_source else {"share": one.share}
    )
    told = {
        "layer": n,
        "name": one.site.name,
        "activation": one.site.kind,
        "weights": change.source,
        "values": one.values,
        "saturated": number(one.saturated),
        "flat_units": _counted(one.flat_units, known),
        "one_sided_units": _counted(one.one_sided_units, known),
        "dead_units": _counted(change.dead, ~change.change.isnan()) if has_source else None,
        "rule": _rule_json(one.inactive_share),
    }
    return told | unit_lists(lists, layers, LISTED)


def _counted(units: Tensor, known: Tensor) -> int | None:
    """How many units are so; None where of one of them it cannot be said, as shares are NaN."""
    return int(units.sum()) if bool(known.all()) else None


def _rule_json(inactive: float | None) -> dict[str, Any] | None:
    if inactive is None:
        return None
    share = number(inactive)
    return {"inactive_share": share, "fires": None if share is None else inactive > RULE_LAYER}


def _map_json(one: LayerSaturation, most: int) -> dict[str, Any]:
    """Percent of each unit's positions that are flat, row by row: 0 or 100 without positions."""
    assert one.map is not None
    units = evenly(len(one.map), most)
    percent = (100 * one.map[units]).round().int()
    return {"units": units, "flat_percent": percent.tolist()}
