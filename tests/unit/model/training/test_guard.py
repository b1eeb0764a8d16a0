"""Running statistics stay finite, and a run without an overflow is not touched by the guard."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from model import spec
from model.norms.batch import BatchNorm
from model.norms.batch_renorm import BatchRenorm
from model.norms.ghost_batch import GhostBatchNorm
from model.norms.lp import LpNorm
from model.norms.running import RunningNorm
from model.training.guard import Guard, Restored


def network(**convention: object) -> nn.Sequential:
    norm = spec.BatchNorm.model_validate({"kind": "batch", **convention})
    return nn.Sequential(BatchNorm(3, norm), nn.Tanh(), BatchNorm(3, norm))


def rows(seed: int) -> torch.Tensor:
    return torch.randn(8, 3, generator=torch.Generator().manual_seed(seed))


HUGE = torch.full((8, 3), 3.4e38) * torch.tensor([[1.0], [-1.0]] * 4)  # its spread overflows
CONVENTIONS = [{}, {"running": "deviation", "eps": 1e-5}, {"momentum": None}]


@pytest.mark.parametrize("convention", CONVENTIONS, ids=str)
def test_a_batch_that_overflows_is_taken_back_out_of_every_layer(convention: dict) -> None:
    guarded, clean = network(**convention), network(**convention)
    guard = Guard(guarded)
    for step, batch in enumerate([rows(0), HUGE, rows(1)], 1):
        guarded(batch)
        guard.check(step)
    for batch in (rows(0), rows(1)):
        clean(batch)
    assert guard.restored() == (Restored(2, ("0",)),)
    assert guard.restored() == ()
    for name, value in clean.state_dict().items():
        assert torch.equal(guarded.state_dict()[name], value), name


def test_the_first_batch_of_all_may_overflow() -> None:
    guarded = network()
    before = copy.deepcopy(guarded.state_dict())
    guard = Guard(guarded)
    guarded(HUGE)
    guard.check(1)
    for name, value in before.items():
        assert torch.equal(guarded.state_dict()[name], value), name


def test_without_an_overflow_every_bit_is_as_without_a_guard() -> None:
    guarded, free = network(), network()
    guard = Guard(guarded)
    for step in range(1, 20):
        guarded(rows(step))
        free(rows(step))
        guard.check(step)
    assert guard.restored() == ()
    for name, value in free.state_dict().items():
        assert torch.equal(guarded.state_dict()[name], value), name


def test_values_whose_sum_alone_overflows_are_kept() -> None:
    guarded = network()
    guard = Guard(guarded)
    with torch.no_grad():
        guarded[0].running_var.fill_(3e38)
    guard.check(1)
    assert guard.restored() == ()
    assert guarded[0].running_var.tolist() == [pytest.approx(3e38)] * 3


def test_loaded_values_are_the_last_finite_ones_once_kept() -> None:
    guarded = network()
    guard = Guard(guarded)
    loaded = network()
    loaded(rows(7))
    guarded.load_state_dict(loaded.state_dict())
    guard.keep()
    guarded(HUGE)
    guard.check(2)
    for name, value in loaded.state_dict().items():
        assert torch.equal(guarded.state_dict()[name], value), name


@pytest.mark.parametrize("convention", CONVENTIONS, ids=str)
def test_the_way_without_waiting_does_the_same(convention: dict) -> None:
    waiting, straight = network(**convention), network(**convention)
    guards = Guard(waiting), Guard(straight)
    guards[1].check = guards[1]._look_without_waiting  # what a device that is not the CPU gets
    for step, batch in enumerate([rows(0), HUGE, rows(1), HUGE], 1):
        for trained, guard in zip((waiting, straight), guards, strict=True):
            trained(batch)
            guard.check(step)
    assert guards[0].restored() == guards[1].restored()
    for name, value in waiting.state_dict().items():
        assert torch.equal(straight.state_dict()[name], value), name


KINDS: dict[str, Callable[[], RunningNorm]] = {
    "l1": lambda: LpNorm(3, spec.LpNorm(kind="lp")),
    "l2": lambda: LpNorm(3, spec.LpNorm(kind="lp", p=2)),
    "ghost": lambda: GhostBatchNorm(3, spec.GhostBatchNorm(kind="ghost_batch", group_size=3)),
    "ghost cumulative": lambda: GhostBatchNorm(
        3, spec.GhostBatchNorm(kind="ghost_batch", group_size=3, momentum=None)
    ),
    "renorm": lambda: BatchRenorm(3, spec.BatchRenorm(kind="batch_renorm", warmup_batches=1)),
}


@pytest.mark.parametrize("layer", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("waits", [True, False])
def test_every_kind_forgets_a_batch_that_overflows_as_often_as_it_counted_it(
    layer: Callable[[], RunningNorm], waits: bool
) -> None:
    guarded, clean = (nn.Sequential(layer(), nn.Tanh(), layer()) for _ in range(2))
    guard = Guard(guarded)
    if not waits:
        guard.check = guard._look_without_waiting
    for step, batch in enumerate([rows(0), HUGE, rows(1)[:5], HUGE, rows(2)], 1):
        guarded(batch)
        guard.check(step)
    for batch in (rows(0), rows(1)[:5], rows(2)):
        clean(batch)
    assert [one.step for one in guard.restored()] == [2, 4]
    for name, value in clean.state_dict().items():
        assert torch.equal(guarded.state_dict()[name], value), name


def test_a_network_without_running_statistics_has_nothing_to_guard() -> None:
    guard = Guard(nn.Sequential(nn.Linear(3, 3)))
    guard.check(1)
    assert guard.restored() == ()
