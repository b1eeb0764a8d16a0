import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of MNIST and CIFAR-10; without it the tests that need them are skipped."""
    default = Path(__file__).parents[4] / ".." / "shared" / "data"
    folder = Path(os.environ.get("EVALMODE_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}")
    return folder
