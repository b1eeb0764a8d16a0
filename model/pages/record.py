"""How a report came about: its arms, runs and machine, and how to have it again."""

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from model.figures.text import counted
from model.pages.markup import Html, element
from model.pages.tables import cell_text, table

MOST_NAMED = 8  # fields or tensors of a list


def factor_items(factors: Sequence[Mapping[str, Any]]) -> Html:
    """For each pair of runs in what they differ, and what is proven equal."""
    return element("ul", *(element("li", _factor(factor)) for factor in factors))


def runs_table(runs: Sequence[Mapping[str, Any]]) -> Html:
    """Every run with its end, one a row."""
    rows = [
        [
            run["arm"],
            str(run["seed"]),
            run["state"],
            run["outcome"] or cell_text(None),
            cell_text(run.get("step", run.get("steps"))),
            run.get("why") or "",
        ]
        for run in runs
    ]
    columns = ("arm", "seed", "state", "outcome", "steps", "why")
    return table(columns, rows, (False, True, False, False, True, False))


def run_specs(runs: Sequence[Mapping[str, Any]]) -> Html:
    """The full spec of each run, folded away."""
    each = (
        element(
            "details",
            element("summary", f"{run['arm']}, seed {run['seed']}"),
            element("pre", json.dumps(run["spec"], indent=1, ensure_ascii=False)),
        )
        for run in runs
    )
    return element(
        "details", element("summary", f"Full specs of {counted(len(runs), 'run')}"), *each
    )


def pairs(told: Mapping[str, Any]) -> Html:
    """Names with their values."""
    return element(
        "dl",
        *(
            part
            for name, value in told.items()
            for part in (element("dt", name.replace("_", " ")), element("dd", _value(value)))
        ),
    )


def repeat_steps(repeat: Mapping[str, Any]) -> list[Html]:
    """The command, and the request as curl sends it."""
    steps = []
    if "command" in repeat:
        steps += [element("p", "On the command line:"), element("pre", repeat["command"])]
    if "body" in repeat:
        said = "Over HTTP, with the address of the service in $ADDRESS:"
        steps += [element("p", said), element("pre", _curl(repeat))]
    return steps


def _curl(repeat: Mapping[str, Any]) -> str:
    body = shlex.quote(json.dumps(repeat["body"], ensure_ascii=False))
    return (
        f'curl -X {repeat["method"]} "$ADDRESS{repeat["path"]}" \\\n'
        f"  -H 'Content-Type: application/json' \\\n  -d {body}"
    )


def _factor(factor: Mapping[str, Any]) -> str:
    first, second = factor["arms"]
    told = [f"Seed {factor['seed']}, {first} and {second} differ in {_list(factor['differ_in'])}"]
    hashed = factor["order_sha256"]
    told.append(
        f"rows come in the same order (sha256 {hashed[0][:12]}…)"
        if factor["same_order"]
        else f"rows come in another order (sha256 {hashed[0][:12]}… and {hashed[1][:12]}…)"
    )
    shared = counted(factor["shared_tensors"], "initial tensor")
    different = [" and ".join(pair) for pair in factor["different_tensors"]]
    told.append(
        f"all {shared} that both have are equal"
        if factor["same_start"]
        else f"{shared} are equal, {_list(different)} are not"
    )
    if factor["tensors_of_one"]:
        told.append(f"one network alone has {_list(factor['tensors_of_one'])}")
    return "; ".join(told) + "."


def _list(names: Sequence[str]) -> str:
    if not names:
        return "nothing"
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def _value(value: Any) -> str:
    if isinstance(value, str | int | float | bool) or value is None:
        return value if isinstance(value, str) else cell_text(value)
    return json.dumps(value, ensure_ascii=False)
