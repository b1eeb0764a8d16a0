"""The rows on which another form of a network is compared with it."""

from typing import Any

import numpy as np
import pytest

from api.calibration_rows import MOST_ROWS, calibration_rows, rows_if_there
from core import datasets
from model.data.builtin import build

DIGITS = build("digits").inputs


def test_rows_lie_evenly_over_the_dataset_first_and_last_among_them(service: Any) -> None:
    dataset = service.database.read(lambda c: datasets.get(c, "digits"))
    places = {row.tobytes(): place for place, row in enumerate(DIGITS)}
    for most in (2, 8, MOST_ROWS):
        rows = calibration_rows(service.files, dataset, most)
        found = [places[row.tobytes()] for row in rows]
        step = (len(DIGITS) - 1) / (most - 1)
        assert found == pytest.approx([n * step for n in range(most)], abs=1)
        assert (found[0], found[-1]) == (0, len(DIGITS) - 1)


def test_a_small_dataset_gives_all_its_rows_and_one_that_is_gone_none(
    service: Any, client: Any, npz: Any
) -> None:
    inputs = np.arange(20, dtype=np.float32).reshape(10, 2)
    body = npz(inputs=inputs, targets=np.arange(10) % 2)
    made = client.post("/v1/datasets?name=ten&format=npz", files={"file": body}).json()

    def found(name: str) -> Any:
        return rows_if_there(service.database, service.files, name, MOST_ROWS)

    np.testing.assert_array_equal(found(made["id"]), inputs)
    client.delete(f"/v1/datasets/{made['id']}")
    for name in (made["id"], "ten", "never-was"):
        assert found(name) is None
