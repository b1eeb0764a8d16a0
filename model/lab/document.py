"""The report of an experiment as one JSON document, and what of it must come out the same again."""

import csv
import io
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from model.lab.experiment import Experiment, Params
from model.lab.report import Report, Section, Table, effect_json, table_json, unique_names
from model.lab.results import RunResult

FIGURE_FORMS = ("svg", "png", "json", "csv")
_NAME = re.compile(r"[a-z0-9-]{1,64}")
_NOT_NUMBERS = {"name", "labels"}  # of a spec


@dataclass(frozen=True)
class Environment:
    """Where a report was made; where its runs were trained is said of each of them."""

    cpu: str  # model, as the kernel names it
    torch: str  # version and build
    threads: int


@dataclass(frozen=True)
class TrainedRun:
    """A run of the experiment, and what the report's reader must know beside its result."""

    id: str
    steps: int  # optimizer steps asked for
    device: str | None  # what it was trained on; None: it never began
    result: RunResult


def document(
    experiment_id: str,
    asked: tuple[Experiment, Params, Sequence[int]],
    runs: Sequence[TrainedRun],
    report: Report,
    environment: Environment,
) -> dict[str, Any]:
    """Everything that a reader is told, JSON-ready; what is not finite is null.

    Args:
        asked: the kind, its params and the seeds.
        runs: in the order of the plan.

    Raises:
        ValueError: two figures or two tables have one name, or a name is no name.
    """
    experiment, params, seeds = asked
    _require_names(report)
    effect = effect_json(report.effect)
    devices = sorted({run.device for run in runs if run.device is not None})
    return {
        "object": "report",
        "experiment": experiment_id,
        "kind": experiment.kind,
        "claim": experiment.claim,
        "source": experiment.source,
        "verdict": effect["verdict"],
        "effect": effect,
        "summary": report.summary,
        "others": [effect_json(other) for other in report.others],
        "tables": [_table(experiment_id, table) for table in report.tables],
        "figures": [
            {
                "name": figure.name,
                "title": figure.title,
                "evidence": figure.evidence,
                "notes": list(figure.notes),
                "links": _links(experiment_id, "figures", figure.name, FIGURE_FORMS),
            }
            for figure in report.figures
        ],
        "sections": [_section(section) for section in report.sections],
        "caveats": [*_left_out(runs), *report.caveats],
        "factors": [dict(factor) for factor in report.factors],
        "params": params.model_dump(mode="json"),
        "seeds": list(seeds),
        "runs": [_run(run) for run in runs],
        "environment": {**vars(environment), "device": ", ".join(devices) or "cpu"},
        "repeat": _repeat(experiment.kind, params, seeds),
    }


def summary(told: Mapping[str, Any]) -> dict[str, Any]:
    """What is shown of a report in the experiment itself."""
    short = {key: told[key] for key in ("claim", "verdict", "effect", "summary", "caveats")}
    named = {key: [one["name"] for one in told[key]] for key in ("figures", "tables")}
    return short | named


def canonical(told: Mapping[str, Any]) -> dict[str, Any]:
    """The document without ids and addresses: equal for equal requests on equal machines.

    Times and durations are in no document.
    """
    plain = {key: value for key, value in told.items() if key != "experiment"}
    parts = {"runs": "run", "figures": "links", "tables": "links"}
    return plain | {
        part: [{key: value for key, value in one.items() if key != own} for one in told[part]]
        for part, own in parts.items()
    }


def table_csv(table: Table) -> str:
    """A table as CSV with a row of headings; what is not finite is nan, inf or -inf."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(["" if cell is None else cell for cell in row] for row in table.rows)
    return file.getvalue()


def _require_names(report: Report) -> None:
    if not unique_names(report.tables, report.figures):
        raise ValueError("two tables or two figures of the report have one name")
    wrong = [table.name for table in report.tables if not _NAME.fullmatch(table.name)]
    if wrong:
        raise ValueError(f"{wrong} are not of small letters, digits and hyphens")


def _table(experiment_id: str, table: Table) -> dict[str, Any]:
    links = _links(experiment_id, "tables", table.name, ("csv",))
    return table_json(table) | {"links": links}


def _section(section: Section) -> dict[str, Any]:
    effect = effect_json(section.effect)
    told = vars(section) | {"effect": effect, "verdict": effect["verdict"]}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in told.items()}


def _links(experiment_id: str, what: str, name: str, forms: Sequence[str]) -> dict[str, str]:
    return {form: f"/v1/experiments/{experiment_id}/{what}/{name}.{form}" for form in forms}


def _run(run: TrainedRun) -> dict[str, Any]:
    result = run.result
    return {
        "run": run.id,
        "arm": result.arm,
        "seed": result.seed,
        "state": result.state,
        "outcome": result.outcome,
        "why": result.why,
        "step": result.step,
        "steps": run.steps,
        "device": run.device,
        "spec_hash": result.spec.hash,
        "spec": result.spec.model_dump(mode="json", exclude=_NOT_NUMBERS),
    }


def _left_out(runs: Sequence[TrainedRun]) -> list[str]:
    """That some runs say nothing, where they do not."""
    lost = [run.result for run in runs if not run.result.counts]
    if not lost:
        return []
    told = [
        f"{one.arm}, seed {one.seed}: {one.state}{f' ({one.why})' if one.why else ''}"
        for one in lost
    ]
    return [f"{len(lost)} of {len(runs)} runs count for nothing: {'; '.join(told)}."]


def _given(params: Params) -> dict[str, Any]:
    """As few of the params as make them again: one at its default may be filled in otherwise."""
    given = params.model_dump(mode="json")
    given |= params.model_dump(mode="json", exclude_defaults=True)  # brief within each, too
    for name in list(given):
        rest = {key: value for key, value in given.items() if key != name}
        if _makes(params, rest):
            given = rest
    return given


def _makes(params: Params, given: dict[str, Any]) -> bool:
    try:
        return type(params).model_validate_json(json.dumps(given)) == params
    except ValidationError:
        return False


def _repeat(kind: str, params: Params, seeds: Sequence[int]) -> dict[str, Any]:
    given = _given(params)
    words = ["evalmode", "lab", "run", kind, "--seeds", ",".join(map(str, seeds))]
    for key, value in given.items():
        words += ["--set", f"{key}={json.dumps(value)}"]
    body = {"kind": kind, "params": given, "seeds": list(seeds)}
    request = {"method": "POST", "path": "/v1/experiments", "body": body}
    return request | {"command": shlex.join(words)}
