"""What a network would score that always names the most frequent class."""

from model.lab.results import Results, RunResult


def guessing(results: Results, run: RunResult) -> float | None:
    """The share of the most frequent class among a run's test rows.

    Returns:
        None where the targets are numbers, or there are no test rows.
    """
    classes = results.start(run).arrays.test.classes
    if classes is None or not len(classes):
        return None
    return float(classes.bincount().max()) / len(classes)
