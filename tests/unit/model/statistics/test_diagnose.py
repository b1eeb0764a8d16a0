"""Each reason is yielded by its planted fault, and by nothing else; sound checkpoints have none."""

import json

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from model.checkpoint import About, load, write
from model.data.builtin import build as build_dataset
from model.errors import CheckpointRefused, ChecksumMismatch, StatisticsChanged, StatisticsMissing
from model.plan import Limits, check
from model.spec import RunSpec
from model.statistics.diagnose import ERRORS, GATES, WARNINGS, diagnose, errors, refusal
from model.statistics.doubts import distances
from model.statistics.evidence import Evidence
from model.statistics.fingerprint import fingerprint
from model.statistics.layers import layer_fingerprint, norm_states
from model.statistics.population import Statistics, precise
from model.training.arrays import prepare
from model.training.loop import Training

CPU = torch.device("cpu")
DATA = {name: build_dataset(name) for name in ("digits", "spirals")}
STEPS = 40


def train(dataset="digits", **fields):
    """A really trained network in eval mode, with its run and rows."""
    body = {"dataset": dataset, "network": {"kind": "mlp", "hidden": [12, 8]}, "norm": "batch"}
    body |= {"budget": {"steps": STEPS}, "evaluate_every": {"steps": 1000}} | fields
    data = DATA[dataset]
    checked = check(RunSpec.model_validate(body), data.facts, Limits(10**12, 10**15))
    arrays = prepare(data, checked.spec, CPU)
    training = Training(checked, arrays, CPU)
    end = list(training.run())[-1]
    assert end.ended == "completed"
    return training.network.eval(), checked, arrays


@pytest.fixture(scope="module")
def run():
    return train()


@pytest.fixture
def network(run):
    """The trained network; whatever a test does to it is undone."""
    trained, *_ = run
    before = {name: one.clone() for name, one in trained.state_dict().items()}
    buffers = {module: dict(module._buffers) for module in trained.modules()}
    yield trained
    for module, held in buffers.items():
        module._buffers.update(held)
    trained.load_state_dict(before)


@pytest.fixture
def known(network):
    """All evidence that a run has of its own checkpoint."""
    return Evidence(fingerprint=fingerprint(network.state_dict()), batches=STEPS)


def named(found):
    return [(one.reason, one.severity, one.layer) for one in found]


def test_a_sound_checkpoint_has_no_finding_at_any_gate(network, known):
    assert [diagnose(network, known, gate) for gate in GATES] == [(), (), ()]


def test_without_evidence_tensors_alone_are_judged(network):
    assert diagnose(network) == ()


def test_a_layer_without_running_statistics(network):
    network[4].running_mean = None
    network[4].running_var = None
    network[4].num_batches_tracked = None

    for gate in GATES:
        [found] = diagnose(network, gate=gate)
        assert named([found]) == [("BN_NO_RUNNING_STATS", "error", "4")]
        assert "POST /v1/checkpoints" in found.remedy


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("name", ["running_mean", "running_var"])
def test_a_statistic_that_is_not_finite(network, name, value):
    network[1].state_dict()[name][3] = value

    for gate in GATES:
        [found] = diagnose(network, gate=gate)
        assert named([found]) == [("BN_STATS_NONFINITE", "error", "1")]
        assert found.evidence == {"tensor": name, "channels": [3], "count": 1, "of": 12}
        assert "/recalibrate" in found.remedy


@pytest.mark.parametrize("running", ["variance", "deviation"])
def test_a_spread_below_0(running):
    network, *_ = train(norm={"kind": "batch", "running": running}, budget={"steps": 30})
    network[4].running_spread[5] = -0.25

    for gate in GATES:
        [found] = diagnose(network, Evidence(batches=30), gate)
        assert named([found]) == [("BN_VAR_NEGATIVE", "error", "4")]
        assert found.evidence["min"] == -0.25
        assert found.evidence["channels"] == [5]


@pytest.mark.parametrize("gate", ["save", "publish"])
def test_statistics_that_never_saw_a_batch(network, gate):
    network[4].num_batches_tracked.zero_()

    [found] = diagnose(network, Evidence(batches=STEPS), gate)

    assert named([found]) == [("BN_NEVER_UPDATED", "error", "4")]
    assert found.evidence == {"batches_tracked": 0, "expected": STEPS, "is_initial": False}


def test_a_counter_that_was_not_in_the_file_says_nothing(network):
    network[4].num_batches_tracked.zero_()

    assert diagnose(network, Evidence(batches=STEPS, unknown_age={"4"})) == ()


