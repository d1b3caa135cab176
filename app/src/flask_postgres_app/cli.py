"""Commands, as ``flask-postgres-app`` and as ``flask --app flask_postgres_app``."""

from __future__ import annotations

import os

import click
import psycopg2
from alembic.util import CommandError
from sqlalchemy.exc import SQLAlchemyError

from . import migrate as migrations
from .database import DeadlineError
from .settings import DatabaseSettings


@click.group()
@click.version_option(package_name="flask-postgres-app")
def main() -> None:
    """Operate the service."""


@main.command()
@click.option("--revision", default="head", show_default=True, help="The revision to migrate to.")
@click.option(
    "--wait",
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    help="How long to wait for the database to accept connections.",
)
def migrate(revision: str, wait: float) -> None:
    """Migrate the database's schema."""
    settings = DatabaseSettings.from_environ(os.environ)
    try:
        found = migrations.upgrade(settings, revision, wait)
    except (psycopg2.Error, SQLAlchemyError, CommandError, DeadlineError) as error:
        cause = getattr(error, "orig", None) or error
        text = " ".join(str(cause).split())
        raise click.ClickException(f"migration of {settings.db_host}:{settings.db_port} failed: {text}") from None
    click.echo(f"The schema is at revision {found}.")
