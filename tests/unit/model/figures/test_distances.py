from itertools import pairwise
from math import inf, isnan, nan

import pytest

from model.figures.distances import Band, evenly, layer_distances, limits


def distance(*quartiles: float | None) -> dict[str, float | None]:
    return dict(zip(("p25", "median", "p75"), quartiles, strict=True))


def layer(name: str, running: object, batch: object = None, channels: int = 4) -> dict[str, object]:
    return {
        "layer": name,
        "channels": channels,
        "running_distance": running,
        "batch_distance": batch,
    }


def test_bands_have_the_numbers_of_the_history() -> None:
    first = {"mean_sd": distance(1, 2, 3), "log_variance": distance(-1, 0, 1)}
    second = {"mean_sd": distance(4, 5, 6), "log_variance": distance(-2, -1, 0.5)}
    points = [
        {"layers": [layer("1", first, second), layer("4", second, first, 7)]},
        {"layers": [layer("1", second, first), layer("4", first, second, 7)]},
    ]

    [one, other] = layer_distances(points)

    assert [(one.layer, one.channels), (other.layer, other.channels)] == [("1", 4), ("4", 7)]
    assert one.bands == {
        ("running", "mean_sd"): Band((1, 4), (2, 5), (3, 6)),
        ("running", "log_variance"): Band((-1, -2), (0, -1), (1, 0.5)),
        ("batch", "mean_sd"): Band((4, 1), (5, 2), (6, 3)),
        ("batch", "log_variance"): Band((-2, -1), (-1, 0), (0.5, 1)),
    }
    assert other.bands["running", "mean_sd"] == one.bands["batch", "mean_sd"]
    assert not one.has_gaps


@pytest.mark.parametrize(
    "missing",
    [
        None,
        {"mean_sd": None, "log_variance": None},
        {"mean_sd": distance(None, None, None), "log_variance": None},
        {"mean_sd": distance(nan, inf, -inf), "log_variance": None},
        {"mean_sd": distance(1e100, -1e200, None), "log_variance": None},
    ],
    ids=str,
)
def test_what_is_no_number_is_a_gap(missing: object) -> None:
    known = {"mean_sd": distance(1, 2, 3), "log_variance": distance(1, 2, 3)}

    [one] = layer_distances([{"layers": [layer("1", each)]} for each in (known, missing, known)])

    band = one.bands["running", "mean_sd"]
    assert band.gaps == (False, True, False)
    assert all(isnan(of[1]) for of in (band.p25, band.median, band.p75))
    assert band.values == (1, 1, 2, 2, 3, 3)
    assert one.has_gaps


def test_a_layer_that_a_checkpoint_does_not_have_is_a_gap_there() -> None:
    known = {"mean_sd": distance(1, 2, 3), "log_variance": distance(1, 2, 3)}

    one, other = layer_distances(
        [{"layers": [layer("1", known)]}, {"layers": [layer("1", known), layer("4", known)]}]
    )

    assert one.bands["running", "mean_sd"].gaps == (False, False)
    assert (other.layer, other.bands["running", "mean_sd"].gaps) == ("4", (True, False))


@pytest.mark.parametrize(
    ("medians", "alone"),
    [
        ((1,), (True,)),
        ((nan,), (False,)),
        ((1, 2), (False, False)),
        ((1, nan, 2, 3, nan, 4, nan), (True, False, False, False, False, True, False)),
    ],
)
def test_a_checkpoint_between_gaps_stands_alone(
    medians: tuple[float, ...], alone: tuple[bool, ...]
) -> None:
    assert Band(medians, medians, medians).alone == alone


def test_one_missing_quartile_is_a_gap() -> None:
    assert Band((1, 1), (2, 2), (3, nan)).gaps == (False, True)


def test_an_axis_shows_every_number_and_what_it_must() -> None:
    low, high = limits([Band((0.5,), (2,), (nan,)), Band((-1,), (0,), (9,))], (0, 0.1))

    assert (low, high) == pytest.approx((-1 - 0.6, 9 + 0.6))
    assert limits([], (0, 0.1)) == pytest.approx((-0.006, 0.106))


@pytest.mark.parametrize(("count", "most"), [(0, 12), (12, 12), (13, 12), (53, 12), (2000, 2)])
def test_layers_are_chosen_evenly_with_the_first_and_the_last(count: int, most: int) -> None:
    chosen = evenly(list(range(count)), most)

    assert len(chosen) == min(count, most)
    assert len(set(chosen)) == len(chosen)
    assert chosen[:1] + chosen[-1:] == list(range(count))[:1] + list(range(count))[-1:]
    steps = {after - before for before, after in pairwise(chosen)}
    assert not steps or max(steps) - min(steps) <= 1
