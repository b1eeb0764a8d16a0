import json
from typing import Any

import numpy as np
import pytest

from evalmode import revisions
from evalmode.errors import NoAnswer


def sent(played: Any) -> Any:
    return json.loads(played.requests[0].body)


@pytest.mark.parametrize(
    ("arguments", "body"),
    [
        ({}, {"method": "precise", "seed": 0}),
        (
            {"method": "ema", "momentum": 0.0, "rows": 500, "batch_rows": 32, "seed": 3},
            {"method": "ema", "momentum": 0.0, "rows": 500, "batch_rows": 32, "seed": 3},
        ),
        (
            {"method": "adapt", "dataset": "wine", "source_rows": 0, "name": "domain-b"},
            {"method": "adapt", "seed": 0, "dataset": "wine", "source_rows": 0, "name": "domain-b"},
        ),
        (
            {"device": "cpu", "threads": 2, "rows": np.int64(7)},
            {"method": "precise", "seed": 0, "device": "cpu", "threads": 2, "rows": 7},
        ),
    ],
)
def test_a_recalibration_sends_what_was_given_and_nothing_else(
    arguments: dict[str, Any],
    body: dict[str, Any],
    play: Any,
    answer: Any,
    make_operation: Any,
) -> None:
    steps = revisions.recalibrate("ckpt_1", **arguments)
    played = play(steps, answer(make_operation(), 202))
    assert played.requests[0].path == "/v1/checkpoints/ckpt_1/recalibrate"
    assert sent(played) == body
    assert (played.value.id, played.value.done) == ("op_1", False)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[1, 2.5], [3, 4]], [[1.0, 2.5], [3.0, 4.0]]),
        (np.arange(4, dtype=np.uint8).reshape(2, 2), [[0.0, 1.0], [2.0, 3.0]]),
        ([0.5, 1], [[0.5, 1.0]]),
        (np.zeros((1, 1, 1, 2)), [[[[0.0, 0.0]]]]),
    ],
)
def test_rows_of_numbers_are_sent_as_lists(
    rows: Any, expected: Any, play: Any, answer: Any, make_operation: Any
) -> None:
    steps = revisions.recalibrate("ckpt_1", rows=rows)
    assert sent(play(steps, answer(make_operation(), 202)))["rows"] == expected


@pytest.mark.parametrize(
    ("rows", "error"),
    [([[float("nan")]], ValueError), (2.5, TypeError), ("many", TypeError)],
)
def test_what_is_neither_a_count_nor_rows_is_refused_before_anything_is_sent(
    rows: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        revisions.recalibrate("ckpt_1", rows=rows)


def test_a_recalibration_repeated_after_a_break_carries_the_same_key(
    play: Any, answer: Any, make_operation: Any
) -> None:
    steps = revisions.recalibrate("ckpt_1")
    first, second = play(steps, NoAnswer("reset"), answer(make_operation(), 202)).requests
    assert first == second
    assert len(first.headers["idempotency-key"]) == 36


@pytest.mark.parametrize(
    ("name", "body"),
    [
        (None, {"statistics_from": "ckpt_2"}),
        ("b", {"statistics_from": "ckpt_2", "name": "b"}),
    ],
)
def test_statistics_of_another_checkpoint_are_put_on_its_weights(
    name: str | None, body: dict[str, str], play: Any, answer: Any, make_operation: Any
) -> None:
    steps = revisions.revise("ckpt_1", "ckpt_2", name, idempotency_key="mine")
    played = play(steps, answer(make_operation(kind="transplant"), 202))
    (request,) = played.requests
    assert (request.method, request.path) == ("POST", "/v1/checkpoints/ckpt_1/revisions")
    assert request.headers["idempotency-key"] == "mine"
    assert sent(played) == body


def test_revisions_are_checkpoints_with_a_name(play: Any, answer: Any) -> None:
    told = {
        "id": "ckpt_2",
        "run": "run_1",
        "step": 1,
        "sha256": "00",
        "bytes": 9,
        "statistics": {"fingerprint": "sha256:0", "layers": 1},
        "revision_of": "ckpt_1",
        "name": "r1",
        "made_by": {"method": "precise"},
        "findings": [],
    }
    page = answer({"data": [told], "has_more": False, "last_id": "ckpt_2"})
    (found,) = play(revisions.list_all("ckpt_1"), page).emitted
    assert (found.name, found.revision_of, found.made_by) == ("r1", "ckpt_1", told["made_by"])
