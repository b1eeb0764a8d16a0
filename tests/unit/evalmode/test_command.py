import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evalmode.command import app


def test_every_command_explains_itself() -> None:
    names = [command.name or command.callback.__name__ for command in app.registered_commands]
    assert {"up", "submit", "diagnose", "recalibrate", "capabilities"} <= set(names)
    for name in names:
        shown = CliRunner().invoke(app, [name, "--help"])
        assert shown.exit_code == 0
        assert shown.output.strip()


def test_a_missing_service_is_one_message_and_no_traceback() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    shown = CliRunner().invoke(app, ["watch", "run_1", "--url", url])
    assert shown.exit_code == 1
    assert shown.stderr == f"evalmode: there is no service at {url}; `evalmode up` starts one\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["up", "--host", "0.0.0.0"], "EVALMODE_ALLOW_OPEN"),
        (["up", "--slots", "0"], "EVALMODE_SLOTS"),
        (["submit", "absent.json"], "absent.json cannot be read"),
        (["predict", "run_1", "absent.npy"], "evalmode: no file absent.npy\n"),
        (["predict", "run_1", "."], "evalmode: . is no file\n"),
        (["recalibrate", "ckpt_1", "--method", "guess"], "'guess' is not one of 'precise'"),
    ],
)
def test_what_cannot_work_is_refused_in_words(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = ["--url", f"http://127.0.0.1:{listening.getsockname()[1]}"]
        shown = CliRunner().invoke(app, arguments + (url if arguments[0] == "submit" else []))
    assert shown.exit_code == 2
    assert message in shown.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_loads_no_torch() -> None:
    code = "import sys, evalmode.command; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
