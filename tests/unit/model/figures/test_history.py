"""The figure of a history, read back from its SVG."""

import random
from collections.abc import Mapping
from copy import deepcopy
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from model.figures.history import TITLE, history_svg

SVG = "{http://www.w3.org/2000/svg}"
RUN = "run_01a2056275857529846e53deba5d0fd7"
KINDS = [
    (source, measure) for source in ("running", "batch") for measure in ("mean_sd", "log_variance")
]


def quartiles(generator: random.Random, low: float) -> dict[str, float]:
    values = sorted(generator.uniform(low, 3) for _ in range(3))
    return dict(zip(("p25", "median", "p75"), values, strict=True))


def history(layers: int = 2, points: int = 5, run: str | None = RUN) -> dict[str, Any]:
    generator = random.Random(0)
    told = [
        {
            "checkpoint": f"ckpt_{place}",
            "step": 45 * place**2,
            "rows": 1437,
            "train_eval_gap": None,
            "layers": [
                {
                    "layer": f"{3 * number + 1}",
                    "channels": 100,
                    "share_of_initial": None,
                    **{
                        f"{source}_distance": {
                            "mean_sd": quartiles(generator, 0),
                            "log_variance": quartiles(generator, -2),
                        }
                        for source in ("running", "batch")
                    },
                }
                for number in range(layers)
            ],
        }
        for place in range(1, points + 1)
    ]
    return {"object": "statistics_history", "run": run, "points": told, "of": len(told)}


def drawn(told: Mapping[str, Any]) -> ElementTree.Element:
    return ElementTree.fromstring(history_svg(told))


def texts(root: ElementTree.Element) -> list[str]:
    return [text.text or "" for text in root.iter(f"{SVG}text")]


def group(root: ElementTree.Element, name: str) -> ElementTree.Element:
    [found] = [one for one in root.iter(f"{SVG}g") if one.get("id") == name]
    return found


def marks(root: ElementTree.Element, name: str) -> np.ndarray:
    """Where a line's marks are, (n, 2)."""
    uses = group(root, name).iter(f"{SVG}use")
    return np.array([[float(use.get(axis) or "nan") for axis in "xy"] for use in uses])


def outline(root: ElementTree.Element, name: str) -> np.ndarray:
    """The corners of a band, (n, 2)."""
    [path] = group(root, name).iter(f"{SVG}path")
    numbers = [word for word in (path.get("d") or "").split() if word not in "MLz"]
    # A collection's paths are placed by a `use`, whose y is the height of the file.
    [use] = group(root, name).iter(f"{SVG}use")
    place = [float(use.get(axis) or "nan") for axis in "xy"]
    return np.array(numbers, float).reshape(-1, 2) + place


def values(told: Mapping[str, Any], layer: int, source: str, measure: str, key: str) -> list[float]:
    return [point["layers"][layer][f"{source}_distance"][measure][key] for point in told["points"]]


def test_lines_and_bands_have_the_numbers_of_the_history_on_one_scale() -> None:
    told = history(layers=3)
    root = drawn(told)
    steps = [point["step"] for point in told["points"]]
    slopes: dict[str, list[float]] = {"mean_sd": [], "log_variance": []}
    for row in range(3):
        for source, measure in KINDS:
            at = marks(root, f"{source}-{measure}-{row}")
            medians = values(told, row, source, measure, "median")
            rise, base = np.polyfit(medians, at[:, 1], 1)
            np.testing.assert_allclose(rise * np.array(medians) + base, at[:, 1], atol=1e-3)
            across, start = np.polyfit(steps, at[:, 0], 1)
            np.testing.assert_allclose(across * np.array(steps) + start, at[:, 0], atol=1e-3)
            ends = [values(told, row, source, measure, key) for key in ("p25", "p75")]
            corners = outline(root, f"{source}-{measure}-{row}-band")
            for x, low, high in zip(steps, *ends, strict=True):
                ys = corners[np.isclose(corners[:, 0], across * x + start, atol=1e-3), 1]
                for end in (low, high):
                    assert np.abs(ys - (rise * end + base)).min() < 1e-3
            slopes[measure].append(rise)
    for measure in slopes:  # up is more, and as much in every row
        assert max(slopes[measure]) < 0
        np.testing.assert_allclose(slopes[measure], slopes[measure][0], rtol=1e-4)


def test_a_figure_says_what_is_compared_of_which_run_and_layers() -> None:
    told = texts(drawn(history()))

    assert TITLE in told
    assert f"{RUN} · 5 checkpoints · population: 1,437 training rows" in told
    assert {"layer 1, 100 channels", "layer 4, 100 channels"} <= set(told)
    assert told.count("optimizer step") == 2
    assert {"running statistics", "one training batch"} <= set(told)
    assert "no number" not in told


