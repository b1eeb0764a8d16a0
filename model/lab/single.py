"""One arm judged by itself, seed by seed, against a bound instead of against another arm."""

from model.lab.compare import Of
from model.lab.results import Results
from model.lab.verdict import OfSeed


def beyond(results: Results, arm: str, of: Of, bound: float = 0.0) -> list[OfSeed]:
    """What each run of an arm comes to, less the bound.

    Args:
        of: a difference within one run, or a share, in the unit of the bound.
    """
    found = [(run.seed, of(run)) for run in results.of(arm)]
    return [
        OfSeed(seed, None if one.value is None else one.value - bound, one.note, one.bound)
        for seed, one in found
    ]
