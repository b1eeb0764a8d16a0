"""That two runs differ in one factor: the fields that differ, and what is proven to be equal.

Hashes are sha256 of bytes, types and shapes. The order of the data is that of the row indices
which the run's own generator draws; a tensor is compared with the one of the other network that
belongs to the same layer with weights, counted from the input side.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor

from model.lab.results import Start
from model.spec import RunSpec
from model.training.order import order_of

EPOCHS = 2  # whose order is hashed; the generator's state leads from there to all later ones
NOT_NUMBERS = {"name", "labels", "measures"}  # fields of a spec that decide no number


@dataclass(frozen=True)
class Tensors:
    """The learned tensors of one layer with weights, by what they are there: weight, bias."""

    layer: str  # its state-dict prefix
    shapes: Mapping[str, tuple[int, ...]]
    hashes: Mapping[str, str]


@dataclass(frozen=True)
class Fingerprint:
    """What a run has before its first step, hashed."""

    spec: RunSpec
    order: str
    layers: tuple[Tensors, ...]  # with weights, input side first
    others: Mapping[str, tuple[int, ...]]  # shapes of all other parameters: those of norms
    norm_layers: int  # with parameters or without


def fingerprint(start: Start) -> Fingerprint:
    """Hash the start of a run."""
    parameters = dict(start.network.named_parameters())
    planned = tuple(start.checked.plan.walk())
    weighted = [layer.name for layer in planned if layer.has_weights]
    layers = tuple(_tensors(name, parameters) for name in weighted)
    taken = {f"{one.layer}.{part}" for one in layers for part in one.hashes}
    others = {name: tuple(p.shape) for name, p in parameters.items() if name not in taken}
    norms = sum(layer.norm is not None for layer in planned)
    return Fingerprint(start.checked.spec, order_hash(start), layers, others, norms)


def compared(first: Fingerprint, second: Fingerprint, names: tuple[str, str]) -> dict[str, Any]:
    """What two runs share and what not, JSON-ready.

    Args:
        names: of the two arms.
    """
    shared, different, alone = _tensor_pairs(first, second)
    return {
        "seed": second.spec.seed,
        "arms": list(names),
        "differ_in": differing(first.spec, second.spec),
        "same_order": first.order == second.order,
        "order_sha256": [first.order, second.order],
        "same_start": not different,
        "shared_tensors": shared,
        "different_tensors": different,
        "tensors_of_one": alone,
        "norm_parameters": [sorted(first.others), sorted(second.others)],
        "norm_layers": [first.norm_layers, second.norm_layers],
    }


def caveats(proofs: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """In words, which of the compared arms do not share what a factor should leave alone.

    And which share their norm, though it should differ, for no norm layer stands in either.
    """
    found: dict[str, None] = {}
    for proof in proofs:
        arms = " and ".join(proof["arms"])
        if not proof["same_order"]:
            found[f"{arms} do not see the same rows in the same order."] = None
        if not proof["same_start"]:
            found[f"{arms} do not start from the same weights."] = None
        if any(map(_is_of_norm, proof["differ_in"])) and not any(proof["norm_layers"]):
            text = f"{arms} have no norm layer, so their norms make no difference between them."
            found[text] = None
    return tuple(found)


def is_one_network(proof: Mapping[str, Any]) -> bool:
    """Whether two arms differ in nothing but a norm that stands in neither."""
    fields = proof["differ_in"]
    return bool(fields) and all(map(_is_of_norm, fields)) and not any(proof["norm_layers"])


def differing(first: RunSpec, second: RunSpec) -> list[str]:
    """The dotted fields in which two specs differ; where the kinds differ, the field as a whole."""
    one, two = (spec.model_dump(mode="json", exclude=NOT_NUMBERS) for spec in (first, second))
    return _differing(one, two)


def order_hash(start: Start) -> str:
    """The row indices of the first epochs and how they fall into batches, hashed."""
    spec, batches = start.checked.spec, start.checked.batches
    rows = len(start.arrays.train)
    order = order_of(spec, batches.sizes, start.arrays.train)
    digest = hashlib.sha256(repr((rows, batches.sizes)).encode())
    for _ in range(EPOCHS):
        digest.update(order.epoch().rows.numpy().tobytes())
    digest.update(order.generator.get_state().numpy().tobytes())
    return digest.hexdigest()


def tensor_hash(tensor: Tensor) -> str:
    """Type, shape and bytes of a tensor, hashed."""
    plain = tensor.detach().cpu().contiguous()
    digest = hashlib.sha256(repr((str(plain.dtype), tuple(plain.shape))).encode())
    digest.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _is_of_norm(field: str) -> bool:
    return field.partition(".")[0] == "norm"


def _tensors(layer: str, parameters: Mapping[str, Tensor]) -> Tensors:
    found = {part: parameters.get(f"{layer}.{part}") for part in ("weight", "bias")}
    there = {part: tensor for part, tensor in found.items() if tensor is not None}
    shapes = {part: tuple(tensor.shape) for part, tensor in there.items()}
    return Tensors(layer, shapes, {part: tensor_hash(tensor) for part, tensor in there.items()})


def _tensor_pairs(
    first: Fingerprint, second: Fingerprint
) -> tuple[int, list[list[str]], list[str]]:
    """How many tensors are equal, the pairs that are not, and those that one network has alone."""
    shared, different, alone = 0, list[list[str]](), list[str]()
    nothing = Tensors("", {}, {})
    for one, two in zip_longest(first.layers, second.layers, fillvalue=nothing):
        for part in ("weight", "bias"):
            here, there = one.hashes.get(part), two.hashes.get(part)
            if here is None and there is None:
                continue
            names = [f"{side.layer}.{part}" for side in (one, two) if part in side.hashes]
            if one.shapes.get(part) != two.shapes.get(part):
                alone += names
            elif here == there:
                shared += 1
            else:
                different.append(names)
    return shared, different, alone


def _differing(first: Any, second: Any, path: str = "") -> list[str]:
    if first == second:
        return []
    if not (isinstance(first, dict) and isinstance(second, dict)):
        return [path]
    if path and first.get("kind") != second.get("kind"):
        return [path]
    found: list[str] = []
    for key in [*first, *(key for key in second if key not in first)]:
        below = f"{path}.{key}" if path else key
        if key in first and key in second:
            found += _differing(first[key], second[key], below)
        else:
            found.append(below)
    return found