def test_equal_histories_give_equal_bytes() -> None:
    assert history_svg(history()) == history_svg(deepcopy(history()))
    assert history_svg(history()) != history_svg(history(points=4))


def test_a_history_is_not_changed() -> None:
    told = history()
    history_svg(told)
    assert told == history()


def test_one_checkpoint_is_drawn_as_points_beside_each_other() -> None:
    root = drawn(history(layers=1, points=1))

    ours, batch = (marks(root, f"{source}-mean_sd-0") for source in ("running", "batch"))
    assert (len(ours), len(batch)) == (1, 1)
    assert batch[0, 0] - ours[0, 0] == pytest.approx(10)
    assert "45" in texts(root)


def test_of_many_layers_twelve_are_shown_and_said_to_be_some() -> None:
    told = texts(drawn(history(layers=23)))

    shown = [text for text in told if text.startswith("layer ")]
    assert (len(shown), shown[0], shown[-1]) == (
        12,
        "layer 1, 100 channels",
        "layer 67, 100 channels",
    )
    assert "Shown, evenly chosen: 12 of 23 layers" in told


def test_checkpoints_that_were_left_out_are_told() -> None:
    told = texts(drawn(history() | {"of": 2000}))

    assert "Shown, evenly chosen: 5 of 2,000 checkpoints" in told


def test_what_was_trained_elsewhere_has_no_run() -> None:
    told = texts(drawn(history(points=1, run=None)))

    assert "trained elsewhere · 1 checkpoint · population: 1,437 training rows" in told


def test_names_are_escaped_and_no_formulas() -> None:
    told = history(layers=1)
    for point in told["points"]:
        point["layers"][0]["layer"] = '<b>&"$\\frac{1$\x00漢'

    root = drawn(told | {"run": "]]><script>" + 50 * "x"})

    assert 'layer <b>&"$\\frac{1$\ufffd\ufffd, 100 channels' in texts(root)
    assert f"…{'x' * 39} · 5 checkpoints · population: 1,437 training rows" in texts(root)
    assert not [one for one in root.iter() if "script" in str(one.tag)]


def test_a_missing_number_is_a_gap_that_is_marked() -> None:
    told = history(layers=1)
    told["points"][2]["layers"][0]["running_distance"]["mean_sd"]["median"] = None

    root = drawn(told)

    assert "no number" in texts(root)
    assert len(marks(root, "running-mean_sd-0")) == 4
    assert len(marks(root, "running-log_variance-0")) == 5
    path = group(root, "running-mean_sd-0").find(f"{SVG}path")
    assert path is not None
    assert (path.get("d") or "").count("M") == 2


def emptied(told: dict[str, Any], path: tuple[str, ...], missing: Any) -> dict[str, Any]:
    """The history with one field of every layer at every point put to `missing`."""
    for point in told["points"]:
        for layer in point["layers"]:
            inner = layer
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]] = missing
    return told


@pytest.mark.parametrize("points", [1, 2, 60])
@pytest.mark.parametrize(
    ("path", "missing"),
    [
        ("running_distance", None),
        ("batch_distance", None),
        ("running_distance.mean_sd", None),
        ("batch_distance.log_variance", None),
        ("running_distance.mean_sd.median", None),
        ("running_distance.log_variance.p25", float("-inf")),
        ("running_distance.mean_sd.p75", 1e99),
        ("batch_distance.log_variance.p25", -1e99),
        ("batch_distance.mean_sd.p75", 1e300),
    ],
)
def test_whatever_is_missing_or_huge_the_rest_is_drawn(
    points: int, path: str, missing: float | None
) -> None:
    told = emptied(history(layers=1, points=points), tuple(path.split(".")), missing)

    assert "layer 1, 100 channels" in texts(drawn(told))


def test_without_any_number_panels_say_so() -> None:
    told = history(points=3)
    for source in ("running", "batch"):
        told = emptied(told, (f"{source}_distance",), None)

    assert {"no number", "layer 4, 100 channels"} <= set(texts(drawn(told)))


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (history(points=0), "Nothing to draw: there is no checkpoint yet."),
        (history(layers=0), "Nothing to draw: no layer keeps running statistics."),
    ],
    ids=["no checkpoint", "no norm"],
)
def test_where_nothing_can_be_drawn_the_figure_says_why(told: dict[str, Any], why: str) -> None:
    assert why in texts(drawn(told))
