"""The forkserver has imported everything and done nothing else."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from worker import forkserver
from worker.channel import Channel
from worker.services import started_at


@pytest.fixture(scope="module", autouse=True)
def _warm() -> None:
    before = {name: os.environ.get(name) for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")}
    os.environ.update(dict.fromkeys(before, "1"))
    forkserver.warm()
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


def test_it_runs_one_thread_and_has_not_touched_cuda() -> None:
    process = Path(f"/proc/{forkserver.pid()}")
    assert len(list((process / "task").iterdir())) == 1
    assert "libtorch" in (process / "maps").read_text()
    assert "libcuda.so" not in (process / "maps").read_text()


def test_importing_the_trainer_runs_no_tensor_operation_and_starts_no_thread() -> None:
    script = (
        "import threading, torch\n"
        "from torch.utils._python_dispatch import TorchDispatchMode\n"
        "class Refuse(TorchDispatchMode):\n"
        "    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):\n"
        "        raise AssertionError(f'{operation} ran at import')\n"
        "state = torch.get_rng_state().clone()\n"
        "with Refuse():\n"
        "    import torch._dynamo, worker.child\n"
        "assert torch.equal(state, torch.get_rng_state())\n"
        "assert threading.active_count() == 1\n"
        "assert not torch.cuda.is_initialized()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_child_leads_a_session_of_its_own_and_finds_everything_imported() -> None:
    child = forkserver.start(_tell)
    told = child.channel.receive()
    child.close()
    assert told["session"] == child.process.pid
    assert told["parent"] == forkserver.pid()
    assert told["loaded"]


def _tell(connection: Any) -> None:
    loaded = "worker.child" in sys.modules and "torch._dynamo" in sys.modules
    forkserver.die_with_forkserver()
    Channel(connection).send("told", session=os.getsid(0), parent=os.getppid(), loaded=loaded)


def test_a_process_is_named_by_its_pid_and_its_start() -> None:
    assert started_at(os.getpid()) is not None
    child = subprocess.Popen(["sleep", "60"])
    assert started_at(child.pid) is not None
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert started_at(child.pid) is None  # a zombie counts as gone
    child.wait()
    assert started_at(child.pid) is None


def test_it_starts_where_the_temporary_folder_is_too_deep_for_a_socket(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    script = (
        "import tempfile\n"
        "from worker import forkserver\n"
        "forkserver.warm()\n"
        "print(tempfile.gettempdir())\n"
    )
    environment = os.environ | {"TMPDIR": str(deep), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(deep)


def test_a_worker_itself_never_loads_torch() -> None:
    script = "import sys, worker.app; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
