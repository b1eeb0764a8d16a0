"""Records as rows. Times are seconds since 1970 as floats; the migrations build the same tables."""

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

from core.states import State

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

_STATES = ", ".join(f"'{state.value}'" for state in State)


def ownership() -> tuple[Column[Any], ...]:
    """The columns by which `core.leases` lets a row wait and be owned."""
    return (
        # Whose turn it is.
        Column("turn", Integer, nullable=False),  # 0 was interrupted and goes first
        Column("not_before", Double, nullable=False),
        # Who owns it: every write of an owner compares the epoch.
        Column("epoch", Integer, nullable=False),
        Column("attempts", Integer, nullable=False),
        Column("worker_id", String(120)),
        Column("host", Text),
        Column("pid", Integer),
        Column("pid_start", BigInteger),  # kernel ticks after boot; tells a pid from its next user
        Column("worker_device", String(40)),
        Column("lease_until", Double),  # on the lease clock of core.clock
        Column("crashes", Integer, nullable=False),  # owners lost, for runs without progress
    )


runs = Table(
    "runs",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("name", Text),
    Column("state", String(16), nullable=False),
    Column("outcome", String(16)),  # completed or diverged, once succeeded
    # What was asked.
    Column("spec", JSON, nullable=False),
    Column("spec_hash", String(80), nullable=False),
    Column("spec_version", Integer, nullable=False),  # an older worker leaves newer ones queued
    Column("dataset_id", String(120), nullable=False),
    Column("device", String(8), nullable=False),  # auto, cpu or cuda, as asked
    Column("threads", Integer, nullable=False),
    Column("labels", JSON, nullable=False),  # as shown; run_labels is what filters read
    Column("experiment_id", String(40)),  # that planned it; null again once that is deleted
    Column("findings", JSON, nullable=False),
    # How far it is.
    Column("steps", BigInteger, nullable=False),
    Column("step", BigInteger, nullable=False),
    Column("steps_per_second", Double),
    Column("progress_at", Double),
    Column("metrics", JSON, nullable=False),  # {name: {last, best, step}}
    Column("checkpoint_id", String(40)),  # the newest one that the spec asked for
    Column("error", JSON(none_as_null=True)),
    *ownership(),
    # What an interruption leaves.
    Column("crash_step", BigInteger),  # the resume step at the last loss
    Column("resume_step", BigInteger),
    Column("checkpoint_key", Text),
    Column("checkpoint_sha256", String(80)),
    Column("resume_key", Text),
    Column("resume_sha256", String(80)),
    Column("last_seq", Integer, nullable=False),  # of the run's events
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("finished_at", Double),
    CheckConstraint(f"state IN ({_STATES})", name="state"),
    Index("ix_runs_queue", "state", "turn", "id", "device"),
    Index("ix_runs_state", "state", "id"),
    Index("ix_runs_experiment", "experiment_id", "id"),
)

