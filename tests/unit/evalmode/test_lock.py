import os
import subprocess
import sys
from pathlib import Path

import pytest

from evalmode.lock import DataFolderInUse, lock


def test_a_second_lock_on_the_same_folder_is_refused_by_name(tmp_path: Path) -> None:
    held = lock(tmp_path)
    with pytest.raises(DataFolderInUse, match=rf"process {os.getpid()}.*{tmp_path}"):
        lock(tmp_path, patience_seconds=0.1)
    os.close(held)
    os.close(lock(tmp_path, patience_seconds=0))


def test_a_folder_that_is_missing_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    os.close(lock(tmp_path / "a" / "b"))
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_a_child_that_was_given_the_lock_keeps_it_until_it_dies(tmp_path: Path) -> None:
    held = lock(tmp_path)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1, pass_fds=(held,))
    os.close(held)
    with pytest.raises(DataFolderInUse):
        lock(tmp_path, patience_seconds=0.1)
    child.communicate(b"\n")
    os.close(lock(tmp_path))
