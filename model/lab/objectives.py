"""The loss of a run's network before its first step, as a function of its parameters."""

from collections.abc import Callable

from model.lab.results import CPU, Start
from model.measures.objective import Objective
from model.measures.probe import MOST_ROWS, Block
from model.measures.rows import rows_of
from model.measures.shadow import seed_noise, shadow
from model.training.order import Order, batches
from model.training.randomness import stream

Moved = Callable[[], None]
MOST_BYTES = 2**29  # of activations of all rows in float64
FLOAT64 = 8


def on_training_rows(start: Start, moved: Moved = lambda: None) -> Objective:
    """On all training rows at once, statistics those of all of them.

    Of more rows than 2,000, or than leave 512 MiB of activations in float64, as many as that
    are drawn, but a mini-batch at least: the same ones for every run of the seed.

    Args:
        moved: called before every pass, of which many may take long.
    """
    train = start.arrays.train
    fitting = MOST_BYTES // (start.checked.plan.activations_per_row * FLOAT64)
    count = max(start.checked.batches.largest, min(MOST_ROWS, fitting))
    index = rows_of(start.checked, train).order[:count]
    return _objective(start, Block(train.inputs[index], train.targets[index]), moved)


def on_first_batch(start: Start, moved: Moved = lambda: None) -> Objective:
    """On the mini-batch of the run's first step.

    Args:
        moved: see `on_training_rows`.
    """
    spec, train = start.checked.spec, start.arrays.train
    sizes, generator = start.checked.batches.sizes, stream(spec.seed, "order")
    epoch = Order(len(train), sizes, spec.sampling, generator).epoch()
    first = next(batches(train.inputs, train.targets, epoch, 0))
    return _objective(start, Block(*first), moved)


def _objective(start: Start, block: Block, moved: Moved) -> Objective:
    seed = start.checked.spec.seed

    def again() -> None:
        moved()
        seed_noise(seed, CPU)

    return Objective(shadow(start.network), start.training.loss, block, again)
