"""From a spec and a dataset's facts to every number of the run, before anything is built.

Refuses what cannot work, with the field at fault. Nothing here allocates by the size of the
network, so it answers at once for a network of any width.
"""

from dataclasses import dataclass
from math import prod
from typing import Any

from model.batches import Batches, lay_out
from model.data.dataset import Facts
from model.data.split import Sizes, split_sizes
from model.errors import SpecRefused
from model.expand import expand
from model.findings import Finding
from model.indices import refuse_places, refuse_rows
from model.lints import findings
from model.measurable import refuse_unmeasurable
from model.memory import Memory, estimate
from model.single_values import refuse_single_values
from model.sizes import Plan, PlannedLayer, kept
from model.spec import MAX_STEPS, GhostBatchNorm, Loss, RunSpec

__all__ = ["Checked", "Limits", "Memory", "Plan", "PlannedLayer", "check", "plan", "refuse_size"]

TOO_LARGE = "MODEL_TOO_LARGE"
MOST_EVALUATIONS = 100_000
MOST_CHECKPOINTS = 10_000
MAX_LAYERS = 2_000  # every layer, also inside residuals


@dataclass(frozen=True)
class Limits:
    """The largest run that a service accepts."""

    max_parameters: int  # learned values
    max_memory_bytes: int  # of `Memory.total`


