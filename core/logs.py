"""One JSON line per log entry on standard error, with the run's id bound to it.

Knows nothing of runs: an id is any text that a caller binds.
"""

import logging
import math
import re
import sys
import threading
from collections.abc import MutableMapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

import structlog

_SECRET_NAMES = re.compile(r"authorization|password|secret|token|api_key", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(://[^/\s:@]*:)[^/\s@]+(?=@)")
_QUIET = ("alembic.runtime.migration", "botocore", "aiobotocore", "s3fs", "fsspec", "httpx")


def configure(level: str = "info") -> None:
    """Send everything this process logs, whichever library logs it, to standard error as JSON.

    Replaces the handlers of the root logger, so it may be called again. Uncaught exceptions
    and warnings become entries as well.

    Args:
        level: `debug`, `info`, `warning` or `error`; entries below it are dropped.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_stamps(),
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _made_safe,
                structlog.processors.JSONRenderer(default=repr),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    _log_what_nobody_caught()


def get(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of a module; works before `configure`, which decides where entries go."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def bound(**values: Any) -> AbstractContextManager[None]:
    """Add `values` (such as `run_id`) to every entry of this thread or task inside the `with`."""
    return structlog.contextvars.bound_contextvars(**values)


def _stamps() -> list[structlog.typing.Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    ]


def _made_safe(
    logger: Any, method: str, entry: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    for name, value in entry.items():
        if _SECRET_NAMES.search(name):
            entry[name] = "***"
        elif isinstance(value, str) and "://" in value:
            entry[name] = _URL_PASSWORD.sub(r"\1***", value)
        elif isinstance(value, float) and not math.isfinite(value):
            entry[name] = repr(value)  # NaN is no JSON
    return entry


def _log_what_nobody_caught() -> None:
    log = get("uncaught")

    def in_main(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
        else:
            log.error("uncaught exception", exc_info=(kind, error, trace))

    def in_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and not issubclass(args.exc_type, SystemExit):
            in_main(args.exc_type, args.exc_value, args.exc_traceback)

    sys.excepthook = in_main
    threading.excepthook = in_thread
    logging.captureWarnings(True)


# Done on import, because structlog's own default prints to standard output.
structlog.configure(
    processors=[
        structlog.stdlib.filter_by_level,
        *_stamps(),
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
)
