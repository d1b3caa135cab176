"""How Alembic runs the migrations: on a connection that its caller opened and holds the lock with."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()
