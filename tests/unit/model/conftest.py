import pytest

from model.data.dataset import Facts
from model.spec import RunSpec


@pytest.fixture(scope="session")
def make_facts():
    """Facts of a dataset that does not exist: enough for everything before the first row."""

    def make(input_shape=(64,), outputs=10, rows=1797, classes=True, own=(None, None)):
        return Facts(
            rows=rows,
            input_shape=tuple(input_shape),
            classes=tuple(f"class {i}" for i in range(outputs)) if classes else None,
            outputs=outputs,
            task="classification" if classes else "regression",
            train_rows=own[0],
            test_rows=own[1],
            images=False,
            fingerprint="sha256:none",
        )

    return make


@pytest.fixture(scope="session")
def make_spec():
    """A spec from JSON values; network defaults to an mlp, a list means its layers."""

    def make(network=None, **fields):
        if isinstance(network, list):
            network = {"kind": "layers", "layers": network}
        network = network or {"kind": "mlp"}
        return RunSpec.model_validate({"dataset": "digits", "network": network, **fields})

    return make
