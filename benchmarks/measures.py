"""What measures cost a run: the same run with them and without, by turns in one process.

All measures are taken at their default periods, but for `landscape` and `relative_loss`, which
walk far along the gradient and have no promise. The clock is the process's own time, in which
other processes take no part; between two runs with measures stands one without, so the spread of
equal runs is measured in the same minutes.

    python -m benchmarks.measures [--pairs 5] [--only digits-mlp] [--each]

The promise: at most 10 % of the time of a run that is long enough for 20 probes to be 8 % of its
row-passes. A shorter one is told what they cost.
"""

import argparse
import time
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from model.data.builtin import build as build_dataset
from model.data.dataset import Dataset, describe
from model.measures.catalogue import CATALOGUE
from model.measures.engine import engine_of
from model.measures.periods import planned, with_periods
from model.plan import Checked, Limits, check
from model.spec import RunSpec
from model.training.arrays import Arrays, prepare
from model.training.loop import Training

CPU = torch.device("cpu")
UNLIMITED = Limits(2**63, 2**63)
EXCEPTED = ("landscape", "relative_loss")
KINDS = tuple(kind for kind in CATALOGUE if kind not in EXCEPTED)

CONV: list[dict[str, Any]] = [
    {"kind": "conv2d", "out_channels": 8, "kernel_size": 3},
    {"kind": "norm"},
    {"kind": "activation", "activation": "relu"},
    {"kind": "conv2d", "out_channels": 16, "kernel_size": 3, "stride": 2},
    {"kind": "norm"},
    {"kind": "activation", "activation": "relu"},
    {"kind": "pool", "pool": "global_avg"},
    {"kind": "flatten"},
    {"kind": "linear"},
]
ARMS: dict[str, dict[str, Any]] = {
    "digits-mlp": {
        "network": {"kind": "mlp", "hidden": [100]},
        "norm": "batch",
        "budget": {"epochs": 800},
        "evaluate_every": {"epochs": 10},
    },
    "mnist-mlp": {
        "network": {"kind": "mlp", "hidden": [100, 100, 100]},
        "norm": "batch",
        "batch_size": 60,
        "budget": {"epochs": 220},
        "evaluate_every": {"epochs": 10},
    },
    "conv": {
        "network": {"kind": "layers", "layers": CONV},
        "norm": "batch",
        "budget": {"epochs": 950},
        "evaluate_every": {"epochs": 10},
    },
}


def rows_of(arm: str) -> Dataset:
    """Digits; or normal rows of the size of MNIST's or of small images, with ten classes."""
    if arm == "digits-mlp":
        return build_dataset("digits")
    random = np.random.default_rng(0)
    shape = (12_000, 784) if arm == "mnist-mlp" else (1_000, 1, 16, 16)
    inputs = random.normal(size=shape).astype(np.float32)
    classes = tuple("0123456789")
    return describe(inputs, random.integers(0, 10, shape[0]), classes, train_rows=shape[0] - 100)


def prepared(arm: str, kinds: tuple[str, ...], **changes: Any) -> tuple[Checked, Arrays]:
    dataset = rows_of(arm)
    body = {"dataset": arm, "measures": list(kinds)} | ARMS[arm] | changes
    checked = with_periods(check(RunSpec.model_validate(body), dataset.facts, UNLIMITED))
    return checked, prepare(dataset, checked.spec, CPU)


def seconds(checked: Checked, arrays: Arrays) -> float:
    """Processor time of one run."""
    began = time.process_time()
    for _ in Training(checked, arrays, CPU, engine_of(checked, arrays, CPU)).run():
        pass
    return time.process_time() - began


def report(arm: str, kinds: tuple[str, ...], pairs: int, label: str) -> None:
    measured, plain = prepared(arm, kinds), prepared(arm, ())
    without, ratios = [seconds(*plain)], []
    for _ in range(pairs):
        with_measures = seconds(*measured)
        without.append(seconds(*plain))
        ratios.append(with_measures / ((without[-1] + without[-2]) / 2))
    selves = [after / before for before, after in pairwise(without)]
    low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
    self_low, self_high = np.quantile(selves, [0.25, 0.75])
    plan = planned(measured[0])
    share = sum(one.to_json(measured[0])["share"] for one in plan)
    print(
        f"| {label} | {middle:.3f} | {low:.3f}-{high:.3f} | {self_low:.3f}-{self_high:.3f} "
        f"| {share:.1%} | {min(one.probes for one in plan)} | {np.median(without):.1f} | {pairs} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--only", choices=list(ARMS))
    parser.add_argument("--each", action="store_true", help="every measure by itself, too")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print(
        "| run | with / without | quartiles | without / without | row-passes | fewest probes "
        "| seconds without | pairs |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for arm in [asked.only] if asked.only else ARMS:
        report(arm, KINDS, asked.pairs, arm)
        for kind in CATALOGUE if asked.each else ():
            report(arm, (kind,), asked.pairs, f"{arm}, {kind}")


if __name__ == "__main__":
    main()