run_labels = Table(
    "run_labels",
    metadata,
    Column("run_id", String(40), ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("key", String(63), primary_key=True),
    Column("value", Text, nullable=False),
    Index("ix_run_labels_pair", "key", "value", "run_id"),
)

events = Table(
    "events",
    metadata,
    Column("run_id", String(40), ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", Double, nullable=False),
    Column("level", String(8), nullable=False),
    Column("type", String(32), nullable=False),
    Column("message", Text, nullable=False),
    Column("data", JSON, nullable=False),
)

points = Table(
    "points",
    metadata,
    Column("run_id", String(40), ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("name", String(100), primary_key=True),
    Column("step", BigInteger, primary_key=True, autoincrement=False),
    Column("value", Double),  # null where not finite
    Column("not_finite", String(4)),  # nan, inf or -inf
)

measurements = Table(
    "measurements",
    metadata,
    Column("run_id", String(40), ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("kind", String(40), primary_key=True),
    Column("step", BigInteger, primary_key=True, autoincrement=False),
    Column("data", JSON, nullable=False),
    Column("bytes", Integer, nullable=False),  # of it as text, so that answers can be bounded
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("id", String(40), primary_key=True),
    # Null for a checkpoint that was trained elsewhere.
    Column("run_id", String(40), ForeignKey("runs.id", ondelete="CASCADE")),
    Column("step", BigInteger, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("key", Text, nullable=False),
    Column("sha256", String(80), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("fingerprint", String(80), nullable=False),  # of the running statistics
    Column("norm_layers", Integer, nullable=False),
    Column("weights_hash", String(80), nullable=False),  # of everything but the statistics
    Column("metrics", JSON, nullable=False),
    Column("spec", JSON, nullable=False),
    Column("findings", JSON(none_as_null=True)),  # of the save gate; null: it was not asked
    Column("history", JSON(none_as_null=True)),  # running, batch and population statistics
    # What follows is null for originals. A revision has its original's weights, file and run.
    Column("revision_of", String(40)),  # the original, which is never a revision itself
    Column("name", String(100)),
    Column("statistics_key", Text),  # the file with its statistics alone
    Column("made_by", JSON(none_as_null=True)),  # of an import, too: what was done to its tensors
    Column("operation_id", String(40)),
    Column("created_at", Double, nullable=False),
    Index("ix_checkpoints_run", "run_id", "step", "id"),
    Index("ix_checkpoints_revision", "revision_of", "name", unique=True),
    Index("ix_checkpoints_operation", "operation_id", unique=True),  # a repetition makes no second
)

operations = Table(
    "operations",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("kind", String(40), nullable=False),
    # What it works on; it goes when that goes.
    Column("checkpoint_id", String(40), ForeignKey("checkpoints.id", ondelete="CASCADE")),
    Column("dataset_id", String(120)),
    Column("experiment_id", String(40)),  # whose report it makes
    Column("params", JSON, nullable=False),
    Column("device", String(8), nullable=False),  # auto, cpu or cuda, as asked, or any
    Column("threads", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("progress", Double, nullable=False),  # 0 to 1
    Column("progress_at", Double),
    Column("result", JSON(none_as_null=True)),
    Column("error", JSON(none_as_null=True)),
    *ownership(),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("finished_at", Double),
    CheckConstraint("state IN ('queued', 'running', 'succeeded', 'failed')", name="state"),
    Index("ix_operations_queue", "state", "turn", "id", "device"),
    Index("ix_operations_checkpoint", "checkpoint_id", "id"),
    Index("ix_operations_experiment", "experiment_id", unique=True),  # one report each
)

experiments = Table(
    "experiments",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("kind", String(40), nullable=False),
    # What was asked.
    Column("params", JSON, nullable=False),  # with their defaults filled in
    Column("seeds", JSON, nullable=False),
    Column("plan", JSON, nullable=False),  # [{run, arm, seed}]; a run may be deleted afterwards
    Column("state", String(16), nullable=False),
    # What it answers, once its report is made.
    Column("summary", JSON(none_as_null=True)),
    Column("prefix", Text),  # of its files in the store
    Column("files", JSON(none_as_null=True)),  # {name below the prefix: sha256 in hex}
    Column("error", JSON(none_as_null=True)),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("finished_at", Double),
    CheckConstraint(
        "state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')", name="state"
    ),
    Index("ix_experiments_state", "state", "id"),
)

models = Table(
    "models",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("newest", Integer, nullable=False),  # the last number given out; stays at a deletion
    Column("created_at", Double, nullable=False),
    Index("ix_models_created_at", "created_at", "name"),
)

model_versions = Table(
    "model_versions",
    metadata,
    Column("model", String(100), ForeignKey("models.name"), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    # Without a cascade: what a model serves cannot be deleted.
    Column("checkpoint_id", String(40), ForeignKey("checkpoints.id"), nullable=False),
    Column("findings", JSON(none_as_null=True)),  # when it was published; null: nobody looked
    Column("created_at", Double, nullable=False),
    Index("ix_model_versions_checkpoint", "checkpoint_id", "model"),
)

model_aliases = Table(
    "model_aliases",
    metadata,
    Column("model", String(100), primary_key=True),
    Column("alias", String(100), primary_key=True),
    Column("version", Integer, nullable=False),
    ForeignKeyConstraint(
        ["model", "version"],
        ["model_versions.model", "model_versions.version"],
        ondelete="CASCADE",
    ),
)

drift_states = Table(
    "drift_states",
    metadata,
    Column("model", String(100), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("process", String(120), primary_key=True),  # of the API, which alone writes this row
    Column("state", JSON, nullable=False),
    Column("beat_at", Double, nullable=False),  # on the lease clock of core.clock
    ForeignKeyConstraint(
        ["model", "version"],
        ["model_versions.model", "model_versions.version"],
        ondelete="CASCADE",
    ),
)

datasets = Table(
    "datasets",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("name", String(100), nullable=False),
    Column("format", String(16), nullable=False),
    Column("facts", JSON, nullable=False),
    Column("findings", JSON(none_as_null=True)),  # of its rows; null: nobody has looked
    Column("fingerprint", String(80), nullable=False),
    Column("prefix", Text, nullable=False),  # where its files lie in the store
    Column("bytes", BigInteger, nullable=False),
    Column("built_in", Boolean, nullable=False),
    Column("created_at", Double, nullable=False),
    Index("ix_datasets_name", "name", "created_at", "id"),
)

workers = Table(
    "workers",
    metadata,
    Column("id", String(120), primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("queue", String(8), nullable=False),
    Column("slots", Integer, nullable=False),
    Column("devices", JSON, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("beat_at", Double, nullable=False),  # on the lease clock of core.clock
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("scope", String(100), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("body_hash", String(80), nullable=False),
    Column("resource_id", String(40)),  # null while the first request is in flight
    Column("created_at", Double, nullable=False),
    Index("ix_idempotency_created_at", "created_at"),
    Index("ix_idempotency_resource", "resource_id"),
)

clocks = Table(
    "clocks",
    metadata,
    Column("boot", String(80), primary_key=True),  # SQLite alone: one boot of the machine
    Column("offset_seconds", Double, nullable=False),
)
