"""What a probe found, in the form in which it leaves the run: bounded, and fit for JSON."""

import json
from collections.abc import Mapping
from itertools import islice
from typing import Any

from model.measures.probe import Reading
from model.training.observer import Measured

MOST_VALUES = 100  # metric points of one probe: the run's summary lists every name
MOST_BYTES = 256 * 1024  # of one probe's data as JSON


def measured(kind: str, step: int, reading: Reading) -> Measured:
    """A reading with its measure and step; what is too much is left out, and said so.

    Its data has `values_left_out` where there are more than 100 values, and nothing but
    `bytes` and `most_bytes` where it takes more than 256 KiB.
    """
    values = dict(islice(reading.values.items(), MOST_VALUES))
    data = plain(reading.data)
    if left := len(reading.values) - len(values):
        data["values_left_out"] = left
    size = len(json.dumps(data))
    if size > MOST_BYTES:
        data = {"left_out": "too large", "bytes": size, "most_bytes": MOST_BYTES}
    return Measured(kind, step, values, data)


def unreadable(error: Exception) -> Reading:
    """What a probe reads of a network that is not finite, where it cannot go on."""
    return Reading({}, {"unreadable": f"{type(error).__name__}: {error}"[:500]})


def plain(data: Mapping[str, Any]) -> dict[str, Any]:
    """A copy as JSON holds it: numbers that are not finite are null."""
    found: dict[str, Any] = json.loads(json.dumps(data), parse_constant=lambda _: None)
    return found
