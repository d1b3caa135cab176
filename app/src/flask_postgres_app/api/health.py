"""Whether the service lives, whether it is ready, and which version it is."""

from __future__ import annotations

from time import perf_counter

import orjson
from flask import Response, current_app

from .. import migrate
from ..database import DatabaseUnavailableError
from .arguments import Blueprint
from .schemas import ReadinessSchema, StatusSchema, VersionSchema

blueprint = Blueprint("health", __name__, description="State of the service")

_HEALTHY = orjson.dumps({"status": "healthy"})


@blueprint.route("/healthz")
@blueprint.doc(operationId="live")
@blueprint.response(200, StatusSchema)
def healthz() -> Response:
    """Tell that the process answers; nothing else is looked at."""
    return _answer(_HEALTHY)


@blueprint.route("/readyz")
@blueprint.doc(operationId="ready")
@blueprint.response(200, ReadinessSchema, description="All checks passed.")
@blueprint.alt_response(503, schema=ReadinessSchema, description="A check failed.")
def readyz() -> Response:
    """Check the database and its migrations."""
    started = perf_counter()
    database: dict[str, object] = {"status": "ok"}
    migrations: dict[str, object] = {"status": "ok", "pending": []}
    try:
        pending = migrate.pending(current_app.extensions["database"])
        if pending:
            migrations = {"status": "failed", "pending": pending}
        database["duration_ms"] = round((perf_counter() - started) * 1000, 1)
    except DatabaseUnavailableError as error:
        database = {"status": "failed", "reason": error.reason}
        migrations = {"status": "unknown"}
    ready = database["status"] == migrations["status"] == "ok"
    document = {
        "status": "ready" if ready else "not ready",
        "checks": {"database": database, "migrations": migrations},
    }
    return _answer(orjson.dumps(document), 200 if ready else 503)


@blueprint.route("/version")
@blueprint.doc(operationId="version")
@blueprint.response(200, VersionSchema)
def version() -> Response:
    """Tell which version runs."""
    settings = current_app.extensions["settings"]
    return _answer(orjson.dumps({"name": "flask-postgres-app", "version": settings.app_version}))


def _answer(body: bytes, status: int = 200) -> Response:
    response = Response(body, status, mimetype="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response
