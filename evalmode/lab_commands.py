"""`evalmode lab list | run | report` and `evalmode zoo`: experiments from the command line."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from evalmode.client import Client, Experiment
from evalmode.experimenting import (
    defaults_of,
    follow,
    kinds_lines,
    outcome,
    params_of,
    seeds_of,
)
from evalmode.plainly import AsJson, Url, connect, plainly
from evalmode.transport import DEFAULT_URL

app = typer.Typer(
    no_args_is_help=True,
    help="The laboratory: each claim about batch norm is one command away.",
)

Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="key=value of a param, repeatable; base.norm=batch reaches inside."),
]
Seeds = Annotated[str | None, typer.Option(help="Whole numbers with commas; else 0,1,2.")]
Out = Annotated[Path | None, typer.Option(help="File of the report's page; else <id>.html here.")]


@app.command("list")
@plainly
def list_kinds(url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """List the experiments: what each one claims, and how long it takes."""
    with connect(url) as client:
        kinds = client.experiments.kinds()
    told = json.dumps([kind.model_dump(mode="json") for kind in kinds])
    typer.echo(told if as_json else "\n".join(kinds_lines(kinds)))


@app.command()
@plainly
def run(
    kind: Annotated[str, typer.Argument(help="One that `lab list` lists.", metavar="KIND")],
    settings: Set = None,
    seeds: Seeds = None,
    out: Out = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Run an experiment to its verdict, and save its report as a page."""
    _run(kind, settings, seeds, out, url, as_json)


@app.command()
@plainly
def report(
    experiment: Annotated[str, typer.Argument(help="Its id: exp_…", metavar="EXPERIMENT")],
    out: Out = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Save the report of an experiment that has one, and print its verdict."""
    with connect(url) as client:
        _tell(client, client.experiments.get(experiment), out, as_json)


@plainly
def zoo(
    settings: Set = None,
    seeds: Seeds = None,
    out: Out = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Plant every classic failure of batch norm beside a sound twin: `lab run bug_zoo`."""
    _run("bug_zoo", settings, seeds, out, url, as_json)


def _run(
    kind: str,
    settings: list[str] | None,
    seeds: str | None,
    out: Path | None,
    url: str,
    as_json: bool,
) -> None:
    params_of(settings or ())  # refused before there is a service to ask
    wanted = seeds_of(seeds)
    with connect(url) as client:
        known = {one.kind: defaults_of(one) for one in client.experiments.kinds()}
        params = params_of(settings or (), known.get(kind))
        begun = client.experiments.create(kind, params, wanted)
        ended = follow(begun, Console(stderr=as_json))
        _tell(client, ended, out, as_json)


def _tell(client: Client, found: Experiment, out: Path | None, as_json: bool) -> None:
    """Save and print what an experiment concludes; exit code 1 where it has no report."""
    if found.state in ("failed", "cancelled"):
        why = f": {found.error.message}" if found.error else ""
        typer.echo(f"evalmode: {found.id} {found.state}{why}", err=True)
        raise typer.Exit(1)
    whole = client.experiments.report(found.id)  # refused while it is not there
    if out is not None or not as_json:
        out = found.page(out or Path(f"{found.id}.html"))
    if as_json:
        typer.echo(whole.model_dump_json())
    elif found.report is not None:
        typer.echo("\n".join(outcome(found.report, out)))
