"""An experiment: a claim, a plan of ordinary runs, and a report from what they measured.

Both halves are pure: the plan needs no data and no queue, the report no network connection.
`model.lab.catalogue` lists every kind.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from model.lab.report import Report
from model.lab.results import Results
from model.lab.verdict import Declared
from model.spec.parts import Part
from model.spec.run import DATASET_NAME, RunSpec

MOST_RUNS = 512  # of one experiment
MOST_SEEDS = 20

DatasetName = Annotated[str, Field(pattern=DATASET_NAME)]


class Params(Part):
    """What every experiment can be told; each kind adds its own."""

    scale: Literal["default", "paper"] = Field(
        "default",
        description="`default` finishes within minutes on two cores; `paper` is the published "
        "setting, refused where it would take over an hour on a CPU.",
    )
    force: bool = Field(False, description="Run `scale: paper` on a CPU however long it takes.")


@dataclass(frozen=True)
class PlannedRun:
    """One ordinary run of an experiment."""

    arm: str  # what it is compared as: "batch", "none, lr 0.5"; equal for all seeds
    seed: int
    spec: RunSpec
    #: Of fields of the spec, dotted, the params that they come from, where these are called
    #: otherwise: a refusal names what was asked.
    named: Mapping[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Experiment:
    """One kind of experiment."""

    kind: str
    claim: str  # one sentence, as it is judged
    source: str  # where the claim is made, with its address
    params: type[Params]
    declared: Declared  # the primary effect and its margin
    default_seconds: int  # measured, with default params and seeds on two cores
    #: `plan(params, seeds)`. Raises SpecRefused for params that do not fit each other, its path
    #: that of the param.
    plan: Callable[[Any, Sequence[int]], tuple[PlannedRun, ...]]
    #: `report(params, results)`.
    report: Callable[[Any, Results], Report]


def spec_of(**fields: Any) -> RunSpec:
    """A spec from the JSON values of its fields, as a request has them."""
    return RunSpec.model_validate(fields)
