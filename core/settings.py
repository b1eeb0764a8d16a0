"""Every address, limit and time that both processes must agree on, read from `EVALMODE_…`.

The only file that looks at the environment. It opens nothing and starts nothing.
"""

import hashlib
import ipaddress
import json
import os
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

PREFIX = "EVALMODE_"
MIB = 2**20
GIB = 2**30
SOCKET_PATH_BYTES = 100  # the kernel's limit is 107; Redis adds a suffix while it binds

Seconds = Annotated[float, Field(gt=0, le=31_536_000, allow_inf_nan=False)]
Bytes = Annotated[int, Field(ge=0, le=2**53)]
Count = Annotated[int, Field(ge=1, le=2**53)]


class SettingsRefused(Exception):
    """The environment asks for something that cannot work; the message names each variable."""


def socket_path(data: Path) -> Path:
    """Where the Redis socket of a data folder lies: inside it, or in a short private folder.

    A socket's path must fit into about a hundred bytes, which a deep data folder does not
    leave. The short folder's name depends only on the data folder and the user, so every
    process finds the same one; `core.queue.prepare_socket_folder` makes it.
    """
    inside = data / "redis" / "redis.sock"
    if len(os.fsencode(inside)) <= SOCKET_PATH_BYTES:
        return inside
    digest = hashlib.sha256(os.fsencode(data)).hexdigest()[:16]
    name = f"evalmode-{os.getuid()}-{digest}/redis.sock"
    short = Path(tempfile.gettempdir()) / name
    return short if len(os.fsencode(short)) <= SOCKET_PATH_BYTES else Path("/tmp") / name


def broker_url(data: Path, password: str = "") -> str:
    """The address of the Redis that belongs to a data folder."""
    secret = f":{quote(password, safe='')}@" if password else ""
    return f"redis+socket://{secret}{quote(str(socket_path(data)))}"


