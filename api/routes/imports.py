"""Imports over HTTP: a checkpoint that was trained elsewhere."""

import asyncio
from typing import Any

from fastapi import APIRouter, Request, Response

from api import import_request, openapi, repeats, uploads
from api.bodies import JSON, StrictRoute
from api.openapi import refusals
from api.routes.checkpoints import CheckpointResource, resource
from api.services import Given

router = APIRouter(prefix="/v1", tags=["checkpoints"], route_class=StrictRoute)

_TEXT = {"type": "string", "contentMediaType": JSON}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            uploads.MULTIPART: {
                "schema": {
                    "type": "object",
                    "required": ["file", "spec"],
                    "additionalProperties": False,
                    "properties": {
                        "file": {
                            "type": "string",
                            "format": "binary",
                            "description": "The whole state dict as safetensors.",
                        },
                        "spec": _TEXT
                        | {
                            "contentSchema": openapi.reference("RunSpec"),
                            "description": "What was trained. `dataset` may be left out where "
                            "`about` has `input_shape`.",
                        },
                        "about": _TEXT
                        | {
                            "contentSchema": openapi.reference("ImportAbout"),
                            "description": "What neither spec nor file say.",
                        },
                    },
                }
            }
        },
    }
}


@router.post(
    "/checkpoints",
    status_code=201,
    response_model=CheckpointResource,
    response_description="Created: the checkpoint, at `Location`, with `import`.",
    responses={
        201: openapi.headers("Location", "Idempotent-Replay"),
        **refusals(400, 409, 413, 415, 422),
    },
    openapi_extra=_BODY,
)
async def import_checkpoint(request: Request, services: Given, key: repeats.Key = None) -> Response:
    """Import a checkpoint that was trained elsewhere, strictly: every tensor must fit.

    Names may be ours, those of a plain `torch.nn.Sequential`, or torchvision's of a resnet; what
    a wrapper of torch puts before each of them is taken off. `import` tells what was done, and
    `findings` what its statistics say of themselves. Nothing is scored: its metrics are empty.
    Nothing of a refused file stays.
    """
    await services.admission.require_disk()
    scratch, settings = services.files.scratch(), services.settings
    limit = settings.upload_body_bytes
    async with uploads.receive(request, scratch, import_request.PARTS, limit) as received:
        repeat = repeats.asked(request, key, received.sha256)
        read = import_request.parsed
        wanted = await asyncio.to_thread(read, received, settings.control_body_bytes)
        accepted = await services.imports.accept(wanted, received, repeat)
    body = resource(accepted.checkpoint).model_dump_json(by_alias=True)
    location = f"/v1/checkpoints/{accepted.checkpoint.id}"
    return Response(body, 201, repeats.headers(location, replayed=accepted.replayed), JSON)
