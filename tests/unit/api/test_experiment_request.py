"""Which param a refusal of a planned run names."""

from typing import Any

import pytest

from api.experiment_request import ExperimentRequest, in_params, of_run, wanted
from model.data.builtin import build
from model.errors import SpecRefused
from model.lab.catalogue import EXPERIMENTS
from model.plan import Limits, check

LIMITS = Limits(max_parameters=1_000_000, max_memory_bytes=2**34)
HUGE = 65_536


def refused(kind: str, params: dict[str, Any]) -> str:
    """The path of the first run of a plan that its dataset does not allow."""
    planned = wanted(ExperimentRequest(kind=kind, params=params, seeds=(0,)))
    for run in planned.plan:
        try:
            check(run.spec, build(run.spec.dataset).facts, LIMITS)
        except SpecRefused as error:
            return of_run(error, run, planned.params).path
    raise AssertionError("every run may be trained")


@pytest.mark.parametrize(
    ("kind", "params", "path"),
    [
        ("saturation", {"dataset": "spirals"}, "fan_in"),
        ("saturation", {"units": HUGE}, "units"),
        ("makemore", {"dataset": "wine"}, "fan_in"),
        ("makemore", {"dataset": "spirals", "fan_in": 3}, "fan_in"),
        ("makemore", {"symbols": 27, "dataset": "wine"}, "symbols"),
        ("makemore", {"hidden": HUGE}, "hidden"),
        ("makemore", {"width": HUGE}, "width"),
        ("makemore", {"dataset": "gaussian_linear", "fan_in": 10}, "dataset"),
        ("bug_zoo", {"dataset": "gaussian_linear"}, "dataset"),
        ("placement", {"units": HUGE}, "units"),
        ("covariate_shift", {"network": "vgg", "image_shape": [1, 8, 9]}, "image_shape"),
        ("covariate_shift", {"network": "vgg", "dataset": "wine"}, "image_shape"),
        ("covariate_shift", {"network": "mlp", "batch_size": 479}, "batch_size"),  # 1,438
        ("covariate_shift", {"network": "mlp", "batch_size": 5_000}, "batch_size"),
        ("lp_norms", {"network": "mlp", "batch_size": 5_000}, "batch_size"),
        ("landscape", {"network": {"kind": "mlp", "hidden": [HUGE] * 3}}, "network"),
    ],
)
def test_a_refusal_names_the_param_that_the_field_comes_from(
    kind: str, params: dict[str, Any], path: str
) -> None:
    assert refused(kind, params) == f"params.{path}"


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("network.hidden.1", "params.hidden.1"),
        ("network.hidden.7", "params.hidden"),  # there is none
        ("network", "params.hidden"),
        ("optimizer.lr", "params.lr"),
        ("budget.steps", "params.steps"),
        ("evaluate_every", "params.steps"),
        ("batch_size", "params.batch_size"),
        ("tail", "params.batch_size"),
        ("loss.kind", "params.dataset"),
        ("split.test", "params.dataset"),
        ("precision", "params"),
    ],
)
def test_what_most_kinds_call_alike_is_known_of_every_kind(path: str, param: str) -> None:
    params = EXPERIMENTS["test_time_adaptation"].params()
    assert in_params(path, params) == param
    assert in_params(path, params, {path: "severity"}) == "params.severity"
