"""`python -m api`: one API process, with one torch thread, until SIGTERM or ctrl-C."""

import argparse
import signal
import socket
import sys
from types import FrameType

import torch

from api.main import create_app
from api.server import Server
from core import logs
from core.settings import SettingsRefused, load


def main() -> int:
    """Serve until a signal says stop; answers that are open are finished first."""
    arguments = _arguments()
    try:
        settings = load()
    except SettingsRefused as refused:
        sys.stderr.write(f"{refused}\n")
        return 2
    logs.configure(settings.log_level)
    torch.set_num_threads(1)  # more of them take from trainers what they give to predictions
    # uvicorn raises the signal again when it has finished; that is a normal end here.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    server = Server(create_app(settings), settings)
    server.run([socket.socket(fileno=arguments.fd)] if arguments.fd is not None else None)
    return 0 if server.started else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m api", description=__doc__)
    parser.add_argument("--fd", type=int, help="an inherited socket that listens already")
    return parser.parse_args()


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(main())
