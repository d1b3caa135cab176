"""``/api/setup``: the initial record."""

from __future__ import annotations

import orjson
from flask import Response, current_app, request
from flask.views import MethodView

from ..records import Records
from .arguments import Blueprint
from .schemas import StatusSchema

blueprint = Blueprint("setup", __name__, url_prefix="/api/setup", description="The initial record")

# When GET was superseded by POST, in seconds since 1970 (RFC 9745).
DEPRECATED_AT = 1_746_748_800
_BODY = orjson.dumps({"status": "Database setup successful"})


@blueprint.route("")
class SetupView(MethodView):
    """The setup of the database's content."""

    @blueprint.doc(operationId="setUpByGet", deprecated=True)
    @blueprint.response(200, StatusSchema)
    @blueprint.errors(503)
    def get(self) -> Response:
        """Create the initial record if it is missing; use POST."""
        response = self._answer()
        response.headers["Deprecation"] = f"@{DEPRECATED_AT}"
        return response

    @blueprint.doc(operationId="setUp")
    @blueprint.response(200, StatusSchema)
    @blueprint.errors(503)
    def post(self) -> Response:
        """Create the initial record if it is missing."""
        return self._answer()

    @staticmethod
    def _answer() -> Response:
        # Flask answers HEAD by GET, but nobody expects HEAD to change anything.
        if request.method != "HEAD":
            Records(current_app.extensions["database"]).create_initial()
        response = Response(_BODY, mimetype="application/json")
        response.headers["Cache-Control"] = "no-store"
        return response
