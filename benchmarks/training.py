"""Training steps per second of a run against a plain PyTorch loop, side by side.

Both train the same network on the same rows with one thread and evaluate at the same steps.
The run is a real one: submitted over REST, trained by a worker, metrics on, resume points by
time, a checkpoint at the end; its speed is read off its own `progress`. The loop indexes a
permutation, evaluates and writes nothing. Runs and loops alternate; between two loops stands
one run, so the loop's own spread is measured in the same minutes.

    python benchmarks/training.py [--pairs 9] [--seconds 20] [--only digits-batch]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.service import running
from core.local_files import LocalFiles
from evalmode import Client
from model.blocks import block_rows
from model.checkpoint import About, load, write
from model.data.builtin import build as build_dataset
from model.data.dataset import Dataset
from model.data.options import ReadOptions
from model.data.readers import read
from model.memory import item_bytes
from model.plan import Limits, check
from model.spec import RunSpec
from model.training.arrays import Arrays, prepare
from model.training.evaluate import evaluate
from model.training.loop import Training

CPU = torch.device("cpu")
MNIST = Path(os.environ.get("EVALMODE_TEST_DATA", "../shared/data")) / "mnist"
EVALUATE_EPOCHS = 10
HIDDEN = {"digits": [100], "mnist": [100, 100, 100]}
BATCH = {"digits": 32, "mnist": 60}
#: Steps per second to expect, only to choose a budget of about the wanted seconds.
PACE = {"digits": 3500, "mnist": 1500}


def spec_of(arm: str, epochs: int, dataset: str | None = None) -> dict[str, Any]:
    name, norm = arm.split("-")
    return {
        "dataset": dataset or name,
        "network": {"kind": "mlp", "hidden": HIDDEN[name]},
        "norm": norm,
        "batch_size": BATCH[name],
        "budget": {"epochs": epochs},
        "evaluate_every": {"epochs": EVALUATE_EPOCHS},
    }


def rows_of(name: str) -> Dataset:
    if name == "digits":
        return build_dataset("digits")
    options = ReadOptions(targets_path=MNIST / "train-labels-idx1-ubyte.gz")
    return read("idx", MNIST / "train-images-idx3-ubyte.gz", options)


def arrays_of(arm: str) -> tuple[RunSpec, Arrays]:
    dataset = rows_of(arm.split("-")[0])
    checked = check(RunSpec.model_validate(spec_of(arm, 1)), dataset.facts, Limits(10**12, 10**15))
    return checked.spec, prepare(dataset, checked.spec, CPU)


def plain_network(arm: str, width: int) -> nn.Sequential:
    name, norm = arm.split("-")
    layers: list[nn.Module] = [nn.Flatten()]
    for units in HIDDEN[name]:
        layers.append(nn.Linear(width, units))
        if norm == "batch":
            layers.append(nn.BatchNorm1d(units))
        layers.append(nn.Tanh())
        width = units
    return nn.Sequential(*layers, nn.Linear(width, 10))


def plain_loop(arm: str, seconds: float) -> float:
    """Steps per second of the loop that everybody writes."""
    torch.set_num_threads(1)
    _, arrays = arrays_of(arm)
    inputs, targets = arrays.train.inputs, arrays.train.targets
    network = plain_network(arm, inputs[0].numel())
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    criterion = nn.CrossEntropyLoss()
    batch_size, steps, epoch = BATCH[arm.split("-")[0]], 0, 0
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        network.train()
        permutation = torch.randperm(len(inputs))
        for start in range(0, len(inputs), batch_size):
            index = permutation[start : start + batch_size]
            loss = criterion(network(inputs[index]), targets[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            steps += 1
        epoch += 1
        if epoch % EVALUATE_EPOCHS == 0:
            network.eval()
            with torch.no_grad():
                logits = network(arrays.test.inputs)
                criterion(logits, arrays.test.targets).item()
                (logits.argmax(1) == arrays.test.targets).double().mean().item()
    return steps / (time.perf_counter() - began)


def loop_in_a_process(arm: str, seconds: float) -> float:
    command = [
        sys.executable,
        "-m",
        "benchmarks.training",
        "--loop",
        arm,
        "--seconds",
        str(seconds),
    ]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    return float(done.stdout)


def run_on(client: Client, arm: str, dataset: str, seconds: float) -> float:
    """Steps per second by the run's own progress, from its first report to its last."""
    name = arm.split("-")[0]
    per_epoch = 45 if name == "digits" else 800
    epochs = max(EVALUATE_EPOCHS, round(seconds * PACE[name] / per_epoch))
    run = client.runs.create(spec_of(arm, epochs, dataset))
    seen: list[tuple[int, float]] = []
    while run.state not in ("succeeded", "failed"):
        time.sleep(0.5)
        run = client.runs.get(run.id)
        if run.progress.updated_at and run.progress.step:
            seen.append((run.progress.step, run.progress.updated_at.timestamp()))
    assert run.outcome == "completed", run.error
    return (seen[-1][0] - seen[0][0]) / (seen[-1][1] - seen[0][1])


