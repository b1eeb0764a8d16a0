"""Whether tensors are those of a network: every name, shape and type that is not, named at once."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from model.errors import ShapeMismatch, StatisticsMissing
from model.statistics.fingerprint import is_statistic

MOST_NAMES = 64  # of one kind in one refusal; counts are always told
MOST_CHARACTERS = 120  # of one name in a refusal
COUNTER = "num_batches_tracked"

#: Types whose every value the wider type holds.
WIDER: dict[torch.dtype, frozenset[torch.dtype]] = {
    torch.float32: frozenset({torch.float16, torch.bfloat16}),
    torch.float64: frozenset({torch.float16, torch.bfloat16, torch.float32}),
    torch.int64: frozenset({torch.int32, torch.int16, torch.int8, torch.uint8}),
}


def refuse_misfits(
    wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], names: Mapping[str, str]
) -> None:
    """Refuse tensors that are not exactly those of a network, as their file names them.

    A type may be narrower where the wanted one holds its every value, and a counter may be
    missing: files older than PyTorch's second version of batch norm have none.

    Args:
        wanted: the network's tensors; only shapes and types are looked at.
        given: the file's tensors.
        names: of every wanted tensor, its name in `wanted` by that in the file.

    Raises:
        StatisticsMissing: a running mean or spread is missing; the other misfits are named too.
        ShapeMismatch: anything else is missing, unexpected, or of another shape or type.
    """
    found = {kind: some for kind, some in _misfits(wanted, given, names).items() if some}
    told = {kind: bounded(some) for kind, some in found.items()}
    counts = {kind: len(some) for kind, some in found.items()}
    forgotten = bounded(name for name in found.get("missing", ()) if is_statistic(name))
    if forgotten:
        message = f"running statistics are missing: {', '.join(forgotten[:8])}"
        raise StatisticsMissing(message, **told, statistics=forgotten, counts=counts)
    if told:
        each = "; ".join(
            f"{kind.replace('_', ' ')} ({counts[kind]}): {', '.join(some[:8])}"
            for kind, some in told.items()
        )
        raise ShapeMismatch(f"tensors of another network: {each}", **told, counts=counts)


def bounded(names: Iterable[str]) -> list[str]:
    """At most `MOST_NAMES`, sorted, each cut and free of what a terminal would act on."""
    return [ascii(name)[1:-1][:MOST_CHARACTERS] for name in sorted(names)[:MOST_NAMES]]


def is_counter(name: str) -> bool:
    """Whether a state-dict name is a norm layer's count of batches."""
    return name.rpartition(".")[2] == COUNTER


def type_name(tensor: Tensor) -> str:
    """ "float32" and the like."""
    return str(tensor.dtype).removeprefix("torch.")


def _misfits(
    wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], names: Mapping[str, str]
) -> dict[str, list[str]]:
    pairs = [(name, wanted[names[name]], given[name]) for name in names if name in given]
    return {
        "missing": [name for name in names if name not in given and not is_counter(name)],
        "unexpected": [name for name in given if name not in names],
        "wrong_shape": [
            f"{name}: expected {tuple(like.shape)}, got {tuple(one.shape)}"
            for name, like, one in pairs
            if one.shape != like.shape
        ],
        "wrong_type": [
            f"{name}: expected {type_name(like)}, got {type_name(one)}"
            for name, like, one in pairs
            if one.dtype != like.dtype and one.dtype not in WIDER.get(like.dtype, ())
        ],
    }
