"""What is found of a checkpoint: its scores, what eval mode costs, its history, its diagnosis.

The rows come from the dataset that its run trained on. Nothing here moves a parameter or a
buffer, or draws from the global generators.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from model.blocks import chunk_rows
from model.checkpoint import About, Loaded, assembled
from model.data.dataset import Facts
from model.findings import Finding
from model.memory import item_bytes
from model.plan import plan
from model.single_values import least_rows
from model.spec import RunSpec
from model.statistics import gap, history
from model.statistics.chunks import choose_rows, chunks
from model.statistics.diagnose import diagnose
from model.statistics.drift.calibration import Calibration, calibration
from model.statistics.gap import Gap, train_eval_gap
from model.statistics.modes import running_norms
from model.training.arrays import Arrays, Part
from model.training.evaluate import evaluate
from model.training.randomness import stream

MOST_ATTRIBUTED = 8  # layers; each costs a pass, and more are worth it where there is a gap


@dataclass(frozen=True)
class Scored:
    """What the record of a checkpoint says of it, JSON-ready."""

    metrics: dict[str, float | None]  # by metric name; null where not finite
    findings: list[dict[str, Any]]  # of the save gate
    history: dict[str, Any]  # see `model.statistics.history`, and the gap layer by layer


class Scoring:
    """Scores checkpoints of one spec on the rows of its dataset.

    Args:
        moved: called at every forward pass: scoring a large network may take its time.
    """

    def __init__(
        self, spec: RunSpec, facts: Facts, arrays: Arrays, moved: Callable[[], None]
    ) -> None:
        assert spec.loss is not None
        self._spec, self._arrays, self._moved = spec, arrays, moved
        self._loss = spec.loss.kind
        planned = plan(spec, facts)
        self._chunk_rows = chunk_rows(planned, item_bytes(spec))
        self._least_rows = least_rows(planned)  # that have statistics of their own

    def calibrated(self, tensors: Mapping[str, Tensor], about: About) -> About:
        """What a checkpoint says of itself, with the thresholds of drift on these tensors."""
        loaded = assembled(tensors, about)
        with self._heard(loaded):
            return replace(about, drift=self._calibration(loaded))

    def score(self, loaded: Loaded) -> Scored:
        """Everything about a checkpoint as it will be served.

        Args:
            loaded: on the CPU.
        """
        with self._heard(loaded):
            return self._scored(loaded)

    def _scored(self, loaded: Loaded) -> Scored:
        metrics = self._held_out(loaded)
        found = self._gap(loaded)
        rows = self._training_rows()
        population = history.statistics_of(loaded.network, self._batches(rows, self._chunk_rows))
        first = rows[: self._spec.batch_size]
        batch = history.statistics_of(loaded.network, self._batches(first, len(first)))
        points = None if found is None else found.points
        known = loaded.about.evidence(gap_points=points, population=population)
        told = history.point(loaded.network, batch, population, len(rows), known)
        findings = [*diagnose(loaded.network, known, "save"), *_gap_findings(found)]
        return Scored(
            metrics | _gap_metrics(found),
            [finding.to_json() for finding in findings],
            told | {"train_eval_gap": None if found is None else found.to_json()},
        )

    @contextmanager
    def _heard(self, loaded: Loaded) -> Iterator[None]:
        hook = loaded.network.register_forward_pre_hook(lambda *_: self._moved())
        try:
            yield
        finally:
            hook.remove()

    def _held_out(self, loaded: Loaded) -> dict[str, float | None]:
        scores = dict[str, float | None]()
        for name, part in self._parts():
            found = evaluate(loaded.network, self._loss, part, loaded.block_rows)
            scores |= {f"{name}_{key}": finite(value) for key, value in found.items()}
        return scores

    def _gap(self, loaded: Loaded) -> Gap | None:
        """What eval mode costs on the test rows, or on those that stand in for them."""
        found = self._measured(loaded, len(running_norms(loaded.network)) <= MOST_ATTRIBUTED)
        if found is not None and not found.layers and gap.finding(found) is not None:
            return self._measured(loaded, attribute=True)
        return found

    def _measured(self, loaded: Loaded, attribute: bool) -> Gap | None:
        return train_eval_gap(
            loaded.network,
            self._loss,
            self._parts()[-1][1],
            stream(self._spec.seed, "gap"),  # the same rows in the same order at every step
            chunk_rows=self._chunk_rows,
            batch_size=size if (size := self._spec.batch_size) >= self._least_rows else None,
            attribute=attribute,
        )

    def _calibration(self, loaded: Loaded) -> Calibration | None:
        rows = self._arrays.calibration.inputs.cpu()
        generator = stream(self._spec.seed, "drift")
        return calibration(
            loaded.network, self._training_rows(), rows, loaded.block_rows, generator
        )

    def _training_rows(self) -> Tensor:
        """Inputs of at most 10,000 training rows, the same ones at every step, in random order."""
        inputs = self._arrays.train.inputs
        rows = choose_rows(len(inputs), stream(self._spec.seed, "population"))
        return inputs[rows.to(inputs.device)].cpu()

    def _batches(self, rows: Tensor, size: int) -> tuple[Tensor, ...]:
        """Rows in chunks; none where they are too few, as those of an import may be."""
        if len(rows) < self._least_rows:
            return ()
        return tuple(rows[chunk] for chunk in chunks(torch.arange(len(rows)), size))

    def _parts(self) -> list[tuple[str, Part]]:
        """The held-out rows; without any, the training rows under a name of their own.

        The metric `train_loss` is another number: of training mode, while weights move.
        """
        arrays = self._arrays
        held_out = [("validation", arrays.validation), ("test", arrays.test)]
        return [(n, part.cpu()) for n, part in held_out if len(part)] or [
            ("train_in_eval_mode", arrays.train.cpu())
        ]


def _gap_findings(found: Gap | None) -> list[Finding]:
    told = None if found is None else gap.finding(found)
    return [] if told is None else [told]


def _gap_metrics(found: Gap | None) -> dict[str, float | None]:
    if found is None:
        return {}
    known = {"": found.points, "_batch": found.batch_points, "_loss": found.loss}
    return {
        f"train_eval_gap{end}": finite(value) for end, value in known.items() if value is not None
    }


def finite(value: float) -> float | None:
    """The number, or null where it is none that JSON has."""
    return value if isfinite(value) else None