@pytest.mark.parametrize("unknown", [(), ("1",)])
def test_statistics_that_are_0_and_1_after_training(network, unknown):
    network[1].running_mean.zero_()
    network[1].running_var.fill_(1)

    [found] = diagnose(network, Evidence(batches=STEPS, unknown_age=unknown))

    assert named([found]) == [("BN_STATS_AT_INIT", "error", "1")]
    assert found.evidence["batches_tracked"] == (None if unknown else STEPS)


def test_momentum_0_leaves_every_layer_at_0_and_1():
    network, *_ = train(norm={"kind": "batch", "momentum": 0})

    found = diagnose(network, Evidence(batches=STEPS))

    assert named(found) == [
        ("BN_STATS_AT_INIT", "error", "1"),
        ("BN_STATS_AT_INIT", "error", "4"),
    ]


@pytest.mark.parametrize("counter", [2 * STEPS, STEPS - 1, -1])
def test_a_counter_that_is_not_the_number_of_steps(network, counter):
    network[1].num_batches_tracked.fill_(counter)

    [found] = errors(diagnose(network, Evidence(batches=STEPS)))

    assert named([found]) == [("BN_COUNTER_MISMATCH", "error", "1")]
    assert found.evidence == {
        "batches_tracked": counter,
        "expected": STEPS,
        "ratio": counter / STEPS,
    }


def test_recomputed_activations_count_a_batch_twice():
    """The fault as it happens: a layer's forward pass runs twice in each step."""
    network, _, arrays = train(budget={"steps": 1})
    network.train()
    for _ in range(29):
        network[:2](arrays.train.inputs[:32])
        network(arrays.train.inputs[:32])

    found = diagnose(network.eval(), Evidence(batches=30))

    assert named(found) == [("BN_COUNTER_MISMATCH", "error", "1")]
    assert found[0].evidence["batches_tracked"] == 59


def test_statistics_that_changed_after_they_were_recorded(network, known):
    network[4].running_mean.add_(0.01)

    for gate in ("publish", "load"):
        [found] = diagnose(network, known, gate)
        assert named([found]) == [("BN_FINGERPRINT_MISMATCH", "error", None)]
        assert found.evidence["recorded"] == known.fingerprint
        assert found.evidence["found"] == fingerprint(network.state_dict())


def test_averaged_weights_with_the_statistics_of_others(network):
    [found] = diagnose(network, Evidence(batches=STEPS, is_averaged=True))

    assert named([found]) == [("BN_AVERAGED_NOT_RECALIBRATED", "error", None)]
    assert '{"method": "precise"}' in found.remedy


@pytest.fixture(scope="module")
def lagging():
    return train(norm={"kind": "batch", "momentum": 0.001}, scaling="none")


def test_a_start_that_is_not_forgotten(lagging):
    network, *_ = lagging

    found = diagnose(network, Evidence(batches=STEPS))

    assert named(found) == [("BN_STATS_LAG", "warning", "1"), ("BN_STATS_LAG", "warning", "4")]
    assert found[0].evidence["share_of_initial"] == pytest.approx(0.999**STEPS)
    assert found[0].evidence["mean_distance_sd"] is None
    assert found[0].evidence["harmless"] is None
    assert "/recalibrate" in found[0].remedy


def test_the_lag_carries_the_distance_to_the_population_and_the_gap(lagging):
    network, _, arrays = lagging
    population = precise(network, [arrays.train.inputs])
    known = Evidence(batches=STEPS, population=population, gap_points=41.5)

    [first, _] = diagnose(network, known)

    rows = network[0](arrays.train.inputs).detach().double()
    state = norm_states(network)[0]
    z = ((state.mean - rows.mean(0)).abs() / rows.std(0)).quantile(0.5)
    log_ratio = (state.variance / rows.var(0)).log().abs().quantile(0.5)
    assert first.evidence["mean_distance_sd"] == pytest.approx(float(z), rel=1e-6)
    assert first.evidence["log_variance_ratio"] == pytest.approx(float(log_ratio), rel=1e-6)
    assert first.evidence["train_eval_gap"] == 41.5
    assert "41.5 points" in first.remedy
    assert not first.evidence["harmless"]


