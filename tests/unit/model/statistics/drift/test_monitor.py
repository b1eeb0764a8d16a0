"""The rolling window across requests against one pass over the same rows."""

import json
import math
import threading

import numpy as np
import pytest
import torch

from model.statistics.drift.budget import CREDIT_SECONDS, Budget
from model.statistics.drift.monitor import Monitor
from model.statistics.drift.reference import running
from model.statistics.drift.thresholds import Thresholds


@pytest.fixture(scope="module", params=["mlp", "image"])
def watched(request, make_network, image_layers):
    """A network, the rows that it answers, and the names of its norms."""
    shape = (6,) if request.param == "mlp" else (3, 5, 5)
    network = make_network(shape, None if request.param == "mlp" else image_layers)
    rows = torch.randn(300, *shape, generator=torch.Generator().manual_seed(1))
    return network, rows + 0.2


def thresholds(network, sizes=(32, 64, 128), value=1.0) -> Thresholds:
    names = tuple(one.name for one in running(network))
    return Thresholds(1024, names, {size: (value,) * len(names) for size in sizes})


def monitor(network, limits=None, classes=3) -> Monitor:
    return Monitor(network, running(network), limits or thresholds(network), classes, math.inf)


def entering(network, rows):
    """What enters the first norm, (values, C), in float64."""
    values = network[0](rows).double()
    return values if values.dim() == 2 else values.permute(0, 2, 3, 1).flatten(0, 2)


def closed_form(network, rows) -> float:
    layer, x = network[1], entering(network, rows)
    m, v = layer.running_mean.double(), layer.running_var.double()
    mean, w = x.mean(0), x.var(0)
    both = v / w + w / v - 2 + (mean - m) ** 2 * (1 / v + 1 / w)
    return (both / 4).mean().item()


@pytest.mark.parametrize("request_rows", [1, 5, 40, 300])
def test_the_window_is_the_last_rows_whatever_the_requests(watched, request_rows) -> None:
    network, rows = watched
    watching = monitor(network)
    with torch.inference_mode():
        for block in rows.split(request_rows):
            with watching.watching(len(block)):
                padded = torch.cat(
                    [block, block[-1:].expand(max(0, 8 - len(block)), *block.shape[1:])]
                )
                network(padded)
    state = watching.state()
    small = watching.state(32)
    watching.close()
    end = 300 - 300 % 32  # the last block is not complete
    window = rows[end - 128 : end]
    assert (state.window_rows, state.rows) == (128, 128)
    assert state.layers[0].score == pytest.approx(closed_form(network, window), rel=1e-6)
    assert small.layers[0].score == pytest.approx(
        closed_form(network, rows[end - 32 : end]), rel=1e-6
    )
    expected = np.bincount(network(window).argmax(1).numpy(), minlength=3)
    assert state.predicted_classes == expected.tolist()


def test_watching_changes_no_answer(watched) -> None:
    network, rows = watched
    plain = network(rows)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    random_state = torch.get_rng_state()
    watching = monitor(network)
    with watching.watching(300):
        assert torch.equal(network(rows), plain)
    watching.state()
    watching.close()
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_states(watched) -> None:
    network, rows = watched
    cases = [
        (thresholds(network), 31, "filling"),
        (thresholds(network), 32, "quiet"),
        (thresholds(network, value=1e-9), 32, "alarm"),
        (thresholds(network, sizes=()), 300, "uncalibrated"),
    ]
    for limits, count, expected in cases:
        watching = monitor(network, limits)
        with watching.watching(count):
            network(rows[:count])
        state = watching.state()
        watching.close()
        assert state.state == expected
        assert (state.alarm is None) == (expected in ("filling", "uncalibrated"))
        text = json.dumps(state.to_json(), allow_nan=False)
        assert json.loads(text)["state"] == expected


def test_a_size_that_is_not_calibrated_is_refused(watched) -> None:
    watching = monitor(watched[0])
    with pytest.raises(ValueError, match=r"windows of 33 rows are not calibrated, only \[32, 64"):
        watching.state(33)
    watching.close()


def test_a_number_that_overflows_alarms_and_leaves_with_its_block(watched) -> None:
    network, rows = watched
    bad = rows[:32].clone()
    bad[3] = 1e38
    watching = monitor(network, thresholds(network, sizes=(32,)))
    with watching.watching(32):
        network(bad)
    state = watching.state()
    assert state.state == "alarm"
    json.dumps(state.to_json(), allow_nan=False)
    with watching.watching(32):
        network(rows[32:64])
    assert watching.state().state == "quiet"
    watching.close()


def test_threads_count_their_own_predictions_and_none_is_lost(watched) -> None:
    network, rows = watched
    watching = monitor(network, thresholds(network, sizes=(1024,)))

    def predict(block: torch.Tensor) -> None:
        for row in block:
            with watching.watching(1):
                network(row[None])

    threads = [threading.Thread(target=predict, args=(rows[k : k + 64],)) for k in (0, 64, 128)]
    for thread in threads:
        thread.start()
    network(rows)  # nobody asked for these to be counted
    for thread in threads:
        thread.join()
    assert watching.state().rows == 192
    watching.close()


def test_a_regression_counts_no_classes(watched) -> None:
    network, rows = watched
    watching = monitor(network, classes=0)
    with watching.watching(64):
        network(rows[:64])
    assert watching.state().predicted_classes is None
    watching.close()


def test_a_budget_allows_its_share_and_a_bounded_credit() -> None:
    budget = Budget(0.1)
    now, spent = 100.0, 0.0
    for _ in range(10_000):
        now += 0.001
        if budget.is_open(now):
            budget.spend(0.0007, now)
            spent += 0.0007
    assert spent == pytest.approx(0.1 * (10 + CREDIT_SECONDS), rel=0.05)
    endless = Budget(math.inf)
    endless.spend(1e9, 0.0)
    assert endless.is_open(0.0)
