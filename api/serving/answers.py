"""From logits to the answer of a prediction: labels and probabilities, and JSON without NaN."""

from typing import Any

import numpy as np
from pydantic import BaseModel, Field
from pydantic_core import to_json

from api.problems import Invalid
from api.serving.inputs import Asked
from api.serving.windows import Answering, Floats
from api.validation import FieldError


class ClassPrediction(BaseModel):
    """The likeliest class of one row."""

    label: str | None = Field(description="Name of the class; null when no output is a number.")
    index: int | None = Field(description="Index of the class.")
    probability: float | None = Field(
        description="Softmax of its logit; null for networks not trained with cross entropy."
    )
    not_finite: str | None = Field(None, description="nan, inf or -inf where a value is null.")


class ValuePrediction(BaseModel):
    """The numbers of one row of a regression."""

    values: list[float | None] = Field(description="One per target; null where not finite.")
    not_finite: dict[str, str] | None = Field(
        None, description="nan, inf or -inf by index, where a value is null."
    )


class CautionResource(BaseModel):
    """Why an answer is to be taken with care."""

    reason: str = Field(description="Code of the finding that says more, such as BN_STATS_LAG.")
    message: str = Field(description="A sentence for people.")


class AnsweredBy(BaseModel):
    """What answered."""

    checkpoint: str = Field(description="Id of the checkpoint.")
    mode: str = Field("eval", description="Always eval: the running statistics, never the batch's.")
    statistics: str = Field(description="Fingerprint of the running statistics that were used.")
    name: str | None = Field(None, description="Of the model, where one was asked.")
    version: int | None = Field(None, description="Of that model.")
    revision: str | None = Field(None, description="Name of the revision, where it is one.")
    warnings: list[CautionResource] | None = Field(
        None, description="Where the running statistics are still those of the beginning."
    )


class PredictAnswer(BaseModel):
    """Answers in the order of the rows."""

    predictions: list[ClassPrediction] | list[ValuePrediction] = Field(description="One per row.")
    probabilities: list[list[float | None]] | None = Field(
        None, description="Per row and class, when asked for."
    )
    logits: list[list[float | None]] | None = Field(
        None, description="The network's outputs per row, when asked for."
    )
    not_finite: dict[str, dict[str, str]] | None = Field(
        None, description="nan, inf or -inf by `row.column` of each list above that has a null."
    )
    model: AnsweredBy = Field(description="Which checkpoint answered, and how.")


def answer(answering: Answering, asked: Asked, by: dict[str, Any]) -> bytes:
    """Predict and render.

    Args:
        by: the fields of `AnsweredBy`, without those that do not apply.

    Raises:
        InputRefused: rows that the network cannot answer.
        Invalid: probabilities of a network that has none.
    """
    loaded = answering.loaded
    softmax = loaded.spec.loss is not None and loaded.spec.loss.kind == "cross_entropy"
    if "probabilities" in asked.extras and not softmax:
        message = "this network was not trained with cross_entropy: it has no probabilities"
        raise Invalid(FieldError(path="return", message=message))
    logits = answering.logits(asked.rows)
    lists = {"logits": logits}
    if softmax:
        lists["probabilities"] = _softmax(logits)
    names = loaded.facts.classes
    body: dict[str, Any] = {
        "predictions": _values(logits) if names is None else _classes(names, lists),
        **{name: lists[name].tolist() for name in sorted(asked.extras)},
        **_what_is_not_finite({name: lists[name] for name in asked.extras}),
        "model": by,
    }
    return to_json(body, inf_nan_mode="null")


def _softmax(logits: Floats) -> Floats:
    with np.errstate(invalid="ignore"):
        shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
        powers = np.exp(shifted)
        chances: Floats = powers / powers.sum(axis=1, keepdims=True)
    return chances


def _classes(names: tuple[str, ...], lists: dict[str, Floats]) -> list[dict[str, Any]]:
    logits, probabilities = lists["logits"], lists.get("probabilities")
    rows = range(len(logits))
    best = logits.argmax(axis=1)
    chances = [None] * len(logits) if probabilities is None else probabilities[rows, best].tolist()
    broken = set(np.argwhere(~np.isfinite(logits))[:, 0].tolist())
    return [
        {"label": names[index], "index": index, "probability": chance}
        if row not in broken
        else {"label": None, "index": None, "probability": None, "not_finite": _word(logits[row])}
        for row, index, chance in zip(rows, best.tolist(), chances, strict=True)
    ]


def _values(outputs: Floats) -> list[dict[str, Any]]:
    predictions: list[dict[str, Any]] = []
    for row in outputs:
        words = _words(row)
        values = {"values": row.tolist()}
        predictions.append({**values, "not_finite": words} if words else values)
    return predictions


def _what_is_not_finite(lists: dict[str, Floats]) -> dict[str, Any]:
    words = {name: _words(values) for name, values in lists.items()}
    named = {name: found for name, found in words.items() if found}
    return {"not_finite": named} if named else {}


def _words(values: Floats) -> dict[str, str]:
    """nan, inf or -inf under the dotted index of every value that is not finite."""
    places = np.argwhere(~np.isfinite(values)).tolist()
    return {".".join(map(str, place)): str(float(values[tuple(place)])) for place in places}


def _word(row: Floats) -> str:
    return next(iter(_words(row).values()))
