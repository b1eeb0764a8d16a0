"""Takes the measures of a run while it trains: the observer of its loop.

Every probe looks at copies, with the global generators put back afterwards. Nothing is carried
from one step to the next, so a resumed run reads what an undisturbed one reads, bit by bit.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch

from model.errors import DeviationZero
from model.measures.catalogue import CATALOGUE, probe_of
from model.measures.periods import with_periods
from model.measures.probe import Block, Moment, Reading, Setting, StateProbe, StepProbe
from model.measures.readings import measured, unreadable
from model.measures.rows import rows_of
from model.measures.schedule import Scheduled
from model.measures.shadow import generators_kept, moment, shadow
from model.plan import Checked
from model.spec import Measure, RelativeLoss
from model.training.arrays import Arrays
from model.training.losses import loss_function
from model.training.observer import NEVER, Measured, Place

Moved = Callable[[], None]


def engine_of(
    checked: Checked, arrays: Arrays, device: torch.device, moved: Moved = lambda: None
) -> "Engine | None":
    """What takes the measures that a spec asks for; None where it asks for none.

    Args:
        moved: called at every pass of a probe, which may take long: its process is alive.
    """
    if not checked.spec.measures:
        return None
    return Engine(scheduled(checked), checked, arrays, device, moved)


def scheduled(checked: Checked) -> tuple[Scheduled, ...]:
    """The measures of a run with their probes, periods filled in."""
    assert checked.spec.loss is not None
    setting = Setting(checked, loss_function(checked.spec.loss.kind))
    return tuple(_scheduled(asked, setting) for asked in with_periods(checked).spec.measures)


def _scheduled(asked: Measure, setting: Setting) -> Scheduled:
    kind, probe, steps = asked.kind, probe_of(asked, setting), setting.checked.steps
    all_rows = CATALOGUE[kind].all_rows
    if isinstance(asked, RelativeLoss):
        at = frozenset(one - 1 for one in asked.at)
        return Scheduled(kind, probe, steps, at=at, all_rows=all_rows)
    return Scheduled(kind, probe, steps, every=asked.every, all_rows=all_rows)


class Engine:
    """An observer that takes measures.

    Args:
        measures: each with its probe and its steps.
        checked: of the run.
        arrays: its rows.
        device: where it trains.
        moved: as in `engine_of`.
    """

    def __init__(
        self,
        measures: Sequence[Scheduled],
        checked: Checked,
        arrays: Arrays,
        device: torch.device,
        moved: Moved = lambda: None,
    ) -> None:
        assert checked.spec.loss is not None
        self._measures, self._device, self._moved = measures, device, moved
        self._loss = loss_function(checked.spec.loss.kind)
        self._steps = checked.steps
        self._rows = rows_of(checked, arrays.train)
        self._before: Moment | None = None  # from just before a step to just after it

    def due(self, step: int) -> int:
        """See `Observer`."""
        steps = (one.next(step) for one in self._measures)
        return min((one for one in steps if one != NEVER), default=NEVER)

    def before(self, place: Place) -> tuple[Measured, ...]:
        """Look at the network as it stands, and keep a copy of it where its step is compared."""
        due = [one for one in self._measures if one.is_due(place.step)]
        if not due:
            return ()  # this is the last step, and what is wanted is the network after it
        with generators_kept(self._device):
            here = self._moment(place)
            found = self._looks(due, here, place)
        self._before = here if any(isinstance(one.probe, StepProbe) for one in due) else None
        return found

    def after(self, place: Place) -> tuple[Measured, ...]:
        """Compare the network before and after its step, and look at it after the last."""
        before, self._before = self._before, None
        ending = [one for one in self._measures if one.is_due(self._steps)]
        is_end = place.step == self._steps and bool(ending)
        if before is None and not is_end:
            return ()
        with generators_kept(self._device):
            here = self._moment(place)
            compared = () if before is None else self._compares(before, here, place)
            return compared + (self._looks(ending, here, place) if is_end else ())

    def _moment(self, place: Place) -> Moment:
        batch = Block(place.inputs, place.targets)
        copied = moment(place.network, place.step, batch, self._rows.fixed, place.lr)
        moved = self._moved  # held by a function, which is not copied where the network is
        copied.network.register_forward_pre_hook(lambda *_: moved())
        return copied

    def _looks(self, due: Sequence[Scheduled], here: Moment, place: Place) -> tuple[Measured, ...]:
        looks = [(one, one.probe) for one in due if isinstance(one.probe, StateProbe)]
        # Gathered only where they are looked at: they may be most of the dataset.
        is_whole = here.step in (0, self._steps) and any(one.all_rows for one, _ in looks)
        whole = replace(here, rows=self._rows.all) if is_whole else here
        return tuple(
            self._read(one.kind, partial(probe.look, whole if one.all_rows else here), here, place)
            for one, probe in looks
        )

    def _compares(self, before: Moment, after: Moment, place: Place) -> tuple[Measured, ...]:
        return tuple(
            self._read(one.kind, partial(one.probe.compare, before, after), before, place)
            for one in self._measures
            if isinstance(one.probe, StepProbe) and one.is_due(before.step)
        )

    def _read(self, kind: str, take: Callable[[], Reading], at: Moment, place: Place) -> Measured:
        """What one probe reads. What it draws at random is the same in whatever company."""
        self._moved()
        at.again()
        try:
            return measured(kind, at.step, take())
        except DeviationZero as error:
            return measured(kind, at.step, unreadable(error))
        except Exception as error:
            if self._is_sound(place):
                raise
            return measured(kind, at.step, unreadable(error))

    def _is_sound(self, place: Place) -> bool:
        """Whether the batch's loss and gradient are finite: a probe has no excuse then."""
        fresh = shadow(place.network)
        with torch.enable_grad():
            loss = self._loss(fresh(place.inputs), place.targets)
            loss.backward()
        found = [loss, *fresh.parameters(), *(one.grad for one in fresh.parameters())]
        return all(bool(torch.isfinite(one).all()) for one in found if one is not None)
