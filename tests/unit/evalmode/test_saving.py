import hashlib
from pathlib import Path

import pytest

from evalmode.errors import BadAnswer
from evalmode.saving import Saving

BYTES = b"weights and their running statistics"


def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    with Saving(path) as file:
        file.write(BYTES[:9])
        file.write(BYTES[9:])
        assert file.size == len(BYTES)
        assert not path.exists()
        assert file.keep(hashlib.sha256(BYTES).hexdigest()) == path
    assert path.read_bytes() == BYTES
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_was_there_stays_when_the_new_one_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"old")
    with Saving(path) as file:
        file.write(BYTES)
        with pytest.raises(BadAnswer, match="sha256"):
            file.keep(hashlib.sha256(b"other").hexdigest())
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
