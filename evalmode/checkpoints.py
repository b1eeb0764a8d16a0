"""What can be asked of checkpoints, as procedures: `client.checkpoints` of both clients.

What moves their files is in `evalmode.checkpoint_files`, what makes new ones out of them in
`evalmode.revisions`.
"""

from urllib.parse import quote

from evalmode.resources import Checkpoint
from evalmode.statistics import Diagnosis, Diff, History, Statistics
from evalmode.steps import Request, Steps, exchange, fetch, given


def checkpoint_path(checkpoint: str, what: str = "") -> str:
    """The path of a checkpoint, or of what can be asked of it."""
    place = f"/v1/checkpoints/{quote(checkpoint, safe='')}"
    return f"{place}/{what}" if what else place


def get(checkpoint: str) -> Steps[Checkpoint]:
    """One checkpoint by its id."""
    return fetch(Request("GET", checkpoint_path(checkpoint)), Checkpoint.model_validate)


def delete(checkpoint: str) -> Steps[None]:
    """Delete a revision, or an imported checkpoint with its revisions.

    Raises:
        Conflict: a run trained it, so that it goes with the run; or a model serves it, or an
            operation works on it.
    """
    yield from exchange(Request("DELETE", checkpoint_path(checkpoint)))


def statistics(
    checkpoint: str, layer: str | None = None, values: bool = False
) -> Steps[Statistics]:
    """The running statistics with gain and bias, layer by layer.

    Args:
        checkpoint: its id.
        layer: the only layer to tell of, by its state-dict prefix.
        values: also the vectors, one number per channel.

    Raises:
        Invalid: there is no such layer.
    """
    query = given(layer=layer, values="true" if values else None)
    request = Request("GET", checkpoint_path(checkpoint, "statistics"), query)
    return fetch(request, Statistics.model_validate)


def diagnosis(checkpoint: str) -> Steps[Diagnosis]:
    """What is wrong with the running statistics, with a remedy for each finding."""
    request = Request("GET", checkpoint_path(checkpoint, "diagnosis"))
    return fetch(request, Diagnosis.model_validate)


def diff(checkpoint: str, other: str) -> Steps[Diff]:
    """How far the running statistics of two checkpoints are apart, layer by layer."""
    request = Request("GET", checkpoint_path(checkpoint, "diff"), {"with": other})
    return fetch(request, Diff.model_validate)


def history(checkpoint: str) -> Steps[History]:
    """Running statistics beside those of batches and of all rows, up to this checkpoint."""
    request = Request("GET", checkpoint_path(checkpoint, "statistics/history"))
    return fetch(request, History.model_validate)
