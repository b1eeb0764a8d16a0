from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model import checkpoint
from model.checkpoint import About, Loaded, Written
from model.data.dataset import Facts
from model.data.scaling import Scaling
from model.networks.build import build
from model.networks.init import initialize
from model.plan import plan
from model.predict import Predictor
from model.spec import RunSpec


@pytest.fixture
def make_facts() -> Callable[..., Facts]:
    """Facts of 100 rows of some shape, with three classes unless told otherwise."""

    def make(
        shape: tuple[int, ...] = (4,),
        classes: tuple[str, ...] | None = ("a", "b", "c"),
        **more: Any,
    ) -> Facts:
        known: dict[str, Any] = {
            "rows": 100,
            "input_shape": shape,
            "classes": classes,
            "outputs": 3,
            "task": "regression" if classes is None else "classification",
            "train_rows": None,
            "test_rows": None,
            "images": False,
            "fingerprint": "sha256:0",
        }
        return Facts(**known | more)

    return make


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Written]:
    """A checkpoint file of a small network with batch norm, its weights drawn from a seed.

    `batches` of random rows move its statistics; keywords replace what is said of it.
    """

    def make(
        facts: Facts,
        name: str = "c",
        seed: int = 0,
        loss: str = "cross_entropy",
        norm: Any = "batch",
        batches: int = 0,
        **about: Any,
    ) -> Written:
        spec = RunSpec.model_validate(
            {
                "dataset": "any",
                "network": {"kind": "mlp", "hidden": [5]},
                "norm": norm,
                "loss": {"kind": loss},
                "scaling": "none",
            }
        )
        network = build(plan(spec, facts), dtype=torch.float32)
        generator = torch.Generator().manual_seed(seed)
        initialize(network, plan(spec, facts), spec.init, generator)
        for _ in range(batches):
            network(torch.randn(32, *facts.input_shape, generator=generator))
        scaling = Scaling.fit("none", np.zeros((2, *facts.input_shape)), facts.images)
        told = About(spec, facts, scaling, 7, **about)
        return checkpoint.write(tmp_path / f"{name}.safetensors", network.state_dict(), told)

    return make


@pytest.fixture
def load(write: Callable[..., Written]) -> Callable[..., Predictor]:
    """The same network, ready to answer, folded where there are calibration rows."""

    def make(facts: Facts, rows: Any = None, **more: Any) -> Predictor:
        written = write(facts, **more)
        loaded: Loaded = checkpoint.load(written.path, written.sha256)
        return Predictor(loaded, rows)

    return make
