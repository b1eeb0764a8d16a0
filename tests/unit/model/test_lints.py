import json

import pytest

from model.lints import findings
from model.plan import plan


@pytest.fixture
def found(make_spec, make_facts):
    """Reasons with their layers, for a spec on rows of a shape."""

    def run(network=None, input_shape=(64,), steps=10_000, **fields):
        spec = make_spec(network, **fields)
        return findings(spec, plan(spec, make_facts(input_shape)), steps)

    return run


def named(found):
    return [(finding.reason, finding.severity, finding.layer) for finding in found]


UNBIASED = {"kind": "mlp", "hidden": [10, 10], "bias": False}


def test_a_sound_spec_has_no_finding(found):
    assert found(UNBIASED, norm="batch", batch_size=16) == ()


def test_a_network_without_norm_has_no_finding(found):
    assert found(batch_size=2) == ()


@pytest.mark.parametrize(
    ("momentum", "is_suspect"),
    [(0.0, True), (0.99, True), (0.51, True), (0.5, False), (0.001, False), (None, False)],
)
def test_a_momentum_of_the_other_sense_is_suspect(found, momentum, is_suspect):
    [*suspect] = found(UNBIASED, norm={"kind": "batch", "momentum": momentum})

    assert named(suspect) == [("BN_MOMENTUM_SUSPECT", "warning", None)] * is_suspect


def test_a_budget_that_ends_before_the_statistics_have_learned_is_a_warning(found):
    slow = {"kind": "batch", "momentum": 0.001}

    assert found(UNBIASED, norm=slow, steps=2995) == ()
    [lag] = found(UNBIASED, norm=slow, steps=2994)
    assert named([lag]) == [("BN_STATS_LAG", "warning", None)]
    assert lag.evidence["trustworthy_step"] == 2995
    assert lag.evidence["share_of_initial"] == pytest.approx(0.999**2994)
    assert "2,995" in lag.remedy


def test_a_cumulative_average_never_lags(found):
    assert found(UNBIASED, norm={"kind": "batch", "momentum": None}, steps=1) == ()


def test_a_momentum_too_small_to_ever_move_is_said_to_lag_for_ever(found):
    [lag] = found(UNBIASED, norm={"kind": "batch", "momentum": 1e-300}, steps=10**9)

    assert lag.evidence["trustworthy_step"] is None
    assert "never" in lag.remedy


def test_few_values_per_channel_are_a_warning_for_each_norm(found):
    small = found(UNBIASED, norm="batch", batch_size=7)

    assert named(small) == [("BN_SMALL_BATCH", "warning", "1"), ("BN_SMALL_BATCH", "warning", "4")]
    assert small[0].evidence == {"batch_size": 7, "values_per_channel": 7, "at_least": 8}


def test_the_rows_of_a_group_count_where_a_batch_is_cut(found):
    def small(size, batch_size):
        norm = {"kind": "ghost_batch", "group_size": size}
        return found(UNBIASED, norm=norm, batch_size=batch_size)

    assert small(8, 64) == ()
    [first, _] = small(7, 64)
    assert (first.reason, first.evidence["values_per_channel"]) == ("BN_SMALL_BATCH", 7)
    [first, _] = small(64, 6)
    assert first.evidence["values_per_channel"] == 6


@pytest.mark.parametrize(("groups", "first"), [(1, 299), (4, 75), (8, 38)])
def test_a_batch_of_many_groups_teaches_the_statistics_sooner(found, groups, first):
    """Every group takes a share of .01: .99^(groups x steps) is at most .05."""
    norm = {"kind": "ghost_batch", "group_size": 64 // groups, "momentum": 0.01}

    assert found(UNBIASED, norm=norm, batch_size=64, steps=first) == ()
    [lag] = found(UNBIASED, norm=norm, batch_size=64, steps=first - 1)
    assert lag.evidence["trustworthy_step"] == first
    assert lag.evidence["share_of_initial"] == pytest.approx(0.99 ** (groups * (first - 1)))
    assert lag.evidence["momentum"] == 0.01


def test_renorm_that_ends_in_its_warm_up_is_a_warning(found):
    norm = {"kind": "batch_renorm", "warmup_batches": 100}

    assert found(UNBIASED, norm=norm, steps=101) == ()
    [warmup] = found(UNBIASED, norm=norm, steps=100)
    assert named([warmup]) == [("BN_RENORM_WARMUP", "warning", None)]
    assert warmup.evidence == {"steps": 100, "warmup_batches": 100}


@pytest.mark.parametrize("kind", ["noisy_batch", "ghost_batch", "batch_renorm"])
def test_every_batch_norm_is_told_of_its_biases_and_its_momentum(found, kind):
    network = {"kind": "mlp", "hidden": [10]}

    reasons = {one.reason for one in found(network, norm={"kind": kind, "momentum": 0.99})}

    assert reasons == {"BN_BIAS_REDUNDANT", "BN_MOMENTUM_SUSPECT"}


def test_a_bias_before_an_lp_norm_is_not_redundant(found):
    assert found({"kind": "mlp", "hidden": [10]}, norm="lp") == ()


def test_an_lp_norm_that_lags_is_not_told_to_recalibrate(found):
    [lag] = found(UNBIASED, norm={"kind": "lp", "momentum": 0.001}, steps=100)

    assert named([lag]) == [("BN_STATS_LAG", "warning", None)]
    assert "recalibrate" not in lag.remedy


def test_positions_count_as_values(found):
    layers = [
        {"kind": "conv2d", "out_channels": 2, "bias": False},
        {"kind": "norm"},
        {"kind": "flatten"},
        {"kind": "linear"},
    ]

    assert found(layers, (1, 4, 4), norm="batch", batch_size=2) == ()
    assert len(found(layers, (1, 3, 3), norm="batch", batch_size=2)) == 1


def test_a_bias_before_a_norm_is_a_note(found):
    notes = found({"kind": "mlp", "hidden": [10]}, norm="batch")

    assert named(notes) == [("BN_BIAS_REDUNDANT", "note", "0")]
    assert notes[0].evidence == {"parameters": 10, "norm": "1"}


def test_a_bias_with_an_activation_between_is_not_redundant(found):
    norm = {"kind": "batch", "placement": "after_activation"}

    assert found({"kind": "mlp", "hidden": [10]}, norm=norm) == ()


def test_biases_inside_a_branch_are_found(found):
    branch = [{"kind": "linear", "out_features": 64}, {"kind": "norm"}]
    layers = [{"kind": "residual", "layers": branch}, {"kind": "linear"}]

    assert named(found(layers, norm="batch")) == [("BN_BIAS_REDUNDANT", "note", "0.branch.0")]


def test_biases_along_another_axis_than_the_channels_are_not_redundant(found):
    layers = [
        {"kind": "linear", "out_features": 6},
        {"kind": "norm"},
        {"kind": "flatten"},
        {"kind": "linear"},
    ]

    assert found(layers, (3, 5), norm="batch") == ()


@pytest.mark.parametrize("norm", ["layer", "group", "noise"])
def test_norms_that_do_not_look_at_the_batch_are_not_lectured(found, norm):
    assert found({"kind": "mlp", "hidden": [10]}, norm=norm, batch_size=1) == ()


def test_a_norm_that_stands_nowhere_is_a_note(found):
    notes = found([{"kind": "linear"}], norm="batch")

    assert named(notes) == [("NORM_NOT_PLACED", "note", None)]


def test_findings_are_json(found):
    for finding in found(norm={"kind": "batch", "momentum": 0.9}, batch_size=4, steps=1):
        assert json.loads(json.dumps(finding.to_json())) == finding.to_json()
