from pathlib import Path

import pytest

from core.settings import Settings, environment, load
from evalmode.up import AddressTaken, address, api_commands, bind, worker_commands


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load(
        data=tmp_path, slots=3, api_processes=2, files_options={"key": "k"}, lease_seconds=90
    )


def test_a_child_loads_the_settings_of_its_parent(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, text in environment(settings).items():
        monkeypatch.setenv(variable, text)
    assert load() == settings


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        ("", [("worker", "cpu", "3")]),
        ("0,1", [("worker", "cpu", "3"), ("worker-2", "gpu", "2")]),
    ],
)
def test_gpus_get_a_worker_of_their_own(
    visible: str,
    expected: list[tuple[str, str, str]],
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = [
        (
            command.role,
            command.environment["EVALMODE_WORKER_QUEUE"],
            command.environment["EVALMODE_SLOTS"],
        )
        for command in worker_commands(settings)
    ]
    assert found == expected


def test_api_processes_share_one_socket(settings: Settings) -> None:
    with bind("127.0.0.1", 0) as listener:
        commands = api_commands(settings, listener)
        assert [command.role for command in commands] == ["api", "api-2"]
        assert {command.descriptors for command in commands} == {(listener.fileno(),)}


def test_a_taken_port_and_an_unknown_host_are_told_by_name() -> None:
    with bind("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(AddressTaken, match=f"127.0.0.1 port {port}: Address already in use"):
            bind("127.0.0.1", port)
    with pytest.raises(AddressTaken, match=r"no\.such\.host"):
        bind("no.such.host.invalid", 0)


def test_an_address_of_ipv6_is_written_with_brackets() -> None:
    assert address("::1", 8000) == "http://[::1]:8000"
    assert address("127.0.0.1", 8000) == "http://127.0.0.1:8000"
