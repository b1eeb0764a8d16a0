"""The rows on which another form of a network is compared with it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from api.calibration_rows import MOST_ROWS, calibration_rows, rows_if_there
from core import datasets
from core.local_files import LocalFiles
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


class Vanishing(LocalFiles):
    """A store of which somebody deletes a file as soon as it has been found."""

    def local(self, key: str) -> Path:
        path = super().local(key)
        self.delete(key)
        return path


def test_rows_that_are_deleted_between_a_look_and_the_reading_are_not_there(
    service: Any, client: Any, npz: Any
) -> None:
    body = npz(inputs=np.zeros((4, 2), np.float32), targets=np.arange(4) % 2)
    made = client.post("/v1/datasets?name=four&format=npz", files={"file": body}).json()
    files = Vanishing(Path(service.settings.files_url))
    assert rows_if_there(service.database, files, made["id"], MOST_ROWS) is None
