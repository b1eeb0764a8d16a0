"""How a report came about: its arms, runs and machine, and how to have it again."""

import json
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from model.figures.text import counted
from model.pages.markup import Html, element
from model.pages.tables import cell_text, table

MOST_NAMED = 8  # fields or tensors of a list
MOST_OPEN = 12  # rows or items that a reader need not unfold


def factor_items(factors: Sequence[Mapping[str, Any]]) -> Html:
    """For each pair of arms in what they differ, and what is proven equal; alike seeds in one."""
    alike: dict[str, list[Mapping[str, Any]]] = {}
    for factor in factors:
        alike.setdefault(_difference(factor), []).append(factor)
    items = (element("li", f"{_seeds(of)}: {words}. {_orders(of)}") for words, of in alike.items())
    return _folded(element("ul", *items), len(alike), counted(len(alike), "pair") + " of arms")


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
    ends = Counter(run["outcome"] or run["state"] for run in runs)
    told = ", ".join(f"{count} {end}" for end, count in ends.items())
    shown = table(columns, rows, (False, True, False, False, True, False))
    return _folded(shown, len(runs), f"{counted(len(runs), 'run')}: {told}")


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


def _difference(factor: Mapping[str, Any]) -> str:
    """In what the two runs of one seed differ, and what of them is equal."""
    first, second = factor["arms"]
    order = "the same" if factor["same_order"] else "another"
    shared = counted(factor["shared_tensors"], "initial tensor")
    different = [" and ".join(pair) for pair in factor["different_tensors"]]
    told = [
        f"{first} and {second} differ in {_list(factor['differ_in'])}",
        f"rows come in {order} order",
        f"all {shared} that both have are equal"
        if factor["same_start"]
        else f"{shared} are equal, {_list(different)} are not",
    ]
    if factor["tensors_of_one"]:
        told.append(f"one network alone has {_list(factor['tensors_of_one'])}")
    return "; ".join(told)


def _seeds(factors: Sequence[Mapping[str, Any]]) -> str:
    seeds = [str(factor["seed"]) for factor in factors]
    return f"Seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)}"


def _orders(factors: Sequence[Mapping[str, Any]]) -> str:
    """The hashes of the orders, seed by seed."""
    told = (
        " and ".join(f"{one[:12]}\u2026" for one in dict.fromkeys(factor["order_sha256"]))
        for factor in factors
    )
    return f"Sha256 of the order: {', '.join(told)}."


def _folded(content: Html, rows: int, summary: str) -> Html:
    """What is long, folded away under its summary."""
    return (
        content if rows <= MOST_OPEN else element("details", element("summary", summary), content)
    )


def _list(names: Sequence[str]) -> str:
    if not names:
        return "nothing"
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def _value(value: Any) -> str:
    if isinstance(value, str | int | float | bool) or value is None:
        return value if isinstance(value, str) else cell_text(value)
    return json.dumps(value, ensure_ascii=False)
