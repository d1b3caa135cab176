"""Variants of the service to compare it with."""

from __future__ import annotations

from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIEnvironment

from flask import Flask, Response

from flask_postgres_app import create_app

_ANSWER = b'{"status":"healthy"}'


class _NoDatabase:
    def fill(self) -> None:
        """Open nothing."""


class _Application:
    def __init__(self) -> None:
        self.extensions = {"database": _NoDatabase()}

    def __call__(self, _: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(_ANSWER)))])
        return [_ANSWER]


def connection_per_request() -> Flask:
    """The service that opens a connection for every request."""
    app = create_app()

    @app.after_request
    def close(response: Response) -> Response:
        app.extensions["database"].close()
        return response

    return app


def no_framework() -> _Application:
    """An answer of gunicorn alone."""
    return _Application()


def no_service() -> Flask:
    """The same answer by a route of Flask, with nothing around it."""
    app = Flask(__name__, static_folder=None)
    app.extensions["database"] = _NoDatabase()

    @app.route("/<path:_>")
    def answer(_: str) -> tuple[bytes, dict[str, str]]:
        return _ANSWER, {"Content-Type": "application/json"}

    return app
