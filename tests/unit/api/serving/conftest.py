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
    """A checkpoint file of a small network with batch norm, its weights drawn from a seed."""

    def make(facts: Facts, name: str = "c", seed: int = 0, loss: str = "cross_entropy") -> Written:
        spec = RunSpec.model_validate(
            {
                "dataset": "any",
                "network": {"kind": "mlp", "hidden": [5]},
                "norm": "batch",
                "loss": {"kind": loss},
                "scaling": "none",
            }
        )
        network = build(plan(spec, facts), dtype=torch.float32)
        generator = torch.Generator().manual_seed(seed)
        initialize(network, plan(spec, facts), spec.init, generator)
        scaling = Scaling.fit("none", np.zeros((2, *facts.input_shape)), facts.images)
        about = About(spec, facts, scaling, 7)
        return checkpoint.write(tmp_path / f"{name}.safetensors", network.state_dict(), about)

    return make


@pytest.fixture
def load(write: Callable[..., Written]) -> Callable[..., Predictor]:
    """The same network, ready to answer."""

    def make(facts: Facts, **more: Any) -> Predictor:
        written = write(facts, **more)
        loaded: Loaded = checkpoint.load(written.path, written.sha256)
        return Predictor(loaded)

    return make
