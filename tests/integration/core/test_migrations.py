import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text

from core import checkpoints, runs
from core.database import Database
from core.migrations.upgrade import FOLDER
from core.states import State
from core.tables import metadata

MIGRATE = "import sys; from core.database import Database; Database(sys.argv[1]).migrate()"
RUN, CHECKPOINT = "run_" + "1" * 32, "ckpt_" + "2" * 32
FIRST_ROWS: dict[str, dict[str, object]] = {
    "runs": {
        "id": RUN,
        "state": "succeeded",
        "outcome": "completed",
        "spec": "{}",
        "spec_hash": "sha256:1",
        "spec_version": 1,
        "dataset_id": "ds_digits",
        "device": "auto",
        "threads": 1,
        "labels": "{}",
        "findings": "[]",
        "steps": 7,
        "step": 7,
        "metrics": "{}",
        "checkpoint_id": CHECKPOINT,
        "turn": 1,
        "not_before": 0.0,
        "epoch": 1,
        "attempts": 1,
        "crashes": 2,
        "last_seq": 1,
        "created_at": 1.0,
    },
    "checkpoints": {
        "id": CHECKPOINT,
        "run_id": RUN,
        "step": 7,
        "epoch": 1,
        "key": "runs/r/e1/step-7.safetensors",
        "sha256": "a" * 64,
        "bytes": 10,
        "fingerprint": "sha256:f",
        "norm_layers": 2,
        "weights_hash": "sha256:w",
        "metrics": '{"test_accuracy": 0.5}',
        "spec": "{}",
        "created_at": 2.0,
    },
}


def put(connection: Connection, table: str, row: dict[str, object]) -> None:
    values = ", ".join(f":{name}" for name in row)
    connection.execute(text(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({values})"), row)


def test_the_migrations_build_the_tables_that_the_code_declares(database: Database) -> None:
    def differences(connection: Connection) -> list[object]:
        options = {"compare_type": True}
        context = MigrationContext.configure(connection, opts=options)
        return list(compare_metadata(context, metadata))

    assert database.read(differences) == []


def test_both_declare_the_same_keys_and_checks(database: Database) -> None:
    def keys(connection: Connection) -> dict[str, tuple[object, ...]]:
        found = inspect(connection)
        return {
            table: (
                found.get_pk_constraint(table)["constrained_columns"],
                sorted(
                    (f["constrained_columns"], f["options"]) for f in found.get_foreign_keys(table)
                ),
                sorted(str(check["name"]) for check in found.get_check_constraints(table)),
            )
            for table in metadata.tables
        }

    built = database.read(keys)
    names = list(metadata.tables)

    def rebuilt(connection: Connection) -> dict[str, tuple[object, ...]]:
        metadata.drop_all(connection)
        metadata.create_all(connection)
        return keys(connection)

    assert built == database.write(rebuilt)
    assert sorted(names) == sorted(built)


def test_the_database_refuses_a_state_that_does_not_exist(with_dataset: Database) -> None:
    def sql(connection: Connection) -> str:
        if with_dataset.is_sqlite:
            query = "SELECT sql FROM sqlite_master WHERE name = 'runs'"
        else:
            query = "SELECT pg_get_constraintdef(oid) FROM pg_constraint"
            query += " WHERE conname = 'ck_runs_state'"
        return str(connection.execute(text(query)).scalar_one())

    definition = with_dataset.read(sql)
    assert all(f"'{state.value}'" in definition for state in State)


def test_migrating_again_changes_nothing(database: Database) -> None:
    database.migrate()
    database.migrate()


def test_several_processes_may_migrate_one_new_file_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/folder/new.db"
    commands = [[sys.executable, "-W", "error", "-c", MIGRATE, url]] * 4
    processes = [subprocess.Popen(command) for command in commands]
    assert [process.wait() for process in processes] == [0] * 4


def test_several_processes_may_migrate_one_new_postgres_database_at_once(
    postgres: str, postgres_url: str
) -> None:
    with Database(postgres_url) as database:
        database.write(lambda c: c.execute(text("DROP SCHEMA public CASCADE")) and None)
        database.write(lambda c: c.execute(text("CREATE SCHEMA public")) and None)
        commands = [[sys.executable, "-W", "error", "-c", MIGRATE, postgres_url]] * 3
        processes = [subprocess.Popen(command) for command in commands]
        assert [process.wait() for process in processes] == [0] * 3
        assert set(metadata.tables) <= set(database.read(lambda c: inspect(c).get_table_names()))


def config(connection: Connection) -> Config:
    made = Config()
    made.set_main_option("script_location", str(FOLDER))
    made.set_main_option("path_separator", "os")
    made.attributes["connection"] = connection
    return made


def test_the_migrations_can_be_undone(database: Database) -> None:
    def undo(connection: Connection) -> list[str]:
        command.downgrade(config(connection), "base")
        return inspect(connection).get_table_names()

    assert database.write(undo) == ["alembic_version"]


def test_a_database_of_the_first_version_keeps_its_rows(database: Database) -> None:
    def fill(connection: Connection) -> None:
        command.downgrade(config(connection), "0001")
        assert "operations" not in inspect(connection).get_table_names()
        for table, row in FIRST_ROWS.items():
            put(connection, table, row)

    database.write(fill)
    database.migrate()
    found = database.read(lambda c: checkpoints.get(c, CHECKPOINT))
    assert (found.run_id, found.step, found.metrics) == (RUN, 7, {"test_accuracy": 0.5})
    assert (found.name, found.statistics_key, found.made_by) == (None, None, None)
    run = database.read(lambda c: runs.get(c, RUN))
    assert (run.state, run.epoch, run.crashes, run.checkpoint_id) == ("succeeded", 1, 2, CHECKPOINT)
    deleted = database.write(lambda c: runs.delete(c, RUN))
    assert deleted.keys == {"runs/r/e1/step-7.safetensors"}


def test_going_back_to_the_first_version_keeps_what_it_can_read(database: Database) -> None:
    def rows(connection: Connection) -> list[str]:
        return list(connection.execute(text("SELECT id FROM checkpoints ORDER BY id")).scalars())

    def there_and_back(connection: Connection) -> list[str]:
        for table, row in FIRST_ROWS.items():
            put(connection, table, row)
        revision = FIRST_ROWS["checkpoints"] | {"id": "ckpt_" + "9" * 32, "revision_of": CHECKPOINT}
        revision |= {"name": "r1", "statistics_key": "revisions/op/e1.safetensors"}
        put(connection, "checkpoints", revision)
        command.downgrade(config(connection), "0001")
        kept = rows(connection)
        command.upgrade(config(connection), "head")
        return kept

    assert database.write(there_and_back) == [CHECKPOINT]
    assert database.read(rows) == [CHECKPOINT]


@pytest.mark.parametrize("url", ["mysql://host/name", "sqlite://", "sqlite:///:memory:"])
def test_a_database_that_cannot_be_shared_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"sqlite|SQLite"):
        Database(url)
