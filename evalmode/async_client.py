"""The client that awaits: `evalmode.AsyncClient`, the twin of `evalmode.client`.

Only a listing of the same procedures; a test holds the two to the same names and parameters.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from pydantic import PrivateAttr

from evalmode import (
    checkpoint_files,
    checkpoints,
    datasets,
    experiments,
    models,
    operations,
    revisions,
    runs,
    stream,
)
from evalmode.dressing import dressed
from evalmode.laboratory import ExperimentRecord
from evalmode.resources import OperationRecord, RunRecord
from evalmode.steps import Emitting, Request, Steps, fetch
from evalmode.transport import DEFAULT_URL, Awaiting, options

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class AsyncFront:
    """Holds the transport that its calls run on."""

    def __init__(self, transport: Awaiting) -> None:
        self._transport = transport


def call(procedure: Callable[P, Steps[T]]) -> Callable[Concatenate[AsyncFront, P], Awaitable[T]]:
    """A method that performs a procedure and returns what it returns."""

    async def method(front: AsyncFront, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await front._transport.run(procedure(*args, **kwargs))

    return dressed(method, procedure)


def each(
    procedure: Callable[P, Emitting[T]],
) -> Callable[Concatenate[AsyncFront, P], AsyncIterator[T]]:
    """A method that yields what a procedure emits."""

    def method(front: AsyncFront, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        return front._transport.iterate(procedure(*args, **kwargs))

    return dressed(method, procedure)


def call_bound(
    procedure: Callable[P, Steps[R]], bind: Callable[[AsyncFront, R], T]
) -> Callable[Concatenate[AsyncFront, P], Awaitable[T]]:
    """A method that binds what a procedure returns to its client."""

    async def method(front: AsyncFront, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return bind(front, await front._transport.run(procedure(*args, **kwargs)))

    return dressed(method, procedure)


def each_bound(
    procedure: Callable[P, Emitting[R]], bind: Callable[[AsyncFront, R], T]
) -> Callable[Concatenate[AsyncFront, P], AsyncIterator[T]]:
    """A method that binds each value that a procedure emits to its client."""

    def method(front: AsyncFront, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        found = front._transport.iterate(procedure(*args, **kwargs))
        return (bind(front, record) async for record in found)

    return dressed(method, procedure)


def bind_run(front: AsyncFront, record: RunRecord) -> "AsyncRun":
    """The same run, with methods that ask where it came from."""
    run = AsyncRun.model_construct(**dict(record))
    run._front = front
    return run


def bind_operation(front: AsyncFront, record: OperationRecord) -> "AsyncOperation":
    """The same operation, with methods that ask where it came from."""
    operation = AsyncOperation.model_construct(**dict(record))
    operation._front = front
    return operation


def bind_experiment(front: AsyncFront, record: ExperimentRecord) -> "AsyncExperiment":
    """The same experiment, with methods that ask where it came from."""
    experiment = AsyncExperiment.model_construct(**dict(record))
    experiment._front = front
    return experiment


class AsyncRuns(AsyncFront):
    """`client.runs`."""

    create = call_bound(runs.create, bind_run)
    check = call(runs.check)
    get = call_bound(runs.get, bind_run)
    list = each_bound(runs.list_all, bind_run)
    wait = call_bound(runs.wait, bind_run)
    cancel = call_bound(runs.cancel, bind_run)
    pause = call_bound(runs.pause, bind_run)
    resume = call_bound(runs.resume, bind_run)
    delete = call(runs.delete)
    metrics = call(runs.metrics)
    measurements = call(runs.measurements)
    events = each(stream.events)
    checkpoints = each(runs.checkpoints)
    history = call(runs.history)
    predict = call(runs.predict)
    predict_file = call(runs.predict_file)


class AsyncOperations(AsyncFront):
    """`client.operations`."""

    get = call_bound(operations.get, bind_operation)
    list = each_bound(operations.list_all, bind_operation)
    wait = call_bound(operations.wait, bind_operation)


class AsyncBound:
    """What can be asked further where it came from."""

    id: str
    _front: AsyncFront


def of_this(
    method: Callable[Concatenate[AsyncFront, str, P], T],
) -> Callable[Concatenate[AsyncBound, P], T]:
    """A method of a listing, asked of the one thing that it is called on."""

    def asked(bound: AsyncBound, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return method(bound._front, bound.id, *args, **kwargs)

    return dressed(asked, method, without=1)


class AsyncRunMethods(AsyncBound):
    """What a run can be asked; the service is asked, and nothing changes here."""

    refresh = of_this(AsyncRuns.get)
    wait = of_this(AsyncRuns.wait)
    cancel = of_this(AsyncRuns.cancel)
    pause = of_this(AsyncRuns.pause)
    resume = of_this(AsyncRuns.resume)
    delete = of_this(AsyncRuns.delete)
    series = of_this(AsyncRuns.metrics)  # the field `metrics` holds the summaries
    measurements = of_this(AsyncRuns.measurements)
    events = of_this(AsyncRuns.events)
    checkpoints = of_this(AsyncRuns.checkpoints)
    history = of_this(AsyncRuns.history)
    predict = of_this(AsyncRuns.predict)


class AsyncRun(AsyncRunMethods, RunRecord):
    """A run as it was last seen, bound to its client."""

    _front: AsyncFront = PrivateAttr()


class AsyncOperationMethods(AsyncBound):
    """What an operation can be asked; the service is asked, and nothing changes here."""

    refresh = of_this(AsyncOperations.get)
    wait = of_this(AsyncOperations.wait)


class AsyncOperation(AsyncOperationMethods, OperationRecord):
    """An operation as it was last seen, bound to its client."""

    _front: AsyncFront = PrivateAttr()


class AsyncExperiments(AsyncFront):
    """`client.experiments`."""

    kinds = call(experiments.kinds)
    create = call_bound(experiments.create, bind_experiment)
    check = call(experiments.check)
    get = call_bound(experiments.get, bind_experiment)
    list = each_bound(experiments.list_all, bind_experiment)
    wait = call_bound(experiments.wait, bind_experiment)
    cancel = call_bound(experiments.cancel, bind_experiment)
    delete = call(experiments.delete)
    report = call(experiments.report)
    page = call(experiments.page)
    figure = call(experiments.figure)


class AsyncExperimentMethods(AsyncBound):
    """What an experiment can be asked; the service is asked, and nothing changes here."""

    refresh = of_this(AsyncExperiments.get)
    wait = of_this(AsyncExperiments.wait)
    cancel = of_this(AsyncExperiments.cancel)
    delete = of_this(AsyncExperiments.delete)
    full_report = of_this(AsyncExperiments.report)  # the field `report` holds it in brief
    page = of_this(AsyncExperiments.page)
    figure = of_this(AsyncExperiments.figure)


class AsyncExperiment(AsyncExperimentMethods, ExperimentRecord):
    """An experiment as it was last seen, bound to its client."""

    _front: AsyncFront = PrivateAttr()


class AsyncCheckpoints(AsyncFront):
    """`client.checkpoints`."""

    get = call(checkpoints.get)
    delete = call(checkpoints.delete)
    statistics = call(checkpoints.statistics)
    diagnosis = call(checkpoints.diagnosis)
    diff = call(checkpoints.diff)
    history = call(checkpoints.history)
    recalibrate = call_bound(revisions.recalibrate, bind_operation)
    revise = call_bound(revisions.revise, bind_operation)
    revisions = each(revisions.list_all)
    download = call(checkpoint_files.download)
    export = call(checkpoint_files.export)
    import_file = call(checkpoint_files.import_file)


class AsyncModels(AsyncFront):
    """`client.models`."""

    put = call(models.put)
    alias = call(models.alias)
    drop_alias = call(models.drop_alias)
    list = each(models.list_all)
    get = call(models.get)
    delete = call(models.delete)
    predict = call(models.predict)
    predict_file = call(models.predict_file)
    drift = call(models.drift)


class AsyncDatasets(AsyncFront):
    """`client.datasets`."""

    upload = call(datasets.upload)
    list = each(datasets.list_all)
    get = call(datasets.get)
    delete = call(datasets.delete)


class AsyncClient(AsyncFront):
    """A service of Evalmode. Close it, or use it as a context, in one event loop.

    Args:
        base_url: where the service is.
        api_key: sent as a bearer token.
        timeout: seconds that one exchange may stand still; not the length of a `wait`.
    """

    def __init__(
        self, base_url: str = DEFAULT_URL, api_key: str | None = None, timeout: float = 30.0
    ) -> None:
        super().__init__(Awaiting(options(base_url, api_key, timeout)))
        self.runs = AsyncRuns(self._transport)
        self.operations = AsyncOperations(self._transport)
        self.checkpoints = AsyncCheckpoints(self._transport)
        self.models = AsyncModels(self._transport)
        self.datasets = AsyncDatasets(self._transport)
        self.experiments = AsyncExperiments(self._transport)

    async def capabilities(self) -> dict[str, Any]:
        """Networks, norms, datasets, devices and limits of the service."""
        return await self._transport.run(fetch(Request("GET", "/v1/capabilities"), dict))

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
