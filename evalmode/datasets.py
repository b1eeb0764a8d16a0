"""What can be asked of datasets, as procedures: `client.datasets` of both clients."""

from pathlib import Path
from urllib.parse import quote

from evalmode.resources import Dataset
from evalmode.steps import Emitting, Request, Steps, exchange, fetch, given, once, pages

FORMATS = {".csv": "csv", ".parquet": "parquet", ".npz": "npz", ".zip": "image_zip"}


def dataset_path(dataset: str) -> str:
    """The path of a dataset."""
    return f"/v1/datasets/{quote(dataset, safe='')}"


def upload(
    file: str | Path, *, targets: str | Path | None = None, **options: str | int | None
) -> Steps[Dataset]:
    """Upload a dataset.

    Args:
        file: CSV, Parquet, NPZ, IDX images, a zip of images, or a text of one word a line.
        targets: the label file of an IDX pair.
        options: `name` (else the file's), `format` (else read off the file's name, but for
            `"text"`), `target`, the column of a table that is to be predicted, and `context`,
            the characters of a text that each one is predicted from.

    Raises:
        Invalid: the file is no such dataset; the message names row, column or member.
        ValueError: no format was given and the file's name tells none.
    """
    path = Path(file)
    query = {name: str(value) for name, value in given(**options).items()}
    query.setdefault("name", path.name.partition(".")[0])
    if "format" not in query:
        query["format"] = format_of(path)
    files = {"file": path} if targets is None else {"file": path, "targets": Path(targets)}
    request = Request("POST", "/v1/datasets", query, once(), files=files)
    return fetch(request, Dataset.model_validate)


def format_of(path: Path) -> str:
    """The upload format that a file's name tells.

    Raises:
        ValueError: it tells none.
    """
    if path.name.removesuffix(".gz").endswith(("-ubyte", ".idx")):
        return "idx"
    if path.suffix not in FORMATS:
        raise ValueError(f"{path.name} does not tell its format; give `format`")
    return FORMATS[path.suffix]


def get(dataset: str) -> Steps[Dataset]:
    """One dataset by its id or name."""
    return fetch(Request("GET", dataset_path(dataset)), Dataset.model_validate)


def list_all() -> Emitting[Dataset]:
    """Every dataset, newest first."""
    return pages("/v1/datasets", {}, Dataset.model_validate)


def delete(dataset: str) -> Steps[None]:
    """Delete an uploaded dataset.

    Raises:
        Conflict: it is built in, or a run that has not ended reads it.
    """
    yield from exchange(Request("DELETE", dataset_path(dataset)))
