"""A small Flask service over PostgreSQL.

`create_app` is the application factory::

    flask --app flask_postgres_app run
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import orjson
from flask import Flask
from flask.json.provider import JSONProvider
from werkzeug.middleware.proxy_fix import ProxyFix

from . import api, cli, hooks
from .database import Database
from .replica import Replica
from .settings import Settings

__all__ = ["create_app"]


class _OrjsonProvider(JSONProvider):
    def dumps(self, obj: Any, **_: Any) -> str:
        return orjson.dumps(obj).decode()

    def loads(self, s: str | bytes, **_: Any) -> Any:
        return orjson.loads(s)


class _Flask(Flask):
    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return a view as it is; Flask has this to be overridden where views are called in another way.

        No view is a coroutine function, and to look at each again at every request takes a tenth of the time of a small
        one. A coroutine function would never run.
        """
        return func


def create_app(settings: Settings | None = None) -> Flask:
    """Create the application.

    Args:
        settings: Settings of the service; read from the environment if not given.

    Raises:
        SettingsError: Settings in the environment are missing or wrong.
    """
    settings = settings or Settings.from_environ(os.environ)
    app = _Flask(__name__, static_folder=None)
    app.json = _OrjsonProvider(app)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_content_length
    app.extensions["settings"] = settings
    if settings.otel_endpoint is None:
        app.extensions["database"] = Database(settings)
    else:
        # Takes memory, which is not spent where nobody traces.
        from .tracing import TracedDatabase, Tracing

        tracing = Tracing(settings)
        # Before the other hooks, of which the first may refuse the request.
        tracing.init_app(app)
        app.extensions["tracing"] = tracing
        app.extensions["database"] = TracedDatabase(tracing, settings)
    if settings.db_read_host is not None and settings.db_read_max_age_s:
        app.extensions["database"].replica = Replica(settings)
    hooks.init_app(app)
    api.init_app(app)
    app.cli.add_command(cli.migrate)
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]
    return app
