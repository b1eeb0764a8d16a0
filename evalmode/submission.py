"""Builds the spec of `evalmode submit` from a JSON file and from flags, which win over it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class SpecUnreadable(Exception):
    """The spec's file or a flag cannot be read; the message says why."""


@dataclass(frozen=True)
class Flags:
    """What can be said without a file; None leaves a field to the file or to its default."""

    dataset: str | None = None
    hidden: str | None = None  # units with commas between: 100,100
    activation: str | None = None
    norm: str | None = None  # its kind
    lr: float | None = None
    batch_size: int | None = None
    epochs: int | None = None
    seed: int | None = None
    name: str | None = None
    labels: tuple[str, ...] = ()  # key=value


def build(file: Path | None, flags: Flags) -> dict[str, Any]:
    """The spec's JSON object; whether it is a good one is the service's to say.

    Raises:
        SpecUnreadable: the file is no JSON object, or a flag is not of its form.
    """
    spec = _read(file) if file else {}
    plain = {name: getattr(flags, name) for name in ("dataset", "norm", "batch_size", "seed")}
    spec |= {name: value for name, value in plain.items() if value is not None}
    network = _network(flags)
    if network or "network" not in spec:
        spec["network"] = {"kind": "mlp", **spec.get("network", {}), **network}
    if flags.lr is not None:
        spec["optimizer"] = {"kind": "sgd", **spec.get("optimizer", {}), "lr": flags.lr}
    if flags.epochs is not None:
        spec["budget"] = {"epochs": flags.epochs}
    if flags.name is not None:
        spec["name"] = flags.name
    if flags.labels:
        spec["labels"] = {**spec.get("labels", {}), **dict(map(_pair, flags.labels))}
    return spec


def _network(flags: Flags) -> dict[str, Any]:
    network: dict[str, Any] = {}
    if flags.hidden is not None:
        try:
            network["hidden"] = [int(units) for units in flags.hidden.split(",") if units]
        except ValueError:
            message = f"--hidden is {flags.hidden!r}; give whole numbers, as 100,100"
            raise SpecUnreadable(message) from None
    if flags.activation is not None:
        network["activation"] = flags.activation
    return network


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise SpecUnreadable(f"--label is {text!r}; give key=value")
    return key, value


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise SpecUnreadable(f"{file} cannot be read as JSON: {error}") from None
    if not isinstance(found, dict):
        raise SpecUnreadable(f"{file} holds no JSON object")
    return found
