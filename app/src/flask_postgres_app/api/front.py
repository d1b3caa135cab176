"""``/``: what the service is and where to go on, as a page for people and in JSON for programs."""

from __future__ import annotations

import orjson
from flask import Response, current_app, render_template, request
from flask.views import MethodView

from .arguments import Blueprint
from .schemas import IndexSchema

TITLE = "Flask service over PostgreSQL"
DESCRIPTION = (
    "Records in PostgreSQL. Reads are open, writes need a bearer token; errors are problem documents (RFC 9457)."
)
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; img-src 'self'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

blueprint = Blueprint("front", __name__, description="What the service is")


@blueprint.route("/")
class FrontView(MethodView):
    """The front page."""

    @blueprint.doc(operationId="index")
    @blueprint.response(200, IndexSchema)
    def get(self) -> Response:
        """Tell what the service is, in JSON or, for a browser, as a page."""
        version = current_app.extensions["settings"].app_version
        # JSON comes first for whoever accepts anything.
        if request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html":
            page = render_template("index.html", title=TITLE, description=DESCRIPTION, version=version)
            response = Response(page, mimetype="text/html")
            response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
        else:
            document = {
                "name": "flask-postgres-app",
                "description": DESCRIPTION,
                "version": version,
                "documentation": "/api/docs",
                "openapi": "/api/openapi.json",
                "data": "/api/data",
            }
            response = Response(orjson.dumps(document), mimetype="application/json")
        response.headers["Cache-Control"] = "no-cache"
        response.headers["Vary"] = "Accept"
        return response
