import json

import numpy as np
import pytest
import torch
from torch import nn

from model import spec
from model.norms.batch import BatchNorm
from model.statistics.evidence import Evidence
from model.statistics.fingerprint import fingerprint
from model.statistics.inspect import inspect, summary


def batch_norm(channels=3, **convention):
    return BatchNorm(channels, spec.BatchNorm(kind="batch", **convention))


def trained(channels=3, batches=5, **convention):
    layer = batch_norm(channels, **convention)
    generator = torch.Generator().manual_seed(0)
    for _ in range(batches):
        layer(torch.randn(16, channels, generator=generator))
    return layer.eval()


def told(layer, **options):
    [facts] = inspect(nn.Sequential(layer), **options)
    return facts


def test_it_tells_the_convention_and_the_age():
    facts = told(trained(momentum=0.25, eps=0.5, normalize="unbiased"))

    assert {
        name: facts[name]
        for name in ("layer", "kind", "channels", "momentum", "eps", "affine", "running")
    } == {
        "layer": "0",
        "kind": "batch",
        "channels": 3,
        "momentum": 0.25,
        "eps": 0.5,
        "affine": True,
        "running": "variance",
    }
    assert facts["normalize"] == "unbiased"
    assert facts["batches_tracked"] == 5
    assert facts["share_of_initial"] == pytest.approx(0.75**5)
    assert facts["window_batches"] == 7
    assert facts["trustworthy_step"] == 11
    assert not facts["is_initial"]


def test_an_unknown_age_is_null_and_not_0():
    facts = told(trained(batches=0), known=Evidence(unknown_age={"0"}))

    assert facts["batches_tracked"] is None
    assert facts["share_of_initial"] is None
    assert facts["window_batches"] is None


def test_statistics_that_were_computed_hold_nothing_of_the_start_and_all_their_batches():
    facts = told(trained(momentum=0.001), known=Evidence(initial_share=0.0))

    assert facts["share_of_initial"] == 0
    assert facts["window_batches"] == facts["batches_tracked"] == 5


def test_summaries_and_vectors_are_those_of_numpy():
    layer = trained(channels=50)
    layer.weight.data.uniform_(-1, 1, generator=torch.Generator().manual_seed(1))
    facts = told(layer, values=True)
    variance = layer.running_var.double().numpy()

    assert facts["values"]["variance"] == variance.tolist()
    assert facts["values"]["gain"] == layer.weight.double().tolist()
    assert facts["variance"]["finite"] == 50
    assert facts["variance"]["mean"] == pytest.approx(variance.mean())
    assert facts["variance"]["max"] == variance.max()
    for name, level in (("p05", 0.05), ("p25", 0.25), ("median", 0.5), ("p95", 0.95)):
        assert facts["variance"][name] == pytest.approx(np.quantile(variance, level))


def test_vectors_come_on_request_only():
    assert "values" not in told(trained())


def test_a_deviation_is_told_as_the_variance_that_it_is_the_root_of():
    layer = trained(running="deviation")

    facts = told(layer, values=True)

    assert facts["running"] == "deviation"
    assert facts["values"]["variance"] == (layer.running_spread.double() ** 2).tolist()


def test_a_layer_without_affine_has_null_for_gain_and_bias():
    facts = told(trained(affine=False), values=True)

    assert facts["gain"] is facts["bias"] is None
    assert facts["values"]["gain"] is facts["values"]["bias"] is None
    assert facts["gain_near_zero"] == []


def test_numbers_that_are_not_finite_are_null_and_named():
    layer = trained()
    layer.running_mean.copy_(torch.tensor([torch.inf, 2.0, torch.nan]))
    layer.running_var.fill_(-torch.inf)

    facts = told(layer, values=True)

    json.dumps(facts, allow_nan=False)
    assert facts["mean"]["finite"] == 1
    assert facts["mean"]["not_finite"] == {"inf": 1, "nan": 1}
    assert facts["mean"]["median"] == 2
    assert facts["variance"]["median"] is None
    assert facts["values"]["mean"] == [None, 2.0, None]
    assert facts["values"]["not_finite"]["mean"] == {"0": "inf", "2": "nan"}
    assert facts["values"]["not_finite"]["variance"] == dict.fromkeys("012", "-inf")


def test_finite_numbers_have_no_word():
    facts = told(trained(), values=True)

    assert "not_finite" not in facts["mean"]
    assert "not_finite" not in facts["values"]


def test_odd_channels_are_listed():
    layer = trained(channels=7)
    layer.running_var.copy_(torch.tensor([1.0, 0.9e-6, 1.0, 1.1e-6, 0.0, 1.0, 1.0]))
    layer.weight.data[:] = torch.tensor([1.0, -1.0, 1e-4, 0.0, 2e-3, 1.0, 1.0])

    facts = told(layer)

    assert facts["dead_channels"] == [1, 4]
    assert facts["gain_near_zero"] == [2, 3]


@pytest.mark.parametrize(("value", "fits"), [(65504.0, True), (65536.0, False), (-7e4, False)])
@pytest.mark.parametrize("name", ["running_mean", "running_var", "weight", "bias"])
def test_the_range_of_float16_is_known(name, value, fits):
    layer = trained()
    layer.state_dict()[name][1] = value

    assert told(layer)["fits_float16"] == fits


def test_untouched_statistics_are_said_to_be_initial():
    assert told(batch_norm())["is_initial"]


def test_one_layer_may_be_asked_for():
    network = nn.Sequential(trained(), nn.Sequential(trained(2)))

    assert [one["layer"] for one in inspect(network)] == ["0", "1.0"]
    assert [one["channels"] for one in inspect(network, layer="1.0")] == [2]
    with pytest.raises(ValueError, match="no norm layer of that name"):
        inspect(network, layer="2")


def test_the_fingerprint_is_that_of_the_layers_statistics():
    network = nn.Sequential(trained())

    assert inspect(network)[0]["fingerprint"] == fingerprint(network.state_dict())


def test_a_summary_of_one_value_is_that_value():
    told = summary(torch.tensor([3.0], dtype=torch.float64))

    assert set(told.values()) == {1, 3.0}


def test_inspecting_changes_nothing():
    network = nn.Sequential(trained(), nn.Dropout()).train()
    before = {name: one.clone() for name, one in network.state_dict().items()}
    generator = torch.get_rng_state()

    inspect(network, values=True)

    assert all(torch.equal(one, before[name]) for name, one in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(module.training for module in network.modules())
