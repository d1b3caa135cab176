"""Runs the migrations; see https://alembic.sqlalchemy.org."""

from alembic import context
from notes import DATABASE
from sqlalchemy import create_engine

with create_engine(DATABASE).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
