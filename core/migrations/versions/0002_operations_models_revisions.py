"""Operations, models, and revisions of checkpoints.

Revision: 0002
Follows: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for create in (_revisions, _operations, _models, _model_versions, _model_aliases):
        create()


def downgrade() -> None:
    """Lose every operation and model, and every revision: older code cannot read them."""
    for table in ("model_aliases", "model_versions", "models", "operations"):
        op.drop_table(table)
    op.execute(sa.text("DELETE FROM checkpoints WHERE statistics_key IS NOT NULL"))
    op.drop_index("ix_checkpoints_operation", "checkpoints")
    op.drop_index("ix_checkpoints_revision", "checkpoints")
    for column in ("operation_id", "made_by", "statistics_key", "name"):
        op.drop_column("checkpoints", column)


def _revisions() -> None:
    op.add_column("checkpoints", sa.Column("name", sa.String(length=100)))
    op.add_column("checkpoints", sa.Column("statistics_key", sa.Text()))
    op.add_column("checkpoints", sa.Column("made_by", sa.JSON(none_as_null=True)))
    op.add_column("checkpoints", sa.Column("operation_id", sa.String(length=40)))
    op.create_index("ix_checkpoints_revision", "checkpoints", ["revision_of", "name"], unique=True)
    op.create_index("ix_checkpoints_operation", "checkpoints", ["operation_id"], unique=True)


def _operations() -> None:
    op.create_table(
        "operations",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("checkpoint_id", sa.String(length=40)),
        sa.Column("dataset_id", sa.String(length=120)),
        sa.Column("params", sa.JSON(), nullable=False),
        sa.Column("device", sa.String(length=8), nullable=False),
        sa.Column("threads", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("progress", sa.Double(), nullable=False),
        sa.Column("progress_at", sa.Double()),
        sa.Column("result", sa.JSON(none_as_null=True)),
        sa.Column("error", sa.JSON(none_as_null=True)),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("not_before", sa.Double(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("worker_id", sa.String(length=120)),
        sa.Column("host", sa.Text()),
        sa.Column("pid", sa.Integer()),
        sa.Column("pid_start", sa.BigInteger()),
        sa.Column("worker_device", sa.String(length=40)),
        sa.Column("lease_until", sa.Double()),
        sa.Column("crashes", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("started_at", sa.Double()),
        sa.Column("finished_at", sa.Double()),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'succeeded', 'failed')",
            name=op.f("ck_operations_state"),
        ),
        sa.ForeignKeyConstraint(
            ["checkpoint_id"],
            ["checkpoints.id"],
            name=op.f("fk_operations_checkpoint_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operations")),
    )
    op.create_index("ix_operations_queue", "operations", ["state", "turn", "id", "device"])
    op.create_index("ix_operations_checkpoint", "operations", ["checkpoint_id", "id"])


def _models() -> None:
    op.create_table(
        "models",
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("newest", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_models")),
    )
    op.create_index("ix_models_created_at", "models", ["created_at", "name"])


def _model_versions() -> None:
    op.create_table(
        "model_versions",
        sa.Column("model", sa.String(length=100), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("checkpoint_id", sa.String(length=40), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["model"], ["models.name"], name=op.f("fk_model_versions_model")),
        sa.ForeignKeyConstraint(
            ["checkpoint_id"], ["checkpoints.id"], name=op.f("fk_model_versions_checkpoint_id")
        ),
        sa.PrimaryKeyConstraint("model", "version", name=op.f("pk_model_versions")),
    )
    op.create_index("ix_model_versions_checkpoint", "model_versions", ["checkpoint_id", "model"])


def _model_aliases() -> None:
    op.create_table(
        "model_aliases",
        sa.Column("model", sa.String(length=100), nullable=False),
        sa.Column("alias", sa.String(length=100), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["model", "version"],
            ["model_versions.model", "model_versions.version"],
            name=op.f("fk_model_aliases_model"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("model", "alias", name=op.f("pk_model_aliases")),
    )
