import hashlib
from pathlib import Path
from typing import Any

import pytest

from evalmode import checkpoints
from evalmode.errors import BadAnswer, NoAnswer

BYTES = b"weights and their running statistics"


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
    played = play(checkpoints.download("ckpt_1", path), described, *broken, *rest)
    assert played.requests[-1].headers == {"range": "bytes=9-"}
    assert path.read_bytes() == BYTES


def test_a_download_with_another_checksum_leaves_no_file(
    play: Any, answer: Any, described: Any, tmp_path: Path
) -> None:
    with pytest.raises(BadAnswer, match="sha256"):
        play(
            checkpoints.download("ckpt_1", tmp_path / "w"),
            *[described, answer(), BYTES[::-1], b""],
        )
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_gets_nowhere_is_given_up(
    play: Any, answer: Any, described: Any, tmp_path: Path
) -> None:
    with pytest.raises(NoAnswer):
        play(
            checkpoints.download("ckpt_1", tmp_path / "w"),
            *[described, answer(), NoAnswer("reset")],
        )
    assert list(tmp_path.iterdir()) == []