@dataclass(frozen=True)
class Checked:
    """A spec that can work, and everything that was computed to know it."""

    spec: RunSpec  # as asked, with the loss filled in
    plan: Plan
    batches: Batches  # of one epoch
    steps: int  # optimizer steps of the whole budget
    rows: Sizes  # of each part
    memory: Memory
    findings: tuple[Finding, ...]

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of one epoch."""
        return self.batches.steps

    @property
    def evaluate_every(self) -> int:
        """Optimizer steps between two evaluations."""
        return self.batches.steps_in(self.spec.evaluate_every)

    @property
    def checkpoint_every(self) -> int | None:
        """Optimizer steps between two checkpoints; None: one checkpoint, at the end."""
        every = self.spec.checkpoint_every
        return None if every is None else self.batches.steps_in(every)

    def updates(self, steps: int) -> int:
        """Times that `steps` optimizer steps move each running statistic: once, or once a group."""
        norm = self.spec.norm
        if isinstance(norm, GhostBatchNorm):
            return self.batches.groups_in(steps, norm.group_size)
        return steps

    @property
    def sizes(self) -> list[dict[str, Any]]:
        """One JSON-ready row per layer; what is inside a residual follows it."""
        return [_size(layer) for layer in self.plan.walk()]


def plan(spec: RunSpec, facts: Facts) -> Plan:
    """Expand the network and its norm into layers with every shape and count.

    Raises:
        SpecRefused: layers that do not fit each other, the rows or the targets.
    """
    layers = expand(spec.network, spec.norm, facts.input_shape, facts.outputs)
    refuse_places(layers)
    _refuse_outputs(layers, facts)
    parameters = sum(layer.parameters for layer in layers)
    if parameters == 0:
        raise SpecRefused("network", "no layer has a parameter: there is nothing to train")
    every = [inner for layer in layers for inner in layer.walk()]
    refuse_size("layers", len(every), MAX_LAYERS)
    return Plan(
        layers,
        parameters,
        buffers=sum(layer.buffers for layer in layers),
        activations_per_row=prod(facts.input_shape) + sum(kept(one) for one in every),
    )


def check(spec: RunSpec, facts: Facts, limits: Limits) -> Checked:
    """Everything that can be known before a run is queued.

    Raises:
        SpecRefused: the spec cannot work with this dataset on this service.
    """
    loss = loss_of(spec, facts)
    spec = _on_cuda(spec) if spec.precision == "bfloat16" else spec
    if spec.sampling == "class_sorted" and facts.task != "classification":
        raise SpecRefused("sampling", "class_sorted needs classes; the targets are numbers")
    if spec.select == "best" and spec.split.validation == 0:
        raise SpecRefused("select", "best needs split.validation above 0")
    planned = plan(spec, facts)
    refuse_rows(planned.layers, facts, spec.scaling)
    refuse_size("parameters", planned.parameters, limits.max_parameters)
    rows = _rows(spec, facts)
    batches = lay_out(rows.train, spec.batch_size, spec.tail)
    steps = _steps(spec, batches)
    refuse_single_values(spec, planned, batches, steps)
    _refuse_crowds(spec, batches, steps)
    refuse_unmeasurable(spec, planned, steps)
    memory = estimate(spec, facts, planned, batches, rows)
    refuse_size("bytes of memory", memory.total, limits.max_memory_bytes)
    return Checked(
        spec=spec.model_copy(update={"loss": loss}),
        plan=planned,
        batches=batches,
        steps=steps,
        rows=rows,
        memory=memory,
        findings=findings(spec, planned, steps),
    )


def _size(layer: PlannedLayer) -> dict[str, Any]:
    return {
        "layer": layer.name,
        "kind": _kind(layer),
        "input_shape": list(layer.input_shape),
        "output_shape": list(layer.output_shape),
        "parameters": layer.parameters,
    }


def _kind(layer: PlannedLayer) -> str:
    """What stands there; a norm by its own kind."""
    if layer.norm is None:
        return layer.layer.kind
    kind = layer.norm.kind
    return kind if kind in ("noise", "batch_renorm") else f"{kind}_norm"


def _refuse_outputs(layers: tuple[PlannedLayer, ...], facts: Facts) -> None:
    given = layers[-1].output_shape if layers else facts.input_shape
    if given != (facts.outputs,):
        each = "target" if facts.classes is None else "class"
        raise SpecRefused(
            layers[-1].path if layers else "network",
            f"the network gives {given} per row; the dataset needs ({facts.outputs},), "
            f"one value per {each}",
            output_shape=list(given),
            outputs=facts.outputs,
        )


def loss_of(spec: RunSpec, facts: Facts) -> Loss:
    """The loss that was asked for, or that of the dataset's task.

    Raises:
        SpecRefused: cross entropy, and the targets are numbers.
    """
    classes = facts.task == "classification"
    if spec.loss is None:
        return Loss(kind="cross_entropy" if classes else "squared_error")
    if spec.loss.kind == "cross_entropy" and not classes:
        raise SpecRefused("loss.kind", "cross_entropy needs classes; the targets are numbers")
    return spec.loss


def _on_cuda(spec: RunSpec) -> RunSpec:
    if spec.device == "cpu":
        message = "bfloat16 is mixed precision on CUDA; the device is cpu"
        raise SpecRefused("precision", message, precision="bfloat16", device="cpu")
    return spec.model_copy(update={"device": "cuda"})


def _refuse_crowds(spec: RunSpec, batches: Batches, steps: int) -> None:
    """Refuse more evaluations or checkpoints than records and disk should hold of one run."""
    spans = {
        "evaluate_every": (spec.evaluate_every, MOST_EVALUATIONS),
        "checkpoint_every": (spec.checkpoint_every, MOST_CHECKPOINTS),
    }
    for path, (span, limit) in spans.items():
        times = 0 if span is None else steps // batches.steps_in(span)
        if times > limit:
            message = f"that is {times} times in {steps} steps; at most {limit} are allowed"
            raise SpecRefused(path, message, times=times, steps=steps, limit=limit)


def refuse_size(what: str, computed: int, limit: int) -> None:
    """Refuse a network that needs more of something than is allowed.

    Args:
        what: with its unit, for the message: "bytes of memory".

    Raises:
        SpecRefused: `MODEL_TOO_LARGE`, with both numbers.
    """
    if computed > limit:
        raise SpecRefused(
            "network",
            f"the network needs {computed} {what}; at most {limit} are allowed",
            TOO_LARGE,
            computed=computed,
            limit=limit,
        )


def _rows(spec: RunSpec, facts: Facts) -> Sizes:
    sizes = split_sizes(facts, spec.split)
    own = facts.train_rows is not None
    _refuse_empty("split.test", sizes.test, asked=spec.split.test > 0 and not own)
    _refuse_empty("split.validation", sizes.validation, asked=spec.split.validation > 0)
    _refuse_empty("split", sizes.train, asked=True)
    if spec.batch_size > sizes.train:
        raise SpecRefused(
            "batch_size",
            f"a batch of {spec.batch_size} rows is more than the {sizes.train} training rows",
            batch_size=spec.batch_size,
            train_rows=sizes.train,
        )
    return sizes


def _refuse_empty(path: str, rows: int, *, asked: bool) -> None:
    if asked and rows == 0:
        part = {"split": "training"}.get(path, path.removeprefix("split."))
        raise SpecRefused(path, f"the split leaves no {part} rows", rows=0)


def _steps(spec: RunSpec, batches: Batches) -> int:
    steps = batches.steps_in(spec.budget)
    if steps > MAX_STEPS:
        message = f"the budget is {steps} steps; at most {MAX_STEPS} are allowed"
        raise SpecRefused("budget.epochs", message, steps=steps, limit=MAX_STEPS)
    return steps
