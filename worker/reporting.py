"""A report in a child process: the runs of an experiment become a verdict, figures and a page.

What an experiment concludes is in `model.lab`; here its inputs are read and its files written.
"""

import hashlib
import json
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from core.files import FileStore, open_store
from core.settings import Settings
from model.figures import chart_data, draw_chart
from model.figures.charts import Figure
from model.lab.catalogue import EXPERIMENTS
from model.lab.document import Environment, TrainedRun, document, summary, table_csv
from model.lab.page import page
from model.lab.report import Report
from model.lab.results import CheckpointAt, Measured, Results, RunResult, Series
from model.spec import RunSpec
from worker.assignment import ReportAssignment
from worker.channel import Channel
from worker.interruption import Interrupted
from worker.lease import Lifeline

UPGRADE_SECONDS = 30.0  # that a report waits for a worker which knows its kind
REPORTED = 0.6  # progress once the numbers are there and only drawing is left


def report(assignment: ReportAssignment, channel: Channel, lifeline: Lifeline) -> None:
    """Make one report; the last message is what became of it.

    One of a kind that a newer API has accepted is left to a newer worker.
    """
    if assignment.kind not in EXPERIMENTS:
        channel.send("released", delay=UPGRADE_SECONDS, detail=f"no kind {assignment.kind} here")
        return
    try:
        Reporting(assignment, channel, lifeline).run()
    except Interrupted:
        channel.send("released", delay=0.0, detail=lifeline.wish)


class Reporting:
    """One report, from the records of its runs to its files."""

    def __init__(self, assignment: ReportAssignment, channel: Channel, lifeline: Lifeline) -> None:
        self._assignment, self._channel, self._lifeline = assignment, channel, lifeline
        self._written: dict[str, str] = {}

    def run(self) -> None:
        """Conclude, draw, write, and say where it lies."""
        told = self._assignment
        torch.set_num_threads(told.threads)
        torch.manual_seed(0)  # whatever a report draws, it draws again the next time
        experiment = EXPERIMENTS[told.kind]
        params = experiment.params.model_validate_json(json.dumps(told.params))
        runs = list(_runs(Path(told.runs), self._moved))
        results = Results(tuple(run.result for run in runs), self._moved, tuple(told.seeds))
        found = experiment.report(params, results)
        asked = (experiment, params, told.seeds)
        whole = document(told.experiment, asked, runs, found, _environment())
        self._progress(REPORTED)
        self._write(whole, found)
        files = {"prefix": told.prefix, "files": self._written}
        self._channel.send("done", report={"summary": summary(whole), **files})

    def _write(self, whole: dict[str, Any], found: Report) -> None:
        files = open_store(Settings.model_validate(self._assignment.settings))
        drawn: dict[str, bytes] = {}
        for i, figure in enumerate(found.figures):
            for form, content in _forms(figure):
                self._put(files, f"figure-{figure.name}.{form}", content)
            drawn[figure.name] = draw_chart.svg(figure, with_words=False)  # the page has them
            self._progress(REPORTED + (1 - REPORTED) * (i + 1) / (len(found.figures) + 1))
        for table in found.tables:
            self._put(files, f"table-{table.name}.csv", table_csv(table).encode())
        self._put(files, "report.html", page(whole, drawn).encode())
        self._put(files, "report.json", _json(whole))
        files.close()

    def _put(self, files: FileStore, name: str, content: bytes) -> None:
        told = self._assignment
        path = files.scratch() / f"{told.operation}-e{told.epoch}-{name}"
        try:
            path.write_bytes(content)
            self._moved()
            files.put(path, f"{told.prefix}/{name}")
        finally:
            path.unlink(missing_ok=True)
        self._written[name] = hashlib.sha256(content).hexdigest()

    def _moved(self) -> None:
        """The process is alive, and may be asked to end."""
        self._lifeline.moved()
        self._lifeline.check()
        if self._lifeline.wish:
            raise Interrupted

    def _progress(self, share: float) -> None:
        self._moved()
        self._channel.send("progress", progress=share)


def _forms(figure: Figure) -> Iterator[tuple[str, bytes]]:
    """A figure in every form, by the ending of its file."""
    yield "svg", draw_chart.svg(figure)
    yield "png", draw_chart.png(figure)
    yield "json", _json(chart_data.to_json(figure))
    yield "csv", chart_data.to_csv(figure).encode()


def _json(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False, ensure_ascii=False, indent=1).encode()


def _runs(path: Path, moved: Callable[[], None]) -> Iterator[TrainedRun]:
    with path.open() as file:
        for line in file:
            told = json.loads(line)
            yield TrainedRun(told["id"], told["steps"], told["device"], _result(told))
            moved()


def _result(told: dict[str, Any]) -> RunResult:
    return RunResult(
        arm=told["arm"],
        seed=told["seed"],
        spec=RunSpec.model_validate(told["spec"]),
        state=told["state"],
        outcome=told["outcome"],
        why=told["why"],
        step=told["step"],
        dataset=told["dataset"],
        series={
            name: Series(tuple(steps), tuple(float(value) for value in values))
            for name, (steps, values) in told["series"].items()
        },
        measured={
            kind: tuple(Measured(step, data) for step, data in probes)
            for kind, probes in told["measured"].items()
        },
        checkpoints=tuple(CheckpointAt(**one) for one in told["checkpoints"]),
    )


def _environment() -> Environment:
    return Environment(_cpu(), str(torch.__version__), torch.get_num_threads())


def _cpu() -> str:
    """The model of this machine's CPU, as the kernel names it; else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())
