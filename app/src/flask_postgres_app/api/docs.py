"""The OpenAPI document, and Swagger UI to read and try it, from files that ship with the service."""

from __future__ import annotations

from pathlib import Path

import flask_swagger_ui
import orjson
from flask import Blueprint, Response, current_app, send_from_directory
from werkzeug.exceptions import NotFound

blueprint = Blueprint("docs", __name__, url_prefix="/api")

_OWN = Path(__file__).parent.parent / "static"
_SWAGGER_UI = Path(flask_swagger_ui.__file__).parent / "dist"
_ASSETS = {
    "docs.css": _OWN,
    "docs.js": _OWN,
    "favicon-32x32.png": _SWAGGER_UI,
    "index.css": _OWN,
    "swagger-ui.css": _SWAGGER_UI,
    "swagger-ui-bundle.js": _SWAGGER_UI,
}
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; connect-src 'self'; img-src 'self' data:; script-src 'self'; style-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@blueprint.get("/openapi.json")
def openapi() -> Response:
    """Return the OpenAPI document."""
    response = Response(orjson.dumps(current_app.extensions["openapi"].to_dict()), mimetype="application/json")
    response.headers["Cache-Control"] = "no-cache"
    return response


@blueprint.get("/docs")
def page() -> Response:
    """Return the page."""
    response = send_from_directory(_OWN, "docs.html", max_age=0)
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    return response


@blueprint.get("/docs/<name>")
def asset(name: str) -> Response:
    """Return a file that the page needs."""
    if name not in _ASSETS:
        raise NotFound
    return send_from_directory(_ASSETS[name], name, max_age=3600)
