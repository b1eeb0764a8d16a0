"""The client that blocks: `evalmode.Client`. `evalmode.async_client` is its twin that awaits.

Only a listing: what a call takes, does, raises and returns is said where it is written, once
for both, in `evalmode.runs` and the other modules that the listings name.
"""

from collections.abc import Callable, Iterator
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
from evalmode.transport import DEFAULT_URL, Blocking, options

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Front:
    """Holds the transport that its calls run on."""

    def __init__(self, transport: Blocking) -> None:
        self._transport = transport


def call(procedure: Callable[P, Steps[T]]) -> Callable[Concatenate[Front, P], T]:
    """A method that performs a procedure and returns what it returns."""

    def method(front: Front, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return front._transport.run(procedure(*args, **kwargs))

    return dressed(method, procedure)


def each(procedure: Callable[P, Emitting[T]]) -> Callable[Concatenate[Front, P], Iterator[T]]:
    """A method that yields what a procedure emits."""

    def method(front: Front, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return front._transport.iterate(procedure(*args, **kwargs))

    return dressed(method, procedure)


def call_bound(
    procedure: Callable[P, Steps[R]], bind: Callable[[Front, R], T]
) -> Callable[Concatenate[Front, P], T]:
    """A method that binds what a procedure returns to its client."""

    def method(front: Front, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return bind(front, front._transport.run(procedure(*args, **kwargs)))

    return dressed(method, procedure)


def each_bound(
    procedure: Callable[P, Emitting[R]], bind: Callable[[Front, R], T]
) -> Callable[Concatenate[Front, P], Iterator[T]]:
    """A method that binds each value that a procedure emits to its client."""

    def method(front: Front, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        found = front._transport.iterate(procedure(*args, **kwargs))
        return (bind(front, record) for record in found)

    return dressed(method, procedure)


def bind_run(front: Front, record: RunRecord) -> "Run":
    """The same run, with methods that ask where it came from."""
    run = Run.model_construct(**dict(record))
    run._front = front
    return run


def bind_operation(front: Front, record: OperationRecord) -> "Operation":
    """The same operation, with methods that ask where it came from."""
    operation = Operation.model_construct(**dict(record))
    operation._front = front
    return operation


def bind_experiment(front: Front, record: ExperimentRecord) -> "Experiment":
    """The same experiment, with methods that ask where it came from."""
    experiment = Experiment.model_construct(**dict(record))
    experiment._front = front
    return experiment


class Runs(Front):
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


class Operations(Front):
    """`client.operations`."""

    get = call_bound(operations.get, bind_operation)
    list = each_bound(operations.list_all, bind_operation)
    wait = call_bound(operations.wait, bind_operation)


class Bound:
    """What can be asked further where it came from."""

    id: str
    _front: Front


def of_this(
    method: Callable[Concatenate[Front, str, P], T],
) -> Callable[Concatenate[Bound, P], T]:
    """A method of a listing, asked of the one thing that it is called on."""

    def asked(bound: Bound, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return method(bound._front, bound.id, *args, **kwargs)

    return dressed(asked, method, without=1)


class RunMethods(Bound):
    """What a run can be asked; the service is asked, and nothing changes here."""

    refresh = of_this(Runs.get)
    wait = of_this(Runs.wait)
    cancel = of_this(Runs.cancel)
    pause = of_this(Runs.pause)
    resume = of_this(Runs.resume)
    delete = of_this(Runs.delete)
    series = of_this(Runs.metrics)  # the field `metrics` holds the summaries
    measurements = of_this(Runs.measurements)
    events = of_this(Runs.events)
    checkpoints = of_this(Runs.checkpoints)
    history = of_this(Runs.history)
    predict = of_this(Runs.predict)


class Run(RunMethods, RunRecord):
    """A run as it was last seen, bound to its client."""

    _front: Front = PrivateAttr()


class OperationMethods(Bound):
    """What an operation can be asked; the service is asked, and nothing changes here."""

    refresh = of_this(Operations.get)
    wait = of_this(Operations.wait)


class Operation(OperationMethods, OperationRecord):
    """An operation as it was last seen, bound to its client."""

    _front: Front = PrivateAttr()


class Experiments(Front):
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


class ExperimentMethods(Bound):
    """What an experiment can be asked; the service is asked, and nothing changes here."""

    refresh = of_this(Experiments.get)
    wait = of_this(Experiments.wait)
    cancel = of_this(Experiments.cancel)
    delete = of_this(Experiments.delete)
    full_report = of_this(Experiments.report)  # the field `report` holds it in brief
    page = of_this(Experiments.page)
    figure = of_this(Experiments.figure)


class Experiment(ExperimentMethods, ExperimentRecord):
    """An experiment as it was last seen, bound to its client."""

    _front: Front = PrivateAttr()


class Checkpoints(Front):
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


class Models(Front):
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


class Datasets(Front):
    """`client.datasets`."""

    upload = call(datasets.upload)
    list = each(datasets.list_all)
    get = call(datasets.get)
    delete = call(datasets.delete)


class Client(Front):
    """A service of Evalmode. Close it, or use it as a context; threads may share it.

    Args:
        base_url: where the service is.
        api_key: sent as a bearer token.
        timeout: seconds that one exchange may stand still; not the length of a `wait`.
    """

    def __init__(
        self, base_url: str = DEFAULT_URL, api_key: str | None = None, timeout: float = 30.0
    ) -> None:
        super().__init__(Blocking(options(base_url, api_key, timeout)))
        self.runs = Runs(self._transport)
        self.operations = Operations(self._transport)
        self.checkpoints = Checkpoints(self._transport)
        self.models = Models(self._transport)
        self.datasets = Datasets(self._transport)
        self.experiments = Experiments(self._transport)

    def capabilities(self) -> dict[str, Any]:
        """Networks, norms, datasets, devices and limits of the service."""
        return self._transport.run(fetch(Request("GET", "/v1/capabilities"), dict))

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
