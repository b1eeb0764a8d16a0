"""What can be asked of experiments, as procedures: `client.experiments` of both clients."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from evalmode.laboratory import CheckedExperiment, ExperimentRecord, Kind, Report
from evalmode.saving import Saving
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

PATH = "/v1/experiments"


def experiment_path(experiment: str, part: str = "") -> str:
    """The path of an experiment, or of what can be asked of it."""
    place = f"{PATH}/{quote(experiment, safe='')}"
    return f"{place}/{part}" if part else place


def kinds() -> Steps[list[Kind]]:
    """Every kind of experiment: what it claims, and the JSON Schema of its params."""
    return fetch(Request("GET", f"{PATH}/kinds"), _kinds)


def create(
    kind: str,
    params: Mapping[str, Any] | None = None,
    seeds: Sequence[int] | None = None,
    *,
    idempotency_key: str | None = None,
) -> Steps[ExperimentRecord]:
    """Queue all runs of an experiment and return at once; `.wait()` on it waits for its report.

    Safe to repeat after a broken connection, which this does by itself.

    Args:
        kind: one of `kinds`.
        params: what the kind is told; the service fills in the rest.
        seeds: every arm is trained once on each; None: 0, 1 and 2.
        idempotency_key: two calls with one key and one request are one experiment; drawn if None.

    Raises:
        Invalid: it cannot work; `errors` names the fields.
    """
    request = post_json(PATH, _body(kind, params, seeds), once(idempotency_key))
    return fetch(request, ExperimentRecord.model_validate)


def check(
    kind: str, params: Mapping[str, Any] | None = None, seeds: Sequence[int] | None = None
) -> Steps[CheckedExperiment]:
    """Plan an experiment, check every run of it and estimate how long it takes; queues nothing.

    Raises:
        Invalid: it cannot work; `errors` names the fields.
    """
    request = post_json(PATH, _body(kind, params, seeds), query={"validate_only": "true"})
    return fetch(request, CheckedExperiment.model_validate)


def get(experiment: str) -> Steps[ExperimentRecord]:
    """One experiment by its id."""
    return fetch(Request("GET", experiment_path(experiment)), ExperimentRecord.model_validate)


def list_all(state: str | None = None) -> Emitting[ExperimentRecord]:
    """Every experiment, newest first; pages are fetched as they are needed.

    Args:
        state: only experiments in this state.
    """
    query = {} if state is None else {"state": state}
    return pages(PATH, query, ExperimentRecord.model_validate)


def wait(
    experiment: str, timeout: float | None = None, poll: float = 1.0
) -> Steps[ExperimentRecord]:
    """Wait until an experiment has ended, with its report or without, and return it.

    Args:
        experiment: its id.
        timeout: seconds after which to give up; None never does.
        poll: longest seconds between two looks; the first ones come sooner.

    Raises:
        WaitTimeout: the experiment had not ended in time; it goes on.
    """
    return until_ended(lambda: get(experiment), timeout, poll)


def cancel(experiment: str) -> Steps[ExperimentRecord]:
    """End an experiment and those of its runs that go on; no report is made.

    Raises:
        Conflict: the experiment has ended otherwise.
    """
    request = Request("POST", experiment_path(experiment, "cancel"))
    return fetch(request, ExperimentRecord.model_validate)


def delete(experiment: str) -> Steps[None]:
    """Delete an ended experiment with its report; its runs stay.

    Raises:
        Conflict: the experiment has not ended.
    """
    yield from exchange(Request("DELETE", experiment_path(experiment)))


def report(experiment: str) -> Steps[Report]:
    """The whole report of an experiment.

    Raises:
        Conflict: it is not there, or not yet; `metadata["state"]` tells the state.
    """
    return fetch(Request("GET", experiment_path(experiment, "report")), Report.model_validate)


def page(experiment: str, path: str | Path) -> Steps[Path]:
    """Save the report as one page of HTML that needs no network.

    The path exists only once all bytes are there and are those of the answer's sha256.

    Raises:
        Conflict: it is not there, or not yet.
        BadAnswer: the bytes have another checksum.
    """
    return _saved(experiment_path(experiment, "report.html"), path)


def figure(experiment: str, name: str, path: str | Path) -> Steps[Path]:
    """Save a figure of the report, in the form that the path's ending names.

    Args:
        experiment: its id.
        name: of the figure, as the report has it.
        path: ends in `.svg` or `.png`, or in `.json` or `.csv` for the numbers.

    Raises:
        NotFound: the report has no such figure.
        Conflict: there is no report, or not yet.
        BadAnswer: the bytes have another checksum.
    """
    form = Path(path).suffix.lower() or ".svg"
    return _saved(experiment_path(experiment, f"figures/{quote(name, safe='')}{form}"), path)


def _saved(place: str, path: str | Path) -> Steps[Path]:
    answer = yield from exchange(Request("GET", place))
    with Saving(path) as file:
        file.write(answer.body)
        return file.keep(answer.headers.get("etag", "").strip('"'))


def _body(
    kind: str, params: Mapping[str, Any] | None, seeds: Sequence[int] | None
) -> dict[str, Any]:
    return given(kind=kind, params=params, seeds=None if seeds is None else list(seeds))


def _kinds(body: Mapping[str, Any]) -> list[Kind]:
    return [Kind.model_validate(one) for one in body["data"]]
