"""Create the table of records."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "data",
        # Id 1 is the initial record's, which is inserted under it without the sequence.
        sa.Column("id", sa.BigInteger, sa.Identity(always=True, start=2), primary_key=True),
        sa.Column("name", sa.Text, sa.CheckConstraint("char_length(name) BETWEEN 1 AND 200"), nullable=False),
        sa.Column(
            "created_at",
            TIMESTAMP(timezone=True, precision=0),
            # PostgreSQL rounds, which would put every other record into the future.
            server_default=sa.func.date_trunc("second", sa.func.now()),
            nullable=False,
        ),
        sa.Column("version", sa.BigInteger, server_default="1", nullable=False),
    )
    op.create_index("data_name_id", "data", ["name", "id"])


def downgrade() -> None:
    """Revert."""
    op.drop_table("data")
