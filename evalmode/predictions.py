"""How rows are sent to be answered, by a run's checkpoint or by a model."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from evalmode.resources import Predictions
from evalmode.steps import Request, Steps, fetch, given, post_json

RAW = "application/octet-stream"

Extra = Literal["probabilities", "logits"]


def raw_rows(inputs: Any) -> npt.NDArray[np.float32]:
    """Rows as row-major float32; one axis is one row."""
    array = np.ascontiguousarray(inputs, dtype="<f4")
    return array[np.newaxis] if array.ndim == 1 else array


def ask(
    path: str, inputs: Any, extra: tuple[Extra, ...], revision: str | None
) -> Steps[Predictions]:
    """Send rows as numbers.

    Args:
        path: what is asked.
        inputs: numpy array or lists, (rows, *input_shape).
        extra: to be answered too.
        revision: name of the running statistics to answer with.
    """
    rows, query = raw_rows(inputs), given(revision=revision)
    if extra:  # only JSON has a place to ask for more
        request = post_json(path, {"inputs": rows.tolist(), "return": extra}, query=query)
    else:
        headers = {"content-type": RAW, "x-shape": ",".join(map(str, rows.shape))}
        request = Request("POST", path, query, headers, rows.tobytes())
    return fetch(request, Predictions.model_validate)


def ask_file(path: str, file: Path, media_type: str, revision: str | None) -> Steps[Predictions]:
    """Send a `.npy` file or one image as it is."""
    query = given(revision=revision)
    request = Request("POST", path, query, {"content-type": media_type}, file.read_bytes())
    return fetch(request, Predictions.model_validate)
