"""What watching for drift costs: predictions per second, watched and unwatched, side by side.

One thread asks for predictions without a pause, which is when watching costs most: in a quiet
time some credit is saved up for it. Slices of 20 ms alternate between a watched network and two
unwatched ones of the same checkpoint, which tell how far two equal ones are apart. The clock is
the thread's own processor time, in which other processes take no part. The watched network has
half of the time, so it gets half of the share of all time.

    python benchmarks/drift.py [--pairs 21] [--slices 24] [--only 64-100-10]

The promise: watching costs at most 5 % of the predictions.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from model.checkpoint import About, Loaded, assembled
from model.data.dataset import Facts
from model.data.scaling import Scaling
from model.networks.build import build
from model.networks.init import initialize
from model.plan import plan
from model.predict import Predictor
from model.spec import RunSpec
from model.statistics.drift.monitor import SHARE, Monitor
from model.statistics.drift.reference import running
from model.statistics.drift.thresholds import Thresholds

SLICE_SECONDS = 0.02
WARM_SECONDS = 1.0
WINDOWS = (32, 64, 128, 256, 512)
NETWORKS = {"64-100-10": (64, [100]), "784-256-256-10": (784, [256, 256])}
BATCHES = (1, 32, 256)

Predict = Callable[[], object]
Rows = npt.NDArray[np.float32]


def checkpoint(name: str) -> Loaded:
    """A network with statistics of random batches."""
    width, hidden = NETWORKS[name]
    network = {"kind": "mlp", "hidden": hidden}
    spec = RunSpec.model_validate({"dataset": "any", "network": network, "norm": "batch"})
    classes = tuple(str(digit) for digit in range(10))
    facts = Facts(1000, (width,), classes, 10, "classification", None, None, False, "sha256:0")
    planned = plan(spec, facts)
    built = build(planned)
    generator = torch.Generator().manual_seed(0)
    initialize(built, planned, spec.init, generator)
    for _ in range(50):
        built(torch.randn(64, width, generator=generator))
    scaling = Scaling.fit("standard", drawn(1000, width), False)
    return assembled(built.state_dict(), About(spec, facts, scaling, 50))


def drawn(rows: int, width: int) -> Rows:
    return np.random.default_rng(0).standard_normal((rows, width), np.float32)


def monitor(loaded: Loaded) -> Monitor:
    references = running(loaded.network)
    names = tuple(reference.name for reference in references)
    limits = {size: (1.0,) * len(names) for size in WINDOWS}
    return Monitor(references, Thresholds(4096, names, limits), 10, SHARE / 2)


def unwatched(loaded: Loaded, calibration: Rows | None, rows: Rows) -> Predict:
    predictor = Predictor(loaded, calibration)
    return lambda: predictor.logits(rows)


def watched(loaded: Loaded, calibration: Rows | None, rows: Rows, drift: Monitor) -> Predict:
    predictor = Predictor(loaded, calibration)

    def predict() -> None:
        with drift.watching(predictor.watch(), len(rows)):
            predictor.logits(rows)

    return predict


def paces(arms: tuple[Predict, ...], slices: int) -> list[float]:
    """Predictions per second of each arm, taken by turns."""
    calls, seconds = [0] * len(arms), [0.0] * len(arms)
    for _ in range(slices):
        for index, predict in enumerate(arms):
            done, taken = slice_of(predict, SLICE_SECONDS)
            calls[index] += done
            seconds[index] += taken
    return [done / taken for done, taken in zip(calls, seconds, strict=True)]


def slice_of(predict: Predict, seconds: float) -> tuple[int, float]:
    """How many predictions there were, and in how many seconds of this thread."""
    calls, began = 0, time.thread_time()
    while time.thread_time() < began + seconds:
        predict()
        calls += 1
    return calls, time.thread_time() - began


def report(name: str, is_folded: bool, batch: int, pairs: int, slices: int) -> None:
    loaded, rows = checkpoint(name), drawn(1000, NETWORKS[name][0])
    drift, calibration = monitor(loaded), rows if is_folded else None
    plain, other = (unwatched(loaded, calibration, rows[:batch]) for _ in range(2))
    beside = watched(loaded, calibration, rows[:batch], drift)
    arms = (plain, beside, other, beside)
    paces(arms, round(WARM_SECONDS / SLICE_SECONDS))
    taken = np.array([paces(arms, slices) for _ in range(pairs)])
    assert drift.state().rows == WINDOWS[-1]
    unwatched_pace, watched_pace = taken[:, [0, 2]].mean(1), taken[:, [1, 3]].mean(1)
    print(
        f"| {name} | {'folded' if is_folded else 'as trained'} | {batch} "
        f"| {quartiles(watched_pace / unwatched_pace)} | {quartiles(taken[:, 2] / taken[:, 0])} "
        f"| {batch * np.median(unwatched_pace):.0f} | {pairs} |",
        flush=True,
    )


def quartiles(ratios: npt.NDArray[np.float64]) -> str:
    low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
    return f"{middle:.3f} | {low:.3f}-{high:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=21)
    parser.add_argument("--slices", type=int, default=24)
    parser.add_argument("--only", choices=NETWORKS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print(
        "| network | form | rows | watched / unwatched | quartiles "
        "| unwatched / unwatched | quartiles | unwatched rows/s | pairs |"
    )
    print("|---|---|--:|--:|---|--:|---|--:|--:|")
    for name in [asked.only] if asked.only else NETWORKS:
        for is_folded in (False, True):
            for batch in BATCHES:
                report(name, is_folded, batch, asked.pairs, asked.slices)


if __name__ == "__main__":
    main()
