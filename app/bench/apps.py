"""Variants of the service to compare it with."""

from flask import Flask
from sqlalchemy.pool import NullPool

from flask_postgres_app import create_app


def connection_per_request() -> Flask:
    """The service that opens a connection for every request."""
    return create_app(poolclass=NullPool)