@pytest.mark.parametrize("gap", [0.0, -0.3, 1.75])
def test_a_lag_that_costs_nothing_is_said_to_be_harmless(lagging, gap):
    network, *_ = lagging

    found = diagnose(network, Evidence(batches=STEPS, gap_points=gap))

    assert all(one.remedy.startswith("Harmless") and one.evidence["harmless"] for one in found)
    assert f"{gap:g} points" in found[0].remedy


@pytest.mark.parametrize(
    ("mean", "factor", "is_lag"),
    [(0.24, 1, False), (0.26, 1, True), (0, 0.61, False), (0, 0.6, True)],
)
def test_statistics_far_from_the_population_lag_whatever_their_age(network, mean, factor, is_lag):
    """ln .6 is below -.5, ln .61 is not."""
    population = {}
    for state in norm_states(network):
        variance = state.variance / factor
        population[state.name] = Statistics(state.mean - mean * variance.sqrt(), variance)

    found = diagnose(network, Evidence(batches=STEPS, population=population))

    assert [one.reason for one in found] == ["BN_STATS_LAG"] * 2 * is_lag


def test_a_share_that_is_told_counts_instead_of_the_counter(lagging):
    network, *_ = lagging
    assert "BN_STATS_LAG" in [one.reason for one in diagnose(network)]
    assert "BN_STATS_LAG" not in [
        one.reason for one in diagnose(network, Evidence(initial_share=0))
    ]
    found = diagnose(network, Evidence(initial_share=0.3))
    assert {one.evidence["share_of_initial"] for one in found if one.reason == "BN_STATS_LAG"} == {
        0.3
    }


def test_an_unknown_age_is_judged_by_the_population_alone(lagging):
    network, _, arrays = lagging
    unknown = Evidence(unknown_age={"1", "4"})
    assert diagnose(network, unknown) == ()
    population = precise(network, [arrays.train.inputs])

    found = diagnose(network, Evidence(unknown_age={"1", "4"}, population=population))

    assert named(found)[0] == ("BN_STATS_LAG", "warning", "1")
    assert found[0].evidence["share_of_initial"] is None


def test_channels_that_do_not_vary_have_no_distance(network):
    [state, _] = norm_states(network)
    still = torch.zeros_like(state.variance)

    assert distances(state, Statistics(state.mean, still)) == (None, None)


def test_a_distance_that_is_infinite_is_null_with_its_word(network):
    network[1].running_var.zero_()
    [state, _] = norm_states(network)
    population = {"1": Statistics(state.mean, torch.ones_like(state.variance))}

    lag, _ = diagnose(network, Evidence(batches=STEPS, population=population))

    assert lag.evidence["log_variance_ratio"] is None
    assert lag.evidence["not_finite"] == {"log_variance_ratio": "inf"}
    json.dumps(lag.to_json(), allow_nan=False)


@pytest.mark.parametrize("name", ["running_mean", "running_var", "weight", "bias"])
def test_values_that_float16_cannot_hold(network, name):
    network[1].state_dict()[name][2] = 7e4

    found = diagnose(network, Evidence(batches=STEPS))

    assert named(found) == [("BN_FP16_RANGE", "warning", "1")]
    assert found[0].evidence["tensor"] == name
    assert torch.tensor(7e4).half().isinf()


@pytest.mark.parametrize("value", [0.0, 1e-9])
def test_a_channel_without_variance(network, value):
    network[4].running_var[6] = value

    found = diagnose(network, Evidence(batches=STEPS))

    assert named(found) == [("BN_DEAD_CHANNEL", "warning", "4")]
    assert found[0].evidence["channels"] == [6]


def test_a_frozen_layer_that_moved(network):
    frozen = {"1": layer_fingerprint("1", network[1])}
    network[1].requires_grad_(False).train()
    network[1](torch.randn(16, 12, generator=torch.Generator().manual_seed(0)))

    found = diagnose(network, Evidence(batches=STEPS, frozen=frozen))

    assert named(found) == [("BN_FROZEN_CHANGED", "warning", "1")]


def test_a_frozen_layer_that_stood_still_may_have_any_count(network):
    network[1].num_batches_tracked.fill_(7 * STEPS)
    frozen = {"1": layer_fingerprint("1", network[1])}

    assert diagnose(network, Evidence(batches=STEPS, frozen=frozen)) == ()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    network, checked, arrays = train()
    path = tmp_path_factory.mktemp("checkpoint") / "one.safetensors"
    about = About(checked.spec, DATA["digits"].facts, arrays.scaling, STEPS)
    return write(path, network.state_dict(), about).path