def dataset_on(client: Client, name: str) -> str:
    if name == "digits":
        return name
    return client.datasets.upload(
        MNIST / "train-images-idx3-ubyte.gz",
        name="mnist",
        format="idx",
        targets=MNIST / "train-labels-idx1-ubyte.gz",
    ).id


def report(arm: str, pairs: int, seconds: float) -> None:
    with running() as (client, _):
        dataset = dataset_on(client, arm.split("-")[0])
        loops, runs = [loop_in_a_process(arm, seconds)], []
        for _ in range(pairs):
            runs.append(run_on(client, arm, dataset, seconds))
            loops.append(loop_in_a_process(arm, seconds))
    ratios = [run / ((a + b) / 2) for run, (a, b) in zip(runs, pairwise(loops), strict=True)]
    selves = [b / a for a, b in pairwise(loops)]
    low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
    self_low, self_high = np.quantile(selves, [0.25, 0.75])
    print(
        f"| {arm} | {middle:.3f} | {low:.3f}-{high:.3f} | {self_low:.3f}-{self_high:.3f} "
        f"| {statistics.median(runs):.0f} | {statistics.median(loops):.0f} | {pairs} |",
        flush=True,
    )


def costs(arm: str) -> None:
    """One evaluation, and one checkpoint written, flushed, loaded again and scored."""
    torch.set_num_threads(1)
    dataset = rows_of(arm.split("-")[0])
    checked = check(RunSpec.model_validate(spec_of(arm, 1)), dataset.facts, Limits(10**12, 10**15))
    spec, arrays = checked.spec, prepare(dataset, checked.spec, CPU)
    network, tensors = Training(checked, arrays, CPU).network, {}
    assert spec.loss is not None
    loss, evaluations, checkpoints = spec.loss.kind, [], []
    tensors = network.state_dict()
    rows = block_rows(checked.plan, item_bytes(spec))
    with tempfile.TemporaryDirectory() as folder:
        files = LocalFiles(Path(folder))
        for _ in range(20):
            began = time.perf_counter()
            evaluate(network, loss, arrays.test, rows)
            evaluations.append(time.perf_counter() - began)
            began = time.perf_counter()
            about = About(spec, dataset.facts, arrays.scaling, 1)
            written = write(files.scratch() / "one", tensors, about)
            files.put(written.path, "one.safetensors")
            loaded = load(files.local("one.safetensors"), written.sha256)
            evaluate(loaded.network, loss, arrays.test, loaded.block_rows)
            checkpoints.append(time.perf_counter() - began)
    print(
        f"{arm}: one evaluation {1e3 * statistics.median(evaluations):.2f} ms, "
        f"one checkpoint {1e3 * statistics.median(checkpoints):.2f} ms (medians of 20)"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--only", help="one of digits-batch, digits-none, mnist-batch, mnist-none")
    parser.add_argument("--loop", help="the plain loop alone")
    asked = parser.parse_args()
    if asked.loop:
        print(plain_loop(asked.loop, asked.seconds))
        return
    arms = (
        [asked.only] if asked.only else ["digits-batch", "digits-none", "mnist-batch", "mnist-none"]
    )
    print(
        "| arm | run / loop | quartiles | loop / loop quartiles "
        "| run steps/s | loop steps/s | pairs |"
    )
    print("|---|---|---|---|---|---|---|")
    for arm in arms:
        report(arm, asked.pairs, asked.seconds)
    for arm in arms:
        costs(arm)


if __name__ == "__main__":
    main()
