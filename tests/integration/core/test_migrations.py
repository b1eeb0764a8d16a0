import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text

from core.database import Database
from core.states import State
from core.tables import metadata

MIGRATE = "import sys; from core.database import Database; Database(sys.argv[1]).migrate()"


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


def test_the_first_migration_can_be_undone(database: Database) -> None:
    from alembic import command
    from alembic.config import Config

    from core.migrations.upgrade import FOLDER

    def undo(connection: Connection) -> list[str]:
        config = Config()
        config.set_main_option("script_location", str(FOLDER))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        return inspect(connection).get_table_names()

    assert database.write(undo) == ["alembic_version"]


@pytest.mark.parametrize("url", ["mysql://host/name", "sqlite://", "sqlite:///:memory:"])
def test_a_database_that_cannot_be_shared_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"sqlite|SQLite"):
        Database(url)
