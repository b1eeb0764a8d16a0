"""The files of a report as they lie in the store, written by a worker; nothing is drawn here."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import Request, Response

from api.downloads import is_known
from api.problems import Refusal
from api.services import Services
from core.errors import ReportNotReady
from core.experiments import Experiment

HTML, JSON, CSV = "text/html; charset=utf-8", "application/json", "text/csv; charset=utf-8"
MEDIA_TYPES = {"svg": "image/svg+xml", "png": "image/png", "json": JSON, "csv": CSV}
#: Nothing that a request wrote into a report, such as the name of an arm, may act in a browser.
_HARMLESS = {
    "Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "font-src data:; sandbox",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class Part:
    """One file of a report."""

    name: str  # in the report's folder
    media_type: str
    saved_as: str  # what a browser calls it
    missing: tuple[str, str] = ("", "")  # reason and sentence of the refusal where it is not there


def figure(name: str, form: str) -> Part:
    """A figure in one of its forms."""
    missing = ("FIGURE_NOT_FOUND", "The report has no figure of this name.")
    return Part(f"figure-{name}.{form}", MEDIA_TYPES[form], f"figure.{form}", missing)


def table(name: str) -> Part:
    """A table as CSV."""
    missing = ("TABLE_NOT_FOUND", "The report has no table of this name.")
    return Part(f"table-{name}.csv", CSV, "table.csv", missing)


REPORT = Part("report.json", JSON, "report.json")
PAGE = Part("report.html", HTML, "report.html")


async def send(request: Request, services: Services, record: Experiment, part: Part) -> Response:
    """The response to GET of a part of a report.

    Raises:
        ReportNotReady: there is no report, or none yet.
        Refusal: 404, the report has no such part.
        FileMissing, StoreUnavailable: it cannot be read.
    """
    if record.files is None or record.prefix is None:
        raise ReportNotReady(record.state)
    sha256 = record.files.get(part.name)
    if sha256 is None:
        reason, detail = part.missing
        raise Refusal(404, reason, detail)
    headers: Mapping[str, str] = {
        "ETag": f'"{sha256}"',
        "Cache-Control": "private, max-age=31536000, immutable",
        "Content-Disposition": f'inline; filename="{part.saved_as}"',
        **_HARMLESS,
    }
    if is_known(request.headers.get("if-none-match"), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    content = await asyncio.to_thread(_read, services, f"{record.prefix}/{part.name}")
    return Response(content, 200, headers, part.media_type)


def _read(services: Services, key: str) -> bytes:
    with services.files.open(key) as file:
        return file.read()
