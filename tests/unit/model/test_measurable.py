"""What a measure may name of a run."""

import pytest

from model.errors import SpecRefused
from model.plan import Limits, check

UNLIMITED = Limits(10**15, 10**18)
BRANCH = [{"kind": "activation"}, {"kind": "linear", "out_features": 64}]
LAYERS = [
    {"kind": "residual", "layers": BRANCH},
    {"kind": "activation", "activation": "relu"},
    {"kind": "linear"},
]  # two activation layers, two with weights


@pytest.fixture
def checked(make_spec, make_facts):
    def make(*measures, network=LAYERS, norm="none", steps=100, outputs=3):
        asked = make_spec(network, norm=norm, budget={"steps": steps}, measures=list(measures))
        return check(asked, make_facts(outputs=outputs), UNLIMITED)

    return make


@pytest.mark.parametrize(
    "asked",
    [
        {"kind": "percentiles", "layers": [1, 2]},
        {"kind": "covariate_shift", "layers": [2]},
        {"kind": "relative_loss", "at": [1, 100]},
        {"kind": "moments", "every": 1_000_000},
    ],
    ids=str,
)
def test_what_exists_may_be_measured(checked, asked):
    assert checked(asked).spec.measures[0].kind == asked["kind"]


@pytest.mark.parametrize(
    ("asked", "path", "message"),
    [
        (
            {"kind": "percentiles", "layers": [1, 3]},
            "measures.1.layers.1",
            "there is no activation layer 3: the network has 2",
        ),
        (
            {"kind": "covariate_shift", "layers": [9]},
            "measures.1.layers.0",
            "there is no layer with weights 9: the network has 2",
        ),
        (
            {"kind": "relative_loss", "at": [1, 101]},
            "measures.1.at.1",
            "there is no mini-batch 101: the budget is 100 steps",
        ),
    ],
)
def test_what_does_not_exist_is_refused_by_its_path(checked, asked, path, message):
    with pytest.raises(SpecRefused, match=message) as refused:
        checked("moments", asked)
    assert refused.value.path == path


@pytest.mark.parametrize("kind", ["saturation", "histograms", "percentiles", "moments"])
def test_a_network_without_activations_has_none_to_look_at(checked, kind):
    with pytest.raises(SpecRefused, match="needs an activation layer; the network has none"):
        checked(kind, network=[{"kind": "linear"}])


@pytest.mark.parametrize("kind", ["input_shift", "covariate_shift"])
def test_a_network_without_weights_has_no_layer_that_shifts(checked, kind):
    network = [{"kind": "norm"}, {"kind": "activation"}]
    message = "needs a linear layer or a convolution; the network has none"
    with pytest.raises(SpecRefused, match=f"{kind} {message}") as refused:
        checked("moments", kind, network=network, norm="batch", outputs=64)
    assert refused.value.path == "measures.1"


def test_more_probes_than_records_should_hold_are_refused(checked):
    assert checked({"kind": "moments", "every": 1}, steps=10_000)
    with pytest.raises(SpecRefused, match="10001 times in 10001 steps; at most 10000") as refused:
        checked({"kind": "moments", "every": 1}, steps=10_001)
    assert refused.value.path == "measures.0.every"


def test_measures_are_part_of_the_memory_and_nothing_else_is(checked):
    plain, measured = checked().memory, checked("moments").memory
    assert plain.measures == 0
    assert measured.measures > 8 * plain.gradients
    assert measured.total - measured.measures == plain.total
