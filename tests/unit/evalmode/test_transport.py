from contextlib import ExitStack
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import httpx

from evalmode.steps import Request
from evalmode.transport import _build


def parts(request: Request) -> list[Message]:
    """The parts of a multipart request, read as the mail standard says."""
    with httpx.Client(base_url="http://127.0.0.1") as http, ExitStack() as files:
        built = _build(http, request, files)
        head = b"content-type: " + built.headers["content-type"].encode() + b"\r\n\r\n"
        read = message_from_bytes(head + built.read()).get_payload()
    assert isinstance(read, list)
    return read


def test_files_and_json_are_parts_of_one_body(tmp_path: Path) -> None:
    (tmp_path / "theirs.safetensors").write_bytes(b"\x00\xff")
    content = {"file": tmp_path / "theirs.safetensors", "spec": b'{"seed":1}'}
    file, spec = parts(Request("POST", "/v1/checkpoints", files=content))
    assert file.get_param("name", header="content-disposition") == "file"
    assert file.get_filename() == "theirs.safetensors"
    assert file.get_payload(decode=True) == b"\x00\xff"
    assert spec.get_param("name", header="content-disposition") == "spec"
    assert spec.get_content_type() == "application/json"
    assert spec.get_filename() is None
    assert spec.get_payload(decode=True) == b'{"seed":1}'
