"""What an answer must be told with: running statistics that still hold what they began with."""

from dataclasses import dataclass

from model.checkpoint import Loaded
from model.norms.lag import MOST_SHARE, trustworthy_step
from model.statistics.layers import NormState, norm_states


@dataclass(frozen=True)
class Caution:
    """Why an answer is to be taken with care."""

    reason: str  # of the finding that says more
    message: str


def cautions_of(loaded: Loaded) -> tuple[Caution, ...]:
    """One where more than 5 % of the initial 0 and 1 is left in some norm layer.

    It is about the layer with the largest share. Layers of unknown age are not judged.
    """
    known = loaded.about.evidence()
    shares = [
        (known.share(state.name, state.momentum, state.counter), state)
        for state in norm_states(loaded.network)
    ]
    left = [(share, state) for share, state in shares if share is not None and share > MOST_SHARE]
    if not left:
        return ()
    share, state = max(left, key=lambda pair: pair[0])
    by_counter = known.initial_share is None
    message = f"{share:.0%} of the running statistics are still the 0 and 1 that they began with"
    return (Caution("BN_STATS_LAG", f"{message}: {_since(state) if by_counter else _MIXED}."),)


_MIXED = "they were mixed from older ones that had not forgotten them"


def _since(state: NormState) -> str:
    first, seen = trustworthy_step(state.momentum), max(0, state.counter)
    since = f"from step {first:,}" if first is not None else "at no step, with this momentum"
    batches = "1 batch" if seen == 1 else f"{seen:,} batches"
    return f"eval mode is trustworthy {since}; these statistics have seen {batches}"
