"""`evalmode demo`: handwritten digits through the whole product, with and without batch norm.

Two runs that differ in their norm alone are submitted over REST, watched, and asked for
digits that no run has seen. It speaks to the service as any client does.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from evalmode.client import Client, Run
from evalmode.resources import Predictions
from evalmode.watching import watch
from model.data.builtin import build
from model.data.split import rows
from model.spec import Split

ARMS = ("batch", "none")
SHARED: Mapping[str, Any] = {
    "dataset": "digits",
    "split": {"test": 0.2, "seed": 0, "stratify": True},
    # Three hidden layers of 100 sigmoid units: the network on which batch norm was first shown.
    "network": {"kind": "mlp", "hidden": [100, 100, 100], "activation": "sigmoid"},
    "optimizer": {"kind": "sgd", "lr": 0.1},
    "batch_size": 32,
    "budget": {"epochs": 20},
    "seed": 0,
}
DIGITS = 5
COLUMNS = 4  # steps that the table shows before the end
SHADES = " .:-=+*#%@"
MOST_INK = 16  # a pixel of the dataset
SIDE = 8  # pixels

NEXT = """\

What to try next, with a service that stays:

  {program} up

and beside it:

  curl -s http://127.0.0.1:8000/v1/runs -H 'Content-Type: application/json' \\
    -d '{{"dataset": "digits", "network": {{"kind": "mlp"}}, "norm": "batch"}}'
  {program} submit --dataset breast_cancer --hidden 32,32 --norm batch --watch
  http://127.0.0.1:8000/docs in a browser"""


class DemoFailed(Exception):
    """The service did not do what it promises; the message says what."""


@dataclass(frozen=True)
class Digits:
    """Digits that no run has trained on."""

    inputs: np.ndarray  # (DIGITS, 64), 0 to 16
    truth: list[str]


@dataclass(frozen=True)
class Arm:
    """One run of the two, ended."""

    run: Run
    accuracies: dict[int, float]  # on the test rows, by step
    final: float  # of the checkpoint, loaded again and scored in eval mode
    statistics: str  # fingerprint of the checkpoint's running statistics


class Tour:
    """The demo on one service."""

    def __init__(self, client: Client, console: Console) -> None:
        self._client = client
        self._console = console

    def run(self) -> dict[str, Any]:
        """Show everything, and return it as one JSON object.

        Raises:
            DemoFailed: a run did not succeed, or something else than the checkpoint's own
                statistics in eval mode answered.
        """
        arms = self._train()
        self._show_table(arms)
        digits = held_out()
        answer = self._predict(arms["batch"], digits)
        self._show_digits(digits, answer)
        self._say(NEXT.format(program=program()))
        return summary(arms, digits, answer)

    def _train(self) -> dict[str, Arm]:
        self._say("Two runs on digits, equal but for the norm:")
        started = [
            self._client.runs.create(SHARED, norm=norm, name=f"norm {norm}", labels={"arm": norm})
            for norm in ARMS
        ]
        ended = watch(started, self._console)
        return {norm: self._arm(run) for norm, run in zip(ARMS, ended, strict=True)}

    def _arm(self, run: Run) -> Arm:
        if run.state != "succeeded" or run.checkpoint is None:
            why = run.error.message if run.error else run.state
            raise DemoFailed(f"the run {run.name} did not succeed: {why}")
        series = run.series("test_accuracy")["test_accuracy"]
        points = zip(series.steps, series.values, strict=True)
        checkpoint = self._client.checkpoints.get(run.checkpoint)
        return Arm(
            run,
            {step: value for step, value in points if value is not None},
            float(checkpoint.metrics["test_accuracy"]),
            checkpoint.statistics.fingerprint,
        )

    def _predict(self, arm: Arm, digits: Digits) -> Predictions:
        answer = arm.run.predict(digits.inputs)
        if answer.model.mode != "eval" or answer.model.statistics != arm.statistics:
            raise DemoFailed("something else than the checkpoint's own statistics answered")
        return answer

    def _show_table(self, arms: Mapping[str, Arm]) -> None:
        steps = few(sorted(set.intersection(*(set(arm.accuracies) for arm in arms.values()))))
        table = Table(title="Test accuracy", title_justify="left")
        for heading in ["norm", *(f"step {step}" for step in steps), "end"]:
            table.add_column(heading, justify="right")
        for norm, arm in arms.items():
            numbers = [*(arm.accuracies[step] for step in steps), arm.final]
            table.add_row(norm, *(f"{number:.3f}" for number in numbers))
        self._console.print()
        self._console.print(table)

    def _show_digits(self, digits: Digits, answer: Predictions) -> None:
        self._say("\nFive digits that no run has seen, answered by the run with batch norm:")
        self._say("\n".join(side_by_side(digits.inputs)))
        chances = [prediction.probability or 0.0 for prediction in answer.predictions]
        labels = [label or "?" for label in answer.labels]
        for heading, words in (
            ("truth", digits.truth),
            ("answer", labels),
            ("probability", [f"{chance:.3f}" for chance in chances]),
        ):
            self._say("".join(f"{f'{heading} {word}':<{2 * SIDE + 3}}" for word in words).rstrip())
        self._say(f"\nmode        {answer.model.mode}")
        self._say(f"statistics  {answer.model.statistics}")

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


def held_out() -> Digits:
    """The first test row of each of the first classes, under the split of the runs."""
    dataset = build("digits")
    split = Split.model_validate(SHARED["split"])
    test = rows(dataset.facts, dataset.targets, split).test
    targets = dataset.targets[test]
    chosen = [int(test[np.argmax(targets == index)]) for index in range(DIGITS)]
    names = dataset.facts.classes or ()
    return Digits(dataset.inputs[chosen], list(names[:DIGITS]))


def program() -> str:
    """How this command line is called from the present folder."""
    here = os.path.relpath(Path(sys.executable).with_name("evalmode"))
    return here if not here.startswith("..") else str(Path(sys.executable).with_name("evalmode"))


def few(steps: list[int]) -> list[int]:
    """At most `COLUMNS` of the steps: the first, and others spread over what follows."""
    if len(steps) <= COLUMNS:
        return steps
    early = [0, *(len(steps) * part // (COLUMNS + 1) for part in range(1, COLUMNS))]
    return [steps[index] for index in early]


def side_by_side(inputs: np.ndarray) -> list[str]:
    """Digits as lines of characters, each pixel two wide."""
    ink = (inputs.reshape(-1, SIDE, SIDE) * (len(SHADES) - 1) / MOST_INK).round().astype(int)
    return [
        "   ".join("".join(SHADES[shade] * 2 for shade in digit[line]) for digit in ink).rstrip()
        for line in range(SIDE)
    ]


def summary(arms: Mapping[str, Arm], digits: Digits, answer: Predictions) -> dict[str, Any]:
    """What was shown, for programs."""
    return {
        "arms": {
            norm: {
                "run": arm.run.id,
                "state": arm.run.state,
                "steps": arm.run.progress.steps,
                "test_accuracy": {str(step): value for step, value in arm.accuracies.items()},
                "final_test_accuracy": arm.final,
                "statistics": arm.statistics,
            }
            for norm, arm in arms.items()
        },
        "predictions": [
            {"truth": truth, "label": one.label, "probability": one.probability}
            for truth, one in zip(digits.truth, answer.predictions, strict=True)
        ],
        "mode": answer.model.mode,
        "statistics": answer.model.statistics,
    }
