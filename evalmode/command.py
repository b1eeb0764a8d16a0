"""The command line: `evalmode up | demo | submit | watch | predict | diagnose | lab | …`.

Each command turns words into calls; what they have in common is in `evalmode.plainly`.
"""

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from core import logs
from core.settings import load
from evalmode import lab_commands, overview, repairing, submission
from evalmode.client import Operation, Run
from evalmode.demo import Tour
from evalmode.plainly import AsJson, Url, connect, plainly
from evalmode.resources import Predictions
from evalmode.revisions import Method
from evalmode.rows import check_file, media_type, read_rows
from evalmode.service import own_service
from evalmode.submission import Flags
from evalmode.transport import DEFAULT_URL
from evalmode.up import up as serve
from evalmode.watching import line
from evalmode.watching import watch as show

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Trains networks with and without batch norm, and serves them in eval mode.",
)

RunId = Annotated[str, typer.Argument(help="Id of a run: run_…", metavar="RUN")]
Which = Annotated[
    str, typer.Argument(help="Its id, or a run's for its newest.", metavar="CHECKPOINT")
]


@app.command()
@plainly
def up(
    host: Annotated[str | None, typer.Option(help="Address to bind. [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="0 takes a free one. [default: 8000]")] = None,
    data: Annotated[Path | None, typer.Option(help="Data folder. [default: ./data]")] = None,
    slots: Annotated[int | None, typer.Option(help="Cores for runs. [default: all]")] = None,
    api_processes: Annotated[int | None, typer.Option(help="API processes. [default: 1]")] = None,
) -> None:
    """Start Redis, a worker and the API on this machine, and keep them alive.

    Prints `ready http://host:port` on standard output, and logs on standard error.
    """
    given = {
        "host": host,
        "port": port,
        "data": data,
        "slots": slots,
        "api_processes": api_processes,
    }
    settings = load(**{name: value for name, value in given.items() if value is not None})
    logs.configure(settings.log_level)
    serve(settings, lambda url: typer.echo(f"ready {url}"))


@app.command()
@plainly
def demo(
    url: Annotated[str | None, typer.Option(help="Use a running service.")] = None,
    as_json: AsJson = False,
) -> None:
    """Train digits with and without batch norm, and predict digits that no run has seen."""
    console = Console()
    with _service(url) as address, connect(address) as client:
        shown = Tour(client, console).run()
    if as_json:
        typer.echo(json.dumps(shown))


@contextmanager
def _service(url: str | None) -> Iterator[str]:
    if url is not None:
        yield url
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with own_service(slots=2) as address:
        yield address


@app.command()
@plainly
def submit(
    spec: Annotated[Path | None, typer.Argument(help="JSON file of a spec.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Name or id.")] = None,
    hidden: Annotated[str | None, typer.Option(help="Units of hidden layers: 100,100")] = None,
    activation: Annotated[str | None, typer.Option(help="After each hidden layer.")] = None,
    norm: Annotated[str | None, typer.Option(help="Kind: none, batch, layer, group, …")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Rows a step.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training rows.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything random.")] = None,
    name: Annotated[str | None, typer.Option(help="For people.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="key=value, repeatable.")] = None,
    watch_it: Annotated[bool, typer.Option("--watch", help="Watch it to its end.")] = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Submit a run from a JSON file, from flags, or from both; flags win."""
    flags = Flags(
        *(dataset, hidden, activation, norm, lr, batch_size, epochs, seed, name),
        labels=tuple(label or ()),
    )
    with connect(url) as client:
        run = client.runs.create(submission.build(spec, flags))
        if watch_it:
            _watch(run, as_json)
        else:
            typer.echo(run.model_dump_json() if as_json else f"{run.id} {run.state}")


@app.command()
@plainly
def watch(run: RunId, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Show a run until it has ended; exit code 0 when it succeeded."""
    with connect(url) as client:
        _watch(client.runs.get(run), as_json)


def _watch(run: Run, as_json: bool) -> None:
    (ended,) = show([run], Console(stderr=as_json))
    if as_json:
        typer.echo(ended.model_dump_json())
    _require_success(ended)
    if not as_json:
        typer.echo(line(ended) + f"  checkpoint {ended.checkpoint}")


def _require_success(ended: Run | Operation) -> None:
    if ended.state != "succeeded":
        why = f": {ended.error.message}" if ended.error else ""
        typer.echo(f"evalmode: {ended.id} {ended.state}{why}", err=True)
        raise typer.Exit(1)


@app.command()
@plainly
def predict(
    run: RunId,
    file: Annotated[Path, typer.Argument(help="Rows in .npy, .csv or .json, or one image.")],
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Ask a run's checkpoint for every row of a file, in eval mode."""
    check_file(file)
    with connect(url) as client:
        known = media_type(file)
        if known is None:
            answer = client.runs.predict(run, read_rows(file))
        else:
            answer = client.runs.predict_file(run, file, known)
    told = answer.model_dump_json(exclude_none=True)
    typer.echo(told if as_json else "\n".join(_answer_lines(answer)))


def _answer_lines(answer: Predictions) -> Iterator[str]:
    for index, one in enumerate(answer.predictions):
        chance = "" if one.probability is None else f"  {one.probability:.4f}"
        values = "" if one.values is None else "  ".join(str(value) for value in one.values)
        yield f"{index}  {values}{one.label or ''}{chance}"
    model = answer.model
    yield f"mode {model.mode}, checkpoint {model.checkpoint}, statistics {model.statistics}"


@app.command()
@plainly
def diagnose(which: Which, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Tell what is wrong with running statistics; exit code 1 when a finding is an error."""
    with connect(url) as client:
        found = client.checkpoints.diagnosis(repairing.checkpoint_of(client, which))
    typer.echo(found.model_dump_json() if as_json else "\n".join(repairing.findings(found)))
    if found.errors:
        raise typer.Exit(1)


@app.command()
@plainly
def recalibrate(
    which: Which,
    method: Annotated[Method, typer.Option(help="How to measure.")] = "precise",
    dataset: Annotated[str | None, typer.Option(help="Name or id; else its own.")] = None,
    rows: Annotated[int | None, typer.Option(help="How many; else all that trained.")] = None,
    source_rows: Annotated[int | None, typer.Option(help="adapt: weight of the old.")] = None,
    name: Annotated[str | None, typer.Option(help="Of the revision; else r1, r2, …")] = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Measure running statistics anew: a new checkpoint with the same weights."""
    with connect(url) as client:
        checkpoint = repairing.checkpoint_of(client, which)
        begun = client.checkpoints.recalibrate(
            checkpoint, method, dataset=dataset, rows=rows, source_rows=source_rows, name=name
        )
        ended = repairing.follow(begun, Console(stderr=as_json))
    if as_json:
        typer.echo(ended.model_dump_json())
    _require_success(ended)
    if not as_json and ended.result is not None:
        typer.echo("\n".join(repairing.outcome(ended.result)))


@app.command()
@plainly
def settings() -> None:
    """List every setting: variable, value, default and what it is."""
    for text in overview.settings_lines(load()):
        typer.echo(text)


@app.command()
@plainly
def capabilities(url: Url = DEFAULT_URL) -> None:
    """Print what a service can do, and its limits, as JSON."""
    with connect(url) as client:
        typer.echo(json.dumps(client.capabilities(), indent=2))


app.add_typer(lab_commands.app, name="lab")
app.command()(lab_commands.zoo)
