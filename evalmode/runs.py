"""What can be asked of runs, as procedures: `client.runs` of both clients."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel

from evalmode.predictions import Extra, ask, ask_file
from evalmode.resources import (
    Checked,
    Checkpoint,
    Measurements,
    Metrics,
    Predictions,
    RunRecord,
)
from evalmode.statistics import History
from evalmode.steps import (
    Emitting,
    Request,
    Steps,
    exchange,
    fetch,
    given,
    once,
    pages,
    post_json,
)
from evalmode.waiting import until_ended

Spec = Mapping[str, Any] | BaseModel


def run_path(run: str, verb: str = "") -> str:
    """The path of a run, or of what can be asked of it."""
    place = f"/v1/runs/{quote(run, safe='')}"
    return f"{place}/{verb}" if verb else place


def create(
    spec: Spec | None = None, *, idempotency_key: str | None = None, **fields: Any
) -> Steps[RunRecord]:
    """Submit a run and return at once; `.wait()` on it waits for its end.

    Safe to repeat after a broken connection, which this does by itself.

    Args:
        spec: a spec as a mapping or `RunSpec`; may be left out when `fields` are all of it.
        idempotency_key: two calls with one key and one spec are one run; drawn if None.
        fields: fields of the spec (`dataset="digits"`); they win over `spec`.

    Raises:
        Invalid: the spec cannot work; `errors` names the fields.
    """
    request = post_json("/v1/runs", spec_body(spec, fields), once(idempotency_key))
    return fetch(request, RunRecord.model_validate)


def check(spec: Spec | None = None, **fields: Any) -> Steps[Checked]:
    """Check a spec, fill in its defaults and count its cost; queues nothing.

    Raises:
        Invalid: the spec cannot work; `errors` names the fields.
    """
    request = post_json("/v1/runs", spec_body(spec, fields), query={"validate_only": "true"})
    return fetch(request, Checked.model_validate)


def spec_body(spec: Spec | None, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON body of a spec and the fields that win over it."""
    if isinstance(spec, BaseModel):
        spec = spec.model_dump(mode="json", exclude_unset=True)
    return {**(spec or {}), **fields}


def get(run: str) -> Steps[RunRecord]:
    """One run by its id."""
    return fetch(Request("GET", run_path(run)), RunRecord.model_validate)


def list_all(
    state: str | None = None,
    labels: Mapping[str, str] | None = None,
    experiment: str | None = None,
) -> Emitting[RunRecord]:
    """Every run, newest first; pages are fetched as they are needed.

    Args:
        state: only runs in this state.
        labels: only runs with all of these labels.
        experiment: only runs of this experiment.
    """
    query = {f"label.{key}": value for key, value in (labels or {}).items()}
    query |= given(state=state, experiment=experiment)
    return pages("/v1/runs", query, RunRecord.model_validate)


def wait(run: str, timeout: float | None = None, poll: float = 1.0) -> Steps[RunRecord]:
    """Wait until a run has ended, however it ended, and return it.

    Args:
        run: its id.
        timeout: seconds after which to give up; None never does.
        poll: longest seconds between two looks; the first ones come sooner.

    Raises:
        WaitTimeout: the run had not ended in time; it goes on.
    """
    return until_ended(lambda: get(run), timeout, poll)


def cancel(run: str) -> Steps[RunRecord]:
    """Ask a run to end; the state says when it has.

    Raises:
        Conflict: the run has ended otherwise.
    """
    return _move(run, "cancel")


def pause(run: str) -> Steps[RunRecord]:
    """Ask a run to save its place and give its slot back.

    Raises:
        Conflict: the run has ended or is ending.
    """
    return _move(run, "pause")


def resume(run: str) -> Steps[RunRecord]:
    """Queue a paused run again; it goes on exactly where it stopped.

    Raises:
        Conflict: the run is not paused.
    """
    return _move(run, "resume")


def _move(run: str, verb: str) -> Steps[RunRecord]:
    return fetch(Request("POST", run_path(run, verb)), RunRecord.model_validate)


def delete(run: str) -> Steps[None]:
    """Delete an ended run with its files.

    Raises:
        Conflict: the run has not ended.
    """
    yield from exchange(Request("DELETE", run_path(run)))


def metrics(
    run: str, *names: str, from_step: int = 0, max_points: int | None = None
) -> Steps[Metrics]:
    """Series of a run; all of them when no name is given."""
    query = {"from_step": str(from_step)}
    if names:
        query["names"] = ",".join(names)
    if max_points is not None:
        query["max_points"] = str(max_points)
    return fetch(Request("GET", run_path(run, "metrics"), query), Metrics.model_validate)


def measurements(
    run: str,
    *,
    kinds: Sequence[str] | None = None,
    from_step: int = 0,
    max_points: int | None = None,
) -> Steps[Measurements]:
    """What the measures of a run found, probe by probe.

    Args:
        run: its id.
        kinds: of which measures; None: of all that it has taken.
        from_step: first step wanted.
        max_points: most probes of one measure; more are sampled, and `sampled` says so.

    Raises:
        Invalid: no measure is of such a kind, or the answer would be too large.
    """
    query = {"from_step": str(from_step)}
    if kinds is not None:
        query["kinds"] = ",".join(kinds)
    if max_points is not None:
        query["max_points"] = str(max_points)
    return fetch(Request("GET", run_path(run, "measurements"), query), Measurements.model_validate)


def checkpoints(run: str) -> Emitting[Checkpoint]:
    """The checkpoints that a run's spec asked for, newest first."""
    return pages(run_path(run, "checkpoints"), {}, Checkpoint.model_validate)


def history(run: str) -> Steps[History]:
    """Running statistics beside those of batches and of all rows, checkpoint by checkpoint."""
    request = Request("GET", run_path(run, "statistics/history"))
    return fetch(request, History.model_validate)


def predict(
    run: str, inputs: Any, *extra: Extra, revision: str | None = None
) -> Steps[Predictions]:
    """Ask a run's checkpoint, in eval mode.

    Args:
        run: its id.
        inputs: numpy array or lists, (rows, *input_shape), raw as the dataset holds them;
            one axis is one row. Taken as float32.
        extra: `"probabilities"`, `"logits"` or both, to be answered too.
        revision: name of other running statistics of the checkpoint to answer with.

    Raises:
        Conflict: the run has no checkpoint yet.
        Invalid: rows of another shape, or numbers that are not finite.
        NotFound: the checkpoint has no such revision.
    """
    return ask(run_path(run, "predict"), inputs, extra, revision)


def predict_file(
    run: str, path: Path, media_type: str, revision: str | None = None
) -> Steps[Predictions]:
    """Ask a run's checkpoint for the rows of a `.npy` file or for one image, sent as it is."""
    return ask_file(run_path(run, "predict"), path, media_type, revision)
