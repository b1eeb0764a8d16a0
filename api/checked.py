"""What a spec amounts to before it is queued: sizes, memory, measures, findings."""

from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from api.resources import FindingResource, Resource
from model.measures.periods import planned
from model.plan import Checked


class Memory(Resource):
    """Bytes that a run is expected to need, by purpose."""

    parameters: int = Field(description="Weights and running statistics, with kept copies.")
    gradients: int = Field(description="One per parameter.")
    optimizer: int = Field(description="Its state.")
    activations: int = Field(
        description="Of the largest batch, of the fewest rows that are evaluated at once, or of "
        "the most rows that a checkpoint is scored on at once: whichever takes most."
    )
    data: int = Field(description="Rows and targets.")
    measures: int = Field(description="Of the measures; 0 without any.")


class MeasurePlan(Resource):
    """How often a measure would be taken, and what it would cost."""

    kind: str = Field(description="Of the measure.")
    every: int | None = Field(description="Optimizer steps between two probes; null: at its own.")
    probes: int = Field(description="How often it is taken.")
    row_passes: float = Field(
        description="Of all its probes: 1 is one row through the network, forward. Training on a "
        "row is 3."
    )
    share: float = Field(description="The same as a share of the training's row-passes.")


SizedSpec = Annotated[
    dict[str, Any],
    WithJsonSchema(
        {
            "type": "object",
            "required": ["sizes"],
            "properties": {"sizes": {"type": "array", "items": {"type": "object"}}},
        }
    ),
]


class CheckedSpec(Resource):
    """A spec with everything that was computed of it."""

    spec: SizedSpec = Field(
        description="With every default filled in, and `sizes`: one row per layer with its "
        "shapes and parameters."
    )
    spec_hash: str = Field(description="sha256 of what decides the numbers.")
    parameters: int = Field(description="Learned values of the network.")
    memory: Memory = Field(description="Estimate in bytes, by purpose.")
    memory_bytes: int = Field(description="Their sum.")
    steps: int = Field(description="Optimizer steps of the whole budget.")
    measures: list[MeasurePlan] = Field(description="What each measure would cost.")
    findings: list[FindingResource] = Field(description="What its owner should know.")


def values_of(checked: Checked) -> dict[str, Any]:
    """The values of a `CheckedSpec`."""
    spec: dict[str, Any] = checked.spec.model_dump(mode="json")
    return {
        "spec": spec | {"sizes": checked.sizes},
        "spec_hash": checked.spec.hash,
        "parameters": checked.plan.parameters,
        "memory": vars(checked.memory),
        "memory_bytes": checked.memory.total,
        "steps": checked.steps,
        "measures": [one.to_json(checked) for one in planned(checked)],
        "findings": [finding.to_json() for finding in checked.findings],
    }
