"""Running statistics beside those of training rows, at every checkpoint of a run."""

from dataclasses import dataclass

from model.lab.errors import held_out, recomputed
from model.lab.results import Results, RunResult
from model.training.evaluate import evaluate


@dataclass(frozen=True)
class Calibrated:
    """The held-out loss of one checkpoint by both statistics; it may not be finite."""

    step: int
    running: float
    recomputed: float  # by mean and deviation of training rows, layer by layer


def calibrations(results: Results, run: RunResult) -> tuple[Calibrated, ...]:
    """Every checkpoint by ascending step; the run's loss is cross-entropy."""
    start = results.start(run)
    part, loss = held_out(start), start.checked.spec.loss
    assert loss is not None
    found = []
    for kept in run.checkpoints:
        loaded = results.trained(run, kept.step)
        assert loaded is not None
        losses = (
            evaluate(network, loss.kind, part, loaded.block_rows)["loss"]
            for network in (loaded.network, recomputed(loaded, start))
        )
        found.append(Calibrated(kept.step, *losses))
    return tuple(found)
