import pytest

from model.measures.probe import Reading
from model.measures.schedule import Scheduled
from model.training.observer import NEVER


class State:
    def look(self, at):
        return Reading({}, {})


class Step:
    def compare(self, before, after):
        return Reading({}, {})


PLANS = [
    Scheduled("a", probe, steps, every=every)
    for probe in (State(), Step())
    for steps in (1, 2, 20, 21)
    for every in (1, 3, 7, 20, 50)
] + [Scheduled("a", State(), 20, at=frozenset(at)) for at in ({0}, {19}, {3, 4, 11})]


def _told(one):
    """Without an address, which would differ between two processes of one test run."""
    when = one.every or sorted(one.at)
    return f"{type(one.probe).__name__}-{one.steps}-{when}"


@pytest.mark.parametrize("one", PLANS, ids=_told)
def test_the_next_step_is_the_first_at_which_something_is_due(one):
    stops = {step for step in range(one.steps) if one.is_due(step)}
    if one.every is not None:
        stops.add(one.steps - 1)  # what is due after the last step is asked for at that step
    for step in range(one.steps + 1):
        assert one.next(step) == min((s for s in stops if s >= step), default=NEVER)


@pytest.mark.parametrize("probe", [State(), Step()])
def test_either_a_period_or_steps(probe):
    for wrong in ({}, {"every": 3, "at": frozenset({1})}):
        with pytest.raises(ValueError, match="either a period or steps"):
            Scheduled("a", probe, 20, **wrong)