def refused(written, path, change):
    """What loading says of the file after its tensors were changed."""
    tensors, metadata = load_file(written), load_metadata(written)
    change(tensors)
    save_file(tensors, path, metadata)
    with pytest.raises(CheckpointRefused) as caught:
        load(path)
    return caught.value


def load_metadata(path):
    length = int.from_bytes(path.read_bytes()[:8], "little")
    return json.loads(path.read_bytes()[8 : 8 + length])["__metadata__"]


def test_a_file_without_its_statistics_names_each_layer(written, tmp_path):
    def forget(tensors):
        for name in ("1.running_mean", "1.running_var", "4.running_var"):
            del tensors[name]

    error = refused(written, tmp_path / "x", forget)
    found = refusal(error)

    assert isinstance(error, StatisticsMissing)
    assert named(found) == [("BN_STATS_MISSING", "error", "1"), ("BN_STATS_MISSING", "error", "4")]
    assert found[0].evidence == {"missing": ["1.running_mean", "1.running_var"]}
    assert {one.reason for one in found} <= GATES["load"]


def test_a_file_whose_statistics_were_replaced(written, tmp_path):
    error = refused(written, tmp_path / "x", lambda tensors: tensors["1.running_var"].mul_(2))
    found = refusal(error)

    assert isinstance(error, StatisticsChanged)
    assert named(found) == [("BN_FINGERPRINT_MISMATCH", "error", None)]
    assert found[0].evidence["recorded"] != found[0].evidence["found"]


def test_other_refusals_are_no_concern_of_the_statistics():
    assert refusal(ChecksumMismatch("other bytes", sha256="0")) == ()


def test_every_reason_has_a_severity_and_a_gate():
    assert not ERRORS & WARNINGS
    assert frozenset().union(*GATES.values()) == ERRORS | WARNINGS
    assert GATES["publish"] >= ERRORS


def test_a_diagnosis_changes_nothing(network, known):
    network.train()
    before = {name: one.clone() for name, one in network.state_dict().items()}
    generator = torch.get_rng_state()

    diagnose(network, known)

    assert all(torch.equal(one, before[name]) for name, one in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(module.training for module in network.modules())
    network.eval()


def test_findings_are_json(network, known, lagging):
    network[1].running_var.fill_(torch.nan)
    network[4].running_var[0] = 7e4
    found = (*diagnose(network, known), *diagnose(lagging[0]))

    assert len(found) == 5
    for one in found:
        assert json.loads(json.dumps(one.to_json(), allow_nan=False)) == one.to_json()


@st.composite
def sound_runs(draw):
    """Small specs with at most 20 steps and momentum of at least .2, or a plain average.

    Raw inputs saturate units, which a norm after the activation is right to call dead.
    """
    momentum = draw(st.none() | st.floats(0.2, 1))
    placement = draw(st.sampled_from(["before_activation", "after_activation"]))
    scalings = ["standard"] if placement == "after_activation" else ["standard", "minmax", "none"]
    return {
        "dataset": draw(st.sampled_from(["digits", "spirals"])),
        "network": {
            "kind": "mlp",
            "hidden": draw(st.lists(st.integers(2, 12), min_size=1, max_size=3)),
            "activation": draw(st.sampled_from(["tanh", "sigmoid", "gelu", "identity"])),
            "bias": draw(st.booleans()),
        },
        "norm": {
            "kind": "batch",
            "momentum": momentum,
            "affine": draw(st.booleans()),
            "running": draw(st.sampled_from(["variance", "deviation"])),
            "normalize": draw(st.sampled_from(["biased", "unbiased"])),
            "placement": placement,
        },
        "scaling": draw(st.sampled_from(scalings)),
        "batch_size": draw(st.integers(4, 64)),
        "tail": "merge",
        "budget": {"steps": draw(st.integers(1, 20))},
        "seed": draw(st.integers(0, 2**31)),
    }


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)
@given(sound_runs())
def test_sound_checkpoints_have_no_error_and_settled_ones_no_warning(body):
    network, checked, _ = train(**body)
    norm, steps = body["norm"], checked.steps
    known = Evidence(fingerprint=fingerprint(network.state_dict()), batches=steps)

    found = diagnose(network, known)

    assert errors(found) == ()
    share = 0 if norm["momentum"] is None else (1 - norm["momentum"]) ** steps
    within = norm["momentum"] is None or norm["momentum"] <= 0.5
    if body["batch_size"] >= 16 and within and share <= 0.05:
        assert found == ()
