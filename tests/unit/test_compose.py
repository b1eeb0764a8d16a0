import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from core.settings import PREFIX, Settings, load

ROOT = Path(__file__).parents[2]
FILE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
OURS = ("api", "worker", "worker-gpu")
SECRETS = {"REDIS_PASSWORD": "r" * 8, "POSTGRES_PASSWORD": "p" * 8}


@pytest.fixture(params=sorted(SERVICES))
def service(request: pytest.FixtureRequest) -> dict[str, Any]:
    return SERVICES[request.param]


@pytest.fixture(params=OURS)
def ours(request: pytest.FixtureRequest) -> dict[str, Any]:
    return SERVICES[request.param]


def seconds(duration: str) -> int:
    match = re.fullmatch(r"(\d+)s", duration)
    assert match, f"{duration} is not in seconds"
    return int(match[1])


def filled_in(text: str) -> str:
    """What compose makes of ${NAME:-default} and ${NAME:?message}."""
    return re.sub(r"\$\{(\w+):[-?]([^}]*)\}", lambda found: SECRETS.get(found[1], found[2]), text)


def test_the_file_keeps_to_the_schema() -> None:
    schema = json.loads((ROOT / "tests" / "data" / "compose-schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(FILE, schema)


@pytest.mark.parametrize(
    ("path", "value"),
    [("read-only", True), ("stop_grace_period", 45), ("cap_drop", "ALL"), ("user", 10001)],
)
def test_the_schema_finds_a_slip(path: str, value: object) -> None:
    schema = json.loads((ROOT / "tests" / "data" / "compose-schema.json").read_text())
    broken = {**FILE, "services": {**SERVICES, "api": {**SERVICES["api"], path: value}}}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema)


def test_every_part_is_there() -> None:
    assert set(SERVICES) == {"redis", "postgres", "api", "worker", "worker-gpu"}


def test_no_service_runs_as_root_or_can_become_it(service: dict[str, Any]) -> None:
    user, _, group = service["user"].partition(":")
    assert int(user) > 0
    assert int(group) > 0
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service


def test_our_services_run_as_the_user_that_the_image_makes(ours: dict[str, Any]) -> None:
    assert ours["user"] == "10001:10001"
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert "useradd --uid 10001" in dockerfile
    assert "USER 10001:10001" in dockerfile


def test_only_volumes_and_temporary_folders_can_be_written(service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert any(mount.startswith("/tmp:size=") for mount in service["tmpfs"])
    named = {volume.split(":")[0] for volume in service["volumes"]}
    assert named <= set(FILE["volumes"])  # nothing of the host, and no docker socket


def test_zombies_are_reaped_and_processes_bounded(service: dict[str, Any]) -> None:
    assert service["init"] is True
    assert 0 < service["pids_limit"] <= 4096


def test_every_service_says_whether_it_is_healthy(service: dict[str, Any]) -> None:
    check = service["healthcheck"]
    assert seconds(check["timeout"]) <= seconds(check["interval"])
    assert check["retries"] >= 3


def test_our_services_start_when_what_they_need_is_healthy(ours: dict[str, Any]) -> None:
    assert ours["depends_on"] == {
        "postgres": {"condition": "service_healthy"},
        "redis": {"condition": "service_healthy"},
    }


def test_a_service_gets_longer_to_stop_than_it_takes_to_drain(ours: dict[str, Any]) -> None:
    assert seconds(ours["stop_grace_period"]) >= load().shutdown_seconds + 15


def test_only_the_api_is_published_and_only_to_this_machine() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert list(published) == ["api"]
    assert [filled_in(port) for port in published["api"]] == ["127.0.0.1:8000:8000"]


def test_records_and_queue_are_on_networks_without_a_way_out() -> None:
    for name in ("redis", "postgres", "worker", "worker-gpu"):
        assert all(FILE["networks"][network]["internal"] for network in SERVICES[name]["networks"])


def test_the_api_has_no_route_to_the_workers() -> None:
    for name in ("worker", "worker-gpu"):
        assert not set(SERVICES["api"]["networks"]) & set(SERVICES[name]["networks"])


def test_the_environment_is_accepted_settings(
    ours: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ours["environment"].items():
        assert name.removeprefix(PREFIX).lower() in Settings.model_fields
        monkeypatch.setenv(name, filled_in(value))
    settings = load()
    assert str(settings.data) in [volume.split(":")[1] for volume in ours["volumes"]]
    assert settings.files_url == f"{settings.data}/files"
    assert settings.database_url.startswith("postgresql://")


def test_the_gpu_worker_starts_only_when_asked_for() -> None:
    gpu = SERVICES["worker-gpu"]
    assert gpu["profiles"] == ["gpu"]
    (device,) = gpu["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]
    assert gpu["environment"]["EVALMODE_WORKER_QUEUE"] == "gpu"


def test_no_password_is_written_down() -> None:
    for name in SECRETS:
        assert f"${{{name}:?" in (ROOT / "docker-compose.yml").read_text()
        assert f"{name}=\n" in (ROOT / ".env.example").read_text()


def test_redis_never_forgets_a_hint_to_make_room() -> None:
    configuration = SERVICES["redis"]["command"][-1]
    for line in ("appendonly yes", "maxmemory-policy noeviction", "requirepass $$REDISCLI_AUTH"):
        assert line in configuration


def test_every_command_names_a_module_that_exists() -> None:
    commands = [SERVICES[name]["command"] for name in OURS]
    commands += [SERVICES["worker"]["healthcheck"]["test"][1:]]
    for python, option, module in commands:
        assert (python, option) == ("python", "-m")
        name = f"{module}.__main__" if (ROOT / module).is_dir() else module
        assert importlib.util.find_spec(name) is not None


def test_the_image_gets_every_room_and_nothing_else() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert ignored[0] == "*"
    for room in ("api", "core", "evalmode", "model", "worker"):
        assert f"!{room}" in ignored
        assert f"COPY {room} {room}" in dockerfile
