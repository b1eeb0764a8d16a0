"""What can be asked of models, as procedures: `client.models` of both clients.

A model is a name under which checkpoints are served; each one it has had is a version.
"""

from pathlib import Path
from typing import Any
from urllib.parse import quote

from evalmode.predictions import Extra, ask, ask_file
from evalmode.resources import Model, Predictions
from evalmode.statistics import Drift
from evalmode.steps import Emitting, Request, Steps, exchange, fetch, pages, put_json


def model_path(name: str, *what: str) -> str:
    """The path of a model, or of what is below it."""
    return "/".join(["/v1/models", *(quote(word, safe="") for word in (name, *what))])


def put(name: str, checkpoint: str) -> Steps[Model]:
    """Serve a checkpoint under a name, as its newest version.

    Repeating it changes nothing.

    Raises:
        Conflict: the checkpoint's diagnosis has an error; `reason` is its code.
    """
    request = put_json(model_path(name), {"checkpoint": checkpoint})
    return fetch(request, Model.model_validate)


def alias(name: str, alias: str, version: int) -> Steps[Model]:
    """Let an alias name a version, whatever it named before.

    Raises:
        NotFound: the model has no such version.
    """
    request = put_json(model_path(name, "aliases", alias), {"version": version})
    return fetch(request, Model.model_validate)


def drop_alias(name: str, alias: str) -> Steps[None]:
    """Let an alias name nothing."""
    yield from exchange(Request("DELETE", model_path(name, "aliases", alias)))


def list_all() -> Emitting[Model]:
    """Every model, newest first; pages are fetched as they are needed."""
    return pages("/v1/models", {}, Model.model_validate)


def get(name: str) -> Steps[Model]:
    """One model by its name."""
    return fetch(Request("GET", model_path(name)), Model.model_validate)


def delete(name: str) -> Steps[None]:
    """Delete a model with its versions and aliases; its checkpoints stay."""
    yield from exchange(Request("DELETE", model_path(name)))


def predict(
    name: str,
    inputs: Any,
    *extra: Extra,
    version: int | str | None = None,
    revision: str | None = None,
) -> Steps[Predictions]:
    """Ask a model, in eval mode.

    Args:
        name: the model's.
        inputs: numpy array or lists, (rows, *input_shape), raw as the dataset holds them;
            one axis is one row. Taken as float32.
        extra: `"probabilities"`, `"logits"` or both, to be answered too.
        version: a number or an alias; None is the newest.
        revision: name of other running statistics of the checkpoint to answer with.

    Raises:
        Invalid: rows of another shape, or numbers that are not finite.
        NotFound: there is no such model, version or revision.
    """
    return ask(_asked(name, version), inputs, extra, revision)


def predict_file(
    name: str,
    path: Path,
    media_type: str,
    version: int | str | None = None,
    revision: str | None = None,
) -> Steps[Predictions]:
    """Ask a model for the rows of a `.npy` file or for one image, sent as it is."""
    return ask_file(_asked(name, version), path, media_type, revision)


def _asked(name: str, version: int | str | None) -> str:
    which = () if version is None else ("versions", str(version))
    return model_path(name, *which, "predict")


def drift(name: str, version: int | str | None = None) -> Steps[Drift]:
    """Whether the rows that a model is asked for differ from those it was trained on.

    Args:
        name: the model's.
        version: a number or an alias; None is the newest.
    """
    query = {} if version is None else {"version": str(version)}
    return fetch(Request("GET", model_path(name, "drift"), query), Drift.model_validate)
