"""A training of nothing, so that the next one in this process is fast from its first step.

Much in torch and numpy happens once a process: code is paged in, caches and threads begin.
A run seeds what it draws from, so no trace of a rehearsal reaches it.
"""

import numpy as np
import torch

from model.data.dataset import describe
from model.plan import Limits, check
from model.spec import RunSpec
from model.training.arrays import prepare
from model.training.loop import Training

ROWS = 8
FEATURES = 4
SPEC = {
    "dataset": "rehearsal",
    "network": {"kind": "mlp", "hidden": [4]},
    "norm": "batch",
    "batch_size": 4,
    "budget": {"steps": 2},
}


def rehearse() -> None:
    """Train a tiny network on the CPU for two steps, with one thread."""
    torch.set_num_threads(1)
    inputs = np.arange(ROWS * FEATURES, dtype=np.float32).reshape(ROWS, FEATURES)
    targets = np.arange(ROWS, dtype=np.int64) % 2
    dataset = describe(inputs, targets, ("a", "b"), train_rows=ROWS - 2)
    checked = check(RunSpec.model_validate(SPEC), dataset.facts, Limits(10**6, 10**9))
    cpu = torch.device("cpu")
    for _ in Training(checked, prepare(dataset, checked.spec, cpu), cpu).run():
        pass
