"""A state dict trained elsewhere becomes what a checkpoint of ours holds, or is refused by name.

It reads no file and writes none: the caller has the tensors, and hands the result to
`model.checkpoint.write`. Nothing is left at its initial value in silence; the one thing that
is filled in, a counter that older files do not have, is reported and stays marked.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from model.checkpoint import About
from model.data.dataset import Facts
from model.data.scaling import Scaling
from model.errors import CheckpointRefused, SpecRefused
from model.findings import Finding
from model.indices import refuse_rows
from model.misfits import bounded, refuse_misfits, type_name
from model.networks.build import build
from model.plan import loss_of, plan
from model.resnet import torchvision_names
from model.signature import Signature
from model.sizes import Plan
from model.spec import ResNet, RunSpec
from model.statistics.diagnose import diagnose
from model.statistics.fingerprint import is_statistic
from model.training.arrays import dtype_of

Naming = Literal["own", "torchvision"]
Names = dict[str, str]  # of a tensor: ours by theirs

#: What torch's wrappers put before every name: none, DataParallel and AveragedModel, compile.
WRAPPERS = ("", "module.", "_orig_mod.")
AVERAGED = "n_averaged"  # the counter that torch.optim.swa_utils.AveragedModel adds


@dataclass(frozen=True)
class History:
    """What is known of the training elsewhere."""

    step: int = 0  # optimizer steps
    batches: int | None = None  # that every norm layer should have counted
    is_averaged: bool = False  # the weights are an average of several
    frozen: Mapping[str, str] = field(default_factory=dict)  # fingerprints that must be there still
    unknown_age: tuple[str, ...] = ()  # layers whose counter says nothing
    initial_share: float | None = None  # of the first 0 and 1, where no counter tells it


@dataclass(frozen=True)
class Report:
    """What was done to the tensors on their way in, name by name."""

    naming: Naming  # whose names the file has
    wrapper: str  # what stands before each of them: "module.", or nothing
    averaged: bool  # whether the weights are an average, as the file or the request says
    renamed: Names  # ours by theirs, of every tensor whose name changed
    converted: dict[str, str]  # type in the file, by our name; no value changed
    filled: tuple[str, ...]  # counters that were not in the file: the age is unknown, not 0
    findings: tuple[Finding, ...]  # what the statistics say of themselves, as at a save

    def to_json(self) -> dict[str, Any]:
        """The report as JSON-ready values."""
        findings = [finding.to_json() for finding in self.findings]
        return {**asdict(self), "filled": list(self.filled), "findings": findings}


@dataclass(frozen=True)
class Imported:
    """What `model.checkpoint.write` takes, and how it came about."""

    tensors: dict[str, Tensor]  # copies on the CPU, under our names, in the network's order
    about: About
    report: Report


def imported(
    tensors: Mapping[str, Tensor],
    spec: RunSpec,
    rows: Facts | Signature,
    *,
    scaling: Scaling | None = None,
    history: History | None = None,
) -> Imported:
    """Fit a foreign state dict to the network of `spec`, strictly.

    Names may be ours (those of a plain `torch.nn.Sequential`) or, for `kind: resnet`,
    torchvision's; what a wrapper of torch puts before every name is taken off. Types that the
    network's own type holds exactly are widened.

    Args:
        tensors: the whole state dict; running statistics included.
        spec: its network, norm and precision say what is expected.
        rows: a dataset of ours, or what the network takes and gives.
        scaling: as fitted elsewhere. None: inputs go in as they are (pixels divided by 255).
        history: of the training elsewhere. An AveragedModel is known by its counter.

    Raises:
        StatisticsMissing: a running mean or spread is not among the tensors.
        ShapeMismatch: missing or unexpected tensors, other shapes or types; all are named.
        CheckpointRefused: a weight that is not finite.
        SpecRefused: the spec does not fit the rows, or its scaling is not the one given.
    """
    facts = rows.facts() if isinstance(rows, Signature) else rows
    planned = plan(spec, facts)
    with torch.device("meta"):
        network = build(planned, dtype=dtype_of(spec))
    wanted = network.state_dict()
    history = history or History()
    is_averaged = history.is_averaged or AVERAGED in tensors
    tensors = {name: tensor for name, tensor in tensors.items() if name != AVERAGED}
    (naming, wrapper), names = _naming(spec, planned, wanted, tensors)
    refuse_misfits(wanted, tensors, names)
    theirs = {ours: name for name, ours in names.items() if name in tensors}
    taken = {name: _taken(tensors, theirs, name, like) for name, like in wanted.items()}
    _refuse_weights(taken)
    network.load_state_dict(taken, strict=True, assign=True)
    filled = tuple(name for name in wanted if name not in theirs)
    about = _about(spec, facts, scaling, filled, replace(history, is_averaged=is_averaged))
    refuse_rows(planned.layers, facts, about.scaling.kind)
    report = Report(
        naming,
        wrapper,
        is_averaged,
        {name: ours for ours, name in theirs.items() if name != ours},
        {
            ours: type_name(tensors[name])
            for ours, name in theirs.items()
            if tensors[name].dtype != wanted[ours].dtype
        },
        filled,
        diagnose(network, about.evidence(), "save"),
    )
    return Imported(taken, about, report)


def _naming(
    spec: RunSpec, planned: Plan, wanted: Iterable[str], given: Iterable[str]
) -> tuple[tuple[Naming, str], Names]:
    """The naming and the wrapper that most of the given tensors follow; of equals the first."""
    namings: dict[Naming, Names] = {"own": {name: name for name in wanted}}
    if isinstance(spec.network, ResNet):
        layers = torchvision_names(spec.network, planned)
        namings["torchvision"] = {_renamed(name, layers): name for name in wanted}
    ways = {
        (naming, wrapper): {wrapper + name: ours for name, ours in names.items()}
        for naming, names in namings.items()
        for wrapper in WRAPPERS
    }
    present = set(given)
    chosen = max(ways, key=lambda way: len(present & ways[way].keys()))
    return chosen, ways[chosen]


def _renamed(name: str, layers: Mapping[str, str]) -> str:
    layer, _, last = name.rpartition(".")
    return f"{layers[layer]}.{last}"


def _taken(
    given: Mapping[str, Tensor], theirs: Mapping[str, str], name: str, like: Tensor
) -> Tensor:
    """A copy of what the file has, or 0 for a counter that it has not."""
    if name not in theirs:
        return torch.zeros((), dtype=like.dtype)
    tensor = given[theirs[name]].detach()
    return tensor.to("cpu", like.dtype, copy=True).contiguous()


def _refuse_weights(tensors: Mapping[str, Tensor]) -> None:
    """Refuse weights that are not finite; statistics that are not can be made anew from rows."""
    weights = (name for name in tensors if not is_statistic(name))
    bad = [name for name in weights if not bool(tensors[name].isfinite().all())]
    if bad:
        told = bounded(bad)
        message = f"{len(bad)} weights hold values that are not finite: {', '.join(told[:8])}"
        raise CheckpointRefused(message, names=told, count=len(bad))


def _about(
    spec: RunSpec,
    facts: Facts,
    scaling: Scaling | None,
    filled: Iterable[str],
    history: History,
) -> About:
    chosen = scaling or _no_scaling(facts)
    if "scaling" in spec.model_fields_set and spec.scaling != chosen.kind:
        message = f"the spec says {spec.scaling}, the import brings {chosen.kind}"
        raise SpecRefused("scaling", message, spec=spec.scaling, given=chosen.kind)
    _refuse_scaling(chosen, facts)
    completed = {"scaling": chosen.kind, "loss": loss_of(spec, facts)}
    layers = (name.rpartition(".")[0] for name in filled)
    return About(
        spec.model_copy(update=completed),
        facts,
        chosen,
        history.step,
        history.batches,
        tuple(dict.fromkeys((*history.unknown_age, *layers))),
        history.initial_share,
        history.is_averaged,
        history.frozen,
    )


def _no_scaling(facts: Facts) -> Scaling:
    row = np.broadcast_to(np.float64(0), (1, *facts.input_shape))
    return Scaling.fit("none", row, facts.images)


def _refuse_scaling(scaling: Scaling, facts: Facts) -> None:
    expected = _no_scaling(facts)
    if scaling.shift.shape != expected.shift.shape or scaling.scale.shape != expected.scale.shape:
        shapes = [list(scaling.shift.shape), list(scaling.scale.shape)]
        message = f"shift and scale need shape {list(expected.shift.shape)}, got {shapes}"
        raise SpecRefused("scaling", message, expected=list(expected.shift.shape), got=shapes)
    values = np.concatenate([scaling.shift.ravel(), scaling.scale.ravel(), [scaling.divisor]])
    if not np.isfinite(values).all() or scaling.divisor == 0 or not scaling.scale.all():
        message = "shift and scale must be finite, scale and divisor not 0"
        raise SpecRefused("scaling", message)
