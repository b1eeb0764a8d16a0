import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from evalmode import checkpoint_files
from evalmode.errors import BadAnswer, NoAnswer
from model.spec import RunSpec

BYTES = b"weights and their running statistics"
SPEC = {"dataset": "digits", "network": {"kind": "mlp"}}


@pytest.fixture
def described(answer: Any) -> Any:
    return answer(
        {
            "id": "ckpt_1",
            "step": 1,
            "sha256": hashlib.sha256(BYTES).hexdigest(),
            "bytes": len(BYTES),
            "statistics": {"fingerprint": "sha256:0", "layers": 1},
        }
    )


def test_a_download_goes_on_where_the_connection_broke(
    play: Any, answer: Any, described: Any, tmp_path: Path
) -> None:
    path = tmp_path / "weights.safetensors"
    broken = [answer(), BYTES[:9], NoAnswer("reset")]
    rest = [answer(status=206), BYTES[9:], b""]
    played = play(checkpoint_files.download("ckpt_1", path), described, *broken, *rest)
    assert played.requests[-1].headers == {"range": "bytes=9-"}
    assert path.read_bytes() == BYTES


def test_a_download_with_another_checksum_leaves_no_file(
    play: Any, answer: Any, described: Any, tmp_path: Path
) -> None:
    with pytest.raises(BadAnswer, match="sha256"):
        play(
            checkpoint_files.download("ckpt_1", tmp_path / "w"),
            *[described, answer(), BYTES[::-1], b""],
        )
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_gets_nowhere_is_given_up(
    play: Any, answer: Any, described: Any, tmp_path: Path
) -> None:
    with pytest.raises(NoAnswer):
        play(
            checkpoint_files.download("ckpt_1", tmp_path / "w"),
            *[described, answer(), NoAnswer("reset")],
        )
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def exported(answer: Any) -> Any:
    """Makes the answer to an export."""

    def make(body: bytes) -> Any:
        return answer(body, etag=f'"{hashlib.sha256(BYTES).hexdigest()}"')

    return make


def test_an_export_is_asked_for_again_where_the_connection_broke(
    play: Any, exported: Any, tmp_path: Path
) -> None:
    path = tmp_path / "digits.onnx"
    steps = checkpoint_files.export("ckpt_1", "onnx", path)
    played = play(steps, NoAnswer("reset"), exported(BYTES))
    assert played.value == path
    assert path.read_bytes() == BYTES
    assert [request.query for request in played.requests] == [{"format": "onnx"}] * 2
    assert played.requests[0].path == "/v1/checkpoints/ckpt_1/export"


def test_an_export_with_another_checksum_leaves_no_file(
    play: Any, exported: Any, tmp_path: Path
) -> None:
    steps = checkpoint_files.export("ckpt_1", "safetensors_folded", tmp_path / "folded")
    with pytest.raises(BadAnswer, match="sha256"):
        play(steps, exported(BYTES[:-1]))
    assert list(tmp_path.iterdir()) == []


def test_an_export_without_a_checksum_is_not_of_this_service(
    play: Any, answer: Any, tmp_path: Path
) -> None:
    with pytest.raises(BadAnswer):
        play(checkpoint_files.export("ckpt_1", "onnx", tmp_path / "x"), answer(BYTES))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("spec", [SPEC, RunSpec.model_validate(SPEC)])
def test_an_import_sends_the_file_and_what_was_trained_as_parts(
    spec: Any, play: Any, described: Any, tmp_path: Path
) -> None:
    steps = checkpoint_files.import_file(tmp_path / "theirs.safetensors", spec)
    request = play(steps, described).requests[0]
    assert (request.method, request.path) == ("POST", "/v1/checkpoints")
    assert request.files.keys() == {"file", "spec"}
    assert request.files["file"] == tmp_path / "theirs.safetensors"
    assert json.loads(request.files["spec"]) == SPEC
    assert len(request.headers["idempotency-key"]) == 36


def test_an_import_tells_more_about_the_file_where_it_is_given(play: Any, answer: Any) -> None:
    about = {"input_shape": [64], "classes": ["a", "b"], "averaged": True}
    told = {
        "id": "ckpt_2",
        "run": None,
        "step": 0,
        "sha256": "00",
        "bytes": 9,
        "statistics": {"fingerprint": "sha256:0", "layers": 1},
        "import": {"filled": ["1.num_batches_tracked"]},
    }
    played = play(checkpoint_files.import_file("w", SPEC, about), answer(told, 201))
    assert json.loads(played.requests[0].files["about"]) == about
    assert played.value.import_report == {"filled": ["1.num_batches_tracked"]}
    assert "import" in played.value.model_dump()