def is_loopback(host: str) -> bool:
    """Whether binding `host` is visible from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Settings(BaseSettings):
    """What an operator may set. Each field is the variable `EVALMODE_<FIELD>`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
    )

    data: Path = Field(
        Path("data"), description="Data folder of this machine: records, files, Redis."
    )
    database_url: str = Field(
        default_factory=lambda given: f"sqlite:///{given['data'] / 'evalmode.db'}",
        description="Records: an SQLite or PostgreSQL address. Default: evalmode.db in the data "
        "folder.",
        repr=False,
    )
    broker_url: str = Field(
        default_factory=lambda given: broker_url(given["data"]),
        description="Redis for hints. Default: the socket redis/redis.sock in the data folder, or "
        "a short private folder where that path is too long for a socket.",
        repr=False,
    )
    files_url: str = Field(
        default_factory=lambda given: str(given["data"] / "files"),
        description="Checkpoints and datasets: a folder, or s3://bucket/prefix. Default: files in "
        "the data folder.",
    )
    files_options: dict[str, Any] = Field(
        {},
        description="JSON object of S3 options in the words of s3fs: key, secret, endpoint_url.",
        repr=False,
    )

    host: str = Field("127.0.0.1", min_length=1, description="Address the API binds.")
    port: int = Field(8000, ge=0, le=65_535, description="Port of the API; 0 takes a free one.")
    allow_open: bool = Field(
        False,
        description="Binds beyond loopback although there are no keys; only behind a private "
        "network.",
    )
    api_processes: int = Field(1, ge=1, le=64, description="API processes on this machine.")

    worker_queue: Literal["cpu", "gpu"] = Field("cpu", description="Queue a worker listens to.")
    slots: int = Field(
        default_factory=lambda: len(os.sched_getaffinity(0)),
        ge=1,
        le=1024,
        description="Cores a CPU worker may fill, a run takes as many as its threads; GPUs for a "
        "GPU worker. Default: the cores this process may use.",
    )
    lease_seconds: Seconds = Field(
        45, description="Time without a renewal after which an owner counts as lost."
    )
    heartbeat_seconds: Seconds = Field(
        10, description="Time between renewals of a lease; at most a quarter of the lease."
    )
    tick_seconds: Seconds = Field(5, description="Time between sweeps of the reconciler.")
    grace_seconds: Seconds = Field(
        5, description="Added to a lease before its run is given to another owner."
    )
    shutdown_seconds: Seconds = Field(
        20, description="Time a trainer gets to save and release its run at shutdown."
    )
    resume_seconds: Seconds = Field(
        10, description="Time between the points saved only to resume from."
    )
    metrics_seconds: Seconds = Field(1, description="Time between commits of metric points.")
    stall_seconds: Seconds = Field(
        600, description="Time without a step after which a trainer counts as hung."
    )
    max_crashes: int = Field(
        3,
        ge=1,
        le=1000,
        description="Crashes in a row without progress after which a run fails as poison.",
    )

    queue_limit: Count = Field(
        10_000, description="Queued runs above which new ones are refused with 503."
    )
    max_parameters: Count = Field(
        200_000_000, description="Largest network, in parameters, that is accepted."
    )
    max_memory_bytes: Count = Field(
        8 * GIB, description="Largest estimate of a run's or an import's memory, in bytes."
    )
    control_body_bytes: Count = Field(MIB, description="Largest body of a control request.")
    prediction_body_bytes: Count = Field(32 * MIB, description="Largest body of a prediction.")
    upload_body_bytes: Count = Field(GIB, description="Largest upload.")
    dataset_bytes: Count = Field(
        4 * GIB, description="Largest dataset once unpacked and stored, in bytes."
    )
    prediction_rows: Count = Field(10_000, description="Most rows in one prediction.")
    request_seconds: Seconds = Field(
        30, description="Time a request's head and body may take to arrive; control requests."
    )
    upload_seconds: Seconds = Field(600, description="Time an upload may take to arrive.")
    connections: int = Field(
        200, ge=1, le=100_000, description="Open connections per API process; above it 503."
    )
    streams: int = Field(
        100, ge=1, le=100_000, description="Open event streams per API process; above it 503."
    )
    loaded_networks: int = Field(
        16, ge=1, le=10_000, description="Networks an API process keeps in memory to predict."
    )
    loaded_bytes: Count = Field(
        2 * GIB, description="Memory for those networks, in bytes; the least recently used leave."
    )
    min_free_bytes: Bytes = Field(
        500 * MIB, description="Free disk below which new runs and uploads are refused."
    )
    cache_bytes: Bytes = Field(
        10 * GIB, description="Disk for local copies of files that lie in S3."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least level of a log entry that is written."
    )

    @field_validator("data")
    @classmethod
    def _absolute(cls, data: Path) -> Path:
        path = data.expanduser().absolute()
        if any(character in "?#%" or ord(character) < 32 for character in str(path)):
            # Such a path cannot stand in the addresses that are made from it.
            raise ValueError("the path must not contain ?, #, % or control characters")
        return path

    @model_validator(mode="after")
    def _heartbeat_fits_the_lease(self) -> Self:
        if self.heartbeat_seconds > self.lease_seconds / 4:
            raise ValueError(
                f"{PREFIX}HEARTBEAT_SECONDS is {self.heartbeat_seconds:g} and may be at most a "
                f"quarter of {PREFIX}LEASE_SECONDS, which is {self.lease_seconds:g}"
            )
        return self

    @model_validator(mode="after")
    def _open_only_on_purpose(self) -> Self:
        if not (self.allow_open or is_loopback(self.host)):
            raise ValueError(
                f"{PREFIX}HOST is {self.host}, which other machines can reach, and there are no "
                f"keys; set {PREFIX}ALLOW_OPEN=true only behind a private network"
            )
        return self

    @property
    def self_fence_seconds(self) -> float:
        """Age of the last renewal at which an owner stops by itself: two thirds of the lease."""
        return self.lease_seconds * 2 / 3

    @property
    def alive_seconds(self) -> float:
        """Silence after which a worker counts as gone: three heartbeats."""
        return self.heartbeat_seconds * 3


def load(**given: Any) -> Settings:
    """Read the settings; `given` fields (from a command line) win over the environment.

    Raises:
        SettingsRefused: a value is out of range, or two of them contradict each other.
    """
    try:
        return Settings(**given)
    except ValidationError as refused:
        raise SettingsRefused("\n".join(_lines(refused))) from None
    except SettingsError as refused:
        raise SettingsRefused(f"{refused}: it must be a JSON object") from None


def _lines(refused: ValidationError) -> list[str]:
    lines = []
    for error in refused.errors(include_url=False, include_input=False):
        if error["type"] == "default_factory_not_called":
            continue  # another field is at fault, and has its own line
        text = error["msg"].removeprefix("Value error, ")
        name = "_".join(str(part) for part in error["loc"]).upper()
        lines.append(f"{PREFIX}{name}: {text}" if name else text)
    return lines


def environment(settings: Settings) -> dict[str, str]:
    """This process's variables, and every setting as its own: a child loads the same settings."""
    fields = settings.model_dump(mode="json")
    texts = {
        PREFIX + name.upper(): value if isinstance(value, str) else json.dumps(value)
        for name, value in fields.items()
    }
    return {**os.environ, **texts}  # noqa: TID251 - this file is the one that may


def described() -> list[tuple[str, str, str]]:
    """Variable, default and description of every setting, in their order."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = str(field.default) if field.default_factory is None else "computed"
        rows.append((PREFIX + name.upper(), default, field.description or ""))
    return rows
