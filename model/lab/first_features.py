"""What the first features of rows hold, for networks that look at no others."""

import torch

from model.lab.results import Results, RunResult

NEARLY_ALL = 0.99  # of the rows that have one and the same value


def hardly_vary(results: Results, run: RunResult, count: int) -> tuple[str, ...]:
    """In words, that most of a run's first features tell rows apart hardly or not at all.

    The first values of images are pixels of their upper edge.
    """
    rows = results.start(run).arrays.train.inputs.flatten(1)[:, :count]
    same = (rows == rows.mode(0).values).double().mean(0)
    still = int(torch.count_nonzero(same > NEARLY_ALL))
    if still <= rows.shape[1] / 2:
        return ()
    return (
        f"{still} of the first {rows.shape[1]} features have one value in more than 99 % of the "
        "training rows, as the blank edge of an image has: mini-batches have no deviation there. "
        "Norms without eps fail on them, and networks learn from the rest alone.",
    )
