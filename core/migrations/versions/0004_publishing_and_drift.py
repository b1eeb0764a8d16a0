"""What was found of a version when it was published, and the drift windows of API processes.

Revision: 0004
Follows: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("model_versions", sa.Column("findings", sa.JSON(none_as_null=True)))
    op.create_table(
        "drift_states",
        sa.Column("model", sa.String(length=100), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("process", sa.String(length=120), nullable=False),
        sa.Column("state", sa.JSON(), nullable=False),
        sa.Column("beat_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["model", "version"],
            ["model_versions.model", "model_versions.version"],
            name=op.f("fk_drift_states_model"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("model", "version", "process", name=op.f("pk_drift_states")),
    )


def downgrade() -> None:
    op.drop_table("drift_states")
    op.drop_column("model_versions", "findings")
