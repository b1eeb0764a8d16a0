"""Whether an arm keeps more than half of what one arm has over another."""

from model.lab.compare import Of, paired
from model.lab.results import Results
from model.lab.verdict import Declared, OfSeed


def above_midway(
    results: Results, declared: Declared, arm: str, below: str, above: str, of: Of
) -> list[OfSeed]:
    """An arm less the middle of two others, of every seed that all three have.

    It is finite however small the gap of the two is, where a share of the gap is not. A bound of
    any of the three says nothing of it.

    Args:
        declared: of a difference.
        below, above: the arms whose middle it is; exchanging them changes nothing.
    """
    ours = paired(results, declared, arm, below, of)
    gaps = {one.seed: one for one in paired(results, declared, above, below, of)}
    return [_above_half(one, gaps[one.seed]) for one in ours if one.seed in gaps]


def _above_half(ours: OfSeed, gap: OfSeed) -> OfSeed:
    note = "; ".join(dict.fromkeys(text for text in (ours.note, gap.note) if text))
    if ours.value is None or gap.value is None or ours.bound or gap.bound:
        return OfSeed(ours.seed, None, note)
    return OfSeed(ours.seed, ours.value - gap.value / 2, note)
