"""Every kind of network, trained by a real worker from its rows to a scored checkpoint."""

from typing import Any

import pytest

from core import checkpoints
from core.states import Outcome, State

EMBEDDED = [
    {"kind": "embedding", "num_embeddings": 17, "embedding_dim": 2},
    *({"kind": "flatten"}, {"kind": "linear", "out_features": 16}),
    *({"kind": "norm"}, {"kind": "activation"}, {"kind": "linear"}),
]
NETWORKS = {
    "deep_linear": {"kind": "deep_linear", "layers": 4, "width": 32},
    "residual_mlp": {"kind": "residual_mlp", "blocks": 3, "width": 32},
    "vgg": {"kind": "vgg", "width": 1 / 16, "image_shape": [1, 8, 8]},
    "embedding": {"kind": "layers", "layers": EMBEDDED},
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_network_learns_digits_and_is_scored(steady: Any, kind: str) -> None:
    scaling = "none" if kind == "embedding" else "standard"
    run_id = steady.submit(
        network=NETWORKS[kind], norm="batch", scaling=scaling, budget={"epochs": 3}
    )
    run = steady.until_ended(run_id)
    assert (run.state, run.outcome) == (State.SUCCEEDED, Outcome.COMPLETED)
    found = steady.database.read(lambda c: checkpoints.get(c, run.checkpoint_id))
    assert found.metrics["test_accuracy"] > 0.4


def test_rows_that_hold_no_index_fail_the_run_by_their_number(steady: Any) -> None:
    # Behind columns nobody knows before the run what is looked up.
    layers = [{"kind": "columns", "first": 3}, *EMBEDDED]
    run_id = steady.submit(
        dataset="wine", network={"kind": "layers", "layers": layers}, scaling="none"
    )
    run = steady.until_ended(run_id)
    assert run.state is State.FAILED
    assert (run.error["cause"], run.error["reason"]) == ("user", "INPUT_INVALID")
    assert run.error["message"].startswith("row 0 holds a value that is no index of the embedding")
