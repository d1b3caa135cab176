"""Find names by a part of them without reading the whole table."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

INDEX = "data_name_trigrams"


def upgrade() -> None:
    """Apply."""
    # Which comes with PostgreSQL, and which the database's owner may create.
    op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    # Writes go on meanwhile. A build that was broken off leaves an index that is of no use.
    with op.get_context().autocommit_block():
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {INDEX}")
        op.execute(f"CREATE INDEX CONCURRENTLY {INDEX} ON data USING gin (lower(name) gin_trgm_ops)")


def downgrade() -> None:
    """Revert, but for the extension: it may have been there before, and others may use it."""
    op.drop_index(INDEX)
