"""Answers keep the order of the rows, and what is not finite never reaches JSON."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from api.problems import Invalid
from api.serving.answers import PredictAnswer, answer
from api.serving.inputs import Asked
from model.data.dataset import Facts
from model.errors import InputRefused
from model.predict import Predictor

ROWS = np.random.RandomState(0).standard_normal((5, 4)).astype(np.float32)
BY = {"checkpoint": "ckpt_1", "mode": "eval", "statistics": "sha256:1", "name": "digits"}


def answered(predictor: Predictor, asked: Asked) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(answer(predictor, asked, BY))
    PredictAnswer.model_validate(body)
    return body


@pytest.fixture
def predictor(load: Callable[..., Predictor], make_facts: Callable[..., Facts]) -> Predictor:
    return load(make_facts())


def test_a_class_is_the_likeliest_by_softmax(predictor: Predictor) -> None:
    body = answered(predictor, Asked(ROWS, frozenset({"probabilities", "logits"})))
    expected = torch.from_numpy(predictor.logits(ROWS)).double().softmax(1).numpy()
    assert np.allclose(body["probabilities"], expected, rtol=1e-12)
    assert np.array_equal(np.float32(body["logits"]), predictor.logits(ROWS))
    for row, prediction in enumerate(body["predictions"]):
        assert prediction["index"] == expected[row].argmax()
        assert prediction["label"] == "abc"[prediction["index"]]
        assert prediction["probability"] == body["probabilities"][row][prediction["index"]]


def test_what_answered_is_told_as_it_is_given(predictor: Predictor) -> None:
    assert answered(predictor, Asked(ROWS))["model"] == BY


def test_lists_come_only_when_asked_for(predictor: Predictor) -> None:
    assert set(answered(predictor, Asked(ROWS))) == {"predictions", "model"}


def test_a_regression_answers_numbers(
    load: Callable[..., Predictor], make_facts: Callable[..., Facts]
) -> None:
    predictor = load(make_facts(classes=None), loss="squared_error")
    values = [one["values"] for one in answered(predictor, Asked(ROWS))["predictions"]]
    assert np.array_equal(np.float32(values), predictor.logits(ROWS))


def test_only_cross_entropy_gives_probabilities(
    load: Callable[..., Predictor], make_facts: Callable[..., Facts]
) -> None:
    predictor = load(make_facts(), loss="half_sum_squares")
    assert answered(predictor, Asked(ROWS))["predictions"][0]["probability"] is None
    with pytest.raises(Invalid):
        answer(predictor, Asked(ROWS, frozenset({"probabilities"})), BY)


def break_one_output(predictor: Predictor) -> None:
    """Make the first output infinite for every row."""
    bias = next(p for n, p in predictor.loaded.network.named_parameters() if n == "3.bias")
    bias.data[0] = float("inf")


def test_an_output_that_is_not_finite_is_null_and_named(predictor: Predictor) -> None:
    break_one_output(predictor)
    body = answered(predictor, Asked(ROWS[:1], frozenset({"logits"})))
    assert body["predictions"] == [
        {"label": None, "index": None, "probability": None, "not_finite": "inf"}
    ]
    assert body["logits"][0][0] is None
    assert body["not_finite"] == {"logits": {"0.0": "inf"}}


def test_a_number_that_is_not_finite_is_null_and_named(
    load: Callable[..., Predictor], make_facts: Callable[..., Facts]
) -> None:
    predictor = load(make_facts(classes=None), loss="squared_error")
    break_one_output(predictor)
    (prediction,) = answered(predictor, Asked(ROWS[:1]))["predictions"]
    assert prediction["values"][0] is None
    assert prediction["not_finite"] == {"0": "inf"}


def test_a_row_beyond_float32_is_refused_by_number(predictor: Predictor) -> None:
    rows = np.array([[1.0, 2, 3, 4], [1, 2, 3, 1e300]])
    with pytest.raises(InputRefused) as refused:
        answer(predictor, Asked(rows), BY)
    assert refused.value.metadata["row"] == 1
