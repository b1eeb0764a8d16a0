"""Records as the API shows them."""

from api import resources
from core.metrics import Series


def test_times_are_rfc_3339_in_utc() -> None:
    assert resources.time(0) == "1970-01-01T00:00:00.000Z"
    assert resources.time(1_795_371_413.5636) == "2026-11-22T18:16:53.563Z"


def test_a_series_names_what_is_not_finite_only_where_there_is_such() -> None:
    whole = resources.series(Series([1], [0.5], [None], sampled=False, of=1))
    broken = resources.series(Series([1, 2], [0.5, None], [None, "nan"], sampled=False, of=2))
    assert whole.not_finite is None
    assert broken.not_finite == [None, "nan"]
