"""Experiments: plans of runs with a report, and the operation that makes it.

Revision: 0006
Follows: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "experiments",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("params", sa.JSON(), nullable=False),
        sa.Column("seeds", sa.JSON(), nullable=False),
        sa.Column("plan", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("summary", sa.JSON(none_as_null=True)),
        sa.Column("prefix", sa.Text()),
        sa.Column("files", sa.JSON(none_as_null=True)),
        sa.Column("error", sa.JSON(none_as_null=True)),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("started_at", sa.Double()),
        sa.Column("finished_at", sa.Double()),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')",
            name=op.f("ck_experiments_state"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_experiments")),
    )
    op.create_index("ix_experiments_state", "experiments", ["state", "id"])
    op.add_column("runs", sa.Column("experiment_id", sa.String(length=40)))
    op.create_index("ix_runs_experiment", "runs", ["experiment_id", "id"])
    op.add_column("operations", sa.Column("experiment_id", sa.String(length=40)))
    op.create_index("ix_operations_experiment", "operations", ["experiment_id"], unique=True)


def downgrade() -> None:
    """Lose every experiment with its report; its runs stay, which older code can read."""
    op.execute(sa.text("DELETE FROM operations WHERE experiment_id IS NOT NULL"))
    op.drop_index("ix_operations_experiment", "operations")
    op.drop_column("operations", "experiment_id")
    op.drop_index("ix_runs_experiment", "runs")
    op.drop_column("runs", "experiment_id")
    op.drop_table("experiments")
