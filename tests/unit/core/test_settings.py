import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from core.settings import (
    SOCKET_PATH_BYTES,
    Settings,
    SettingsRefused,
    broker_url,
    described,
    environment,
    load,
    socket_path,
)

OPERATING = Path(__file__).parents[3] / "docs" / "operating.md"


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    return monkeypatch


@pytest.mark.parametrize(("name", "default", "description"), described())
def test_every_setting_stands_in_the_operating_guide(
    name: str, default: str, description: str
) -> None:
    assert f"| `{name}` | {default} | {description} |" in OPERATING.read_text()


def test_the_operating_guide_lists_no_setting_that_is_gone() -> None:
    rows = [line for line in OPERATING.read_text().splitlines() if line.startswith("| `EVALMODE_")]
    assert len(rows) == len(described())


def test_defaults_need_no_variable(tmp_path: Path) -> None:
    settings = load(data=tmp_path)
    assert settings.database_url == f"sqlite:///{tmp_path}/evalmode.db"
    assert settings.files_url == str(tmp_path / "files")
    assert settings.broker_url == f"redis+socket://{socket_path(tmp_path)}"
    assert settings.slots == len(os.sched_getaffinity(0))
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)


def test_a_variable_sets_its_field(variables: pytest.MonkeyPatch) -> None:
    variables.setenv("EVALMODE_DATA", "/somewhere")
    variables.setenv("EVALMODE_LEASE_SECONDS", "4.5")
    variables.setenv("EVALMODE_HEARTBEAT_SECONDS", "1")
    variables.setenv("EVALMODE_FILES_OPTIONS", '{"endpoint_url": "http://s3"}')
    settings = load()
    assert settings.database_url == "sqlite:////somewhere/evalmode.db"
    assert settings.lease_seconds == 4.5
    assert settings.self_fence_seconds == 3.0
    assert settings.files_options == {"endpoint_url": "http://s3"}


def test_an_empty_variable_is_none(variables: pytest.MonkeyPatch) -> None:
    variables.setenv("EVALMODE_PORT", "")
    assert load().port == 8000


def test_a_given_field_wins_over_its_variable(variables: pytest.MonkeyPatch) -> None:
    variables.setenv("EVALMODE_PORT", "9000")
    assert load(port=9001).port == 9001


def test_a_relative_data_folder_is_made_absolute(
    variables: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    variables.chdir(tmp_path)
    assert load(data="here").data == tmp_path / "here"


def test_settings_never_change() -> None:
    with pytest.raises(ValidationError):
        load().port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("LEASE_SECONDS", "20", "EVALMODE_HEARTBEAT_SECONDS is 10 and may be at most a quarter"),
        ("HEARTBEAT_SECONDS", "11.3", "a quarter of EVALMODE_LEASE_SECONDS, which is 45"),
        ("HOST", "0.0.0.0", "there are no keys; set EVALMODE_ALLOW_OPEN=true only"),
        ("HOST", "example.org", "EVALMODE_HOST is example.org, which other machines can reach"),
        ("PORT", "70000", "EVALMODE_PORT: Input should be less than or equal to 65535"),
        ("SLOTS", "many", "EVALMODE_SLOTS: Input should be a valid integer"),
        ("STALL_SECONDS", "inf", "EVALMODE_STALL_SECONDS: Input should be a finite number"),
        ("TICK_SECONDS", "0", "EVALMODE_TICK_SECONDS: Input should be greater than 0"),
        ("FILES_OPTIONS", "{", "it must be a JSON object"),
        ("DATA", "/what?", "EVALMODE_DATA: the path must not contain ?"),
        ("WORKER_QUEUE", "tpu", "EVALMODE_WORKER_QUEUE: Input should be 'cpu' or 'gpu'"),
    ],
)
def test_what_cannot_work_is_refused_by_name(
    variables: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    variables.setenv(f"EVALMODE_{name}", value)
    with pytest.raises(SettingsRefused) as refused:
        load()
    assert message in str(refused.value)
    assert "default factory" not in str(refused.value)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_loopback_needs_no_permission(host: str) -> None:
    assert load(host=host).host == host


def test_an_open_address_is_bound_only_on_purpose() -> None:
    assert load(host="0.0.0.0", allow_open=True).host == "0.0.0.0"


def test_heartbeats_of_exactly_a_quarter_are_accepted() -> None:
    assert load(lease_seconds=4, heartbeat_seconds=1).heartbeat_seconds == 1


def test_a_socket_lies_in_the_data_folder_where_its_path_fits() -> None:
    assert socket_path(Path("/srv/evalmode")) == Path("/srv/evalmode/redis/redis.sock")


def test_the_socket_of_a_deep_data_folder_is_short_and_always_the_same() -> None:
    deep, other = Path("/" + "d" * 120), Path("/" + "d" * 121)
    assert len(os.fsencode(socket_path(deep))) <= SOCKET_PATH_BYTES
    assert socket_path(deep) == socket_path(deep)
    assert socket_path(deep) != socket_path(other)
    assert load(data=deep).broker_url == broker_url(deep)


def test_secrets_are_not_shown() -> None:
    secret = "hunter2"
    settings = load(
        broker_url=f"redis://:{secret}@redis/0",
        database_url=f"postgresql://e:{secret}@db/e",
        files_options={"secret": secret},
    )
    assert secret not in repr(settings)


def test_a_child_process_loads_the_same_settings(
    variables: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = load(data=tmp_path, slots=3, files_options={"key": "k"}, lease_seconds=60.5)
    for name, value in environment(settings).items():
        variables.setenv(name, value)
    assert Settings() == settings
