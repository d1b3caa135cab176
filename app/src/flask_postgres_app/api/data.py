"""``/api/data``: the records."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any
from urllib.parse import urlencode

import orjson
from flask import Response, current_app, request, url_for
from flask.views import MethodView
from werkzeug.exceptions import NotFound, PreconditionFailed

from ..records import MAX_ID, Record, Records
from .arguments import Blueprint
from .auth import require_token
from .schemas import NewRecordSchema, PageSchema, RecordChangeSchema, RecordListSchema, RecordSchema

blueprint = Blueprint("data", __name__, url_prefix="/api/data", description="Records")

_ETAG = {"ETag": {"description": "The version of what is returned.", "schema": {"type": "string"}}}
_LINK = {"Link": {"description": "The next page, as rel=next (RFC 8288).", "schema": {"type": "string"}}}
_LOCATION = {
    "Location": {"description": "Where the new record is.", "schema": {"type": "string", "format": "uri-reference"}}
}
_AGE = {
    "X-Data-Age": {
        "description": "While no primary answers: how old the answer of a replica may be at most, in seconds.",
        "schema": {"type": "integer", "minimum": 0},
    }
}
_IF_MATCH = {
    "in": "header",
    "name": "If-Match",
    "description": "Only if the record still has this ETag (RFC 9110, section 13.1.1).",
    "schema": {"type": "string"},
}
_IF_NONE_MATCH = {
    "in": "header",
    "name": "If-None-Match",
    "description": "Only if what would be returned has another ETag (RFC 9110, section 13.1.2).",
    "schema": {"type": "string"},
}
_WRITE: dict[str, Any] = {"security": [{"bearer": []}]}


def _records() -> Records:
    return Records(current_app.extensions["database"])


@blueprint.route("")
class RecordListView(MethodView):
    """The collection."""

    @blueprint.parameter(_IF_NONE_MATCH)
    @blueprint.doc(operationId="listRecords")
    @blueprint.arguments(PageSchema, location="query")
    @blueprint.response(200, RecordListSchema, headers=_ETAG | _LINK | _AGE)
    @blueprint.alt_response(304, description="Not modified.")
    @blueprint.errors(414, 503)
    def get(self, page: dict[str, Any]) -> Response:
        """List records."""
        limit = page["limit"]
        # One more than asked for tells whether there is a next page.
        records = _records().page(
            limit + 1,
            after=page["after"],
            descending=page["order"] == "-id",
            name=page["name"],
            contains=page["contains"],
        )
        more = len(records) > limit
        response = _json({"data": records[:limit]})
        if more:
            query = request.args.to_dict() | {"after": str(records[limit - 1]["id"])}
            response.headers["Link"] = f'<{request.path}?{urlencode(query)}>; rel="next"'
        return _conditional(response, blake2b(response.get_data(), digest_size=16).hexdigest())

    @blueprint.doc(operationId="createRecord", **_WRITE)
    @require_token
    @blueprint.arguments(NewRecordSchema)
    @blueprint.response(201, RecordSchema, headers=_ETAG | _LOCATION)
    @blueprint.errors(400, 401, 408, 413, 415, 503)
    def post(self, body: dict[str, Any]) -> Response:
        """Create a record."""
        record = _records().create(body["name"])
        response = _represent(record, 201)
        response.headers["Location"] = url_for("data.RecordView", record_id=record.id)
        return response


@blueprint.route(f"/<int(min=1, max={MAX_ID}):record_id>")
class RecordView(MethodView):
    """A single record."""

    @blueprint.parameter(_IF_NONE_MATCH)
    @blueprint.doc(operationId="getRecord")
    @blueprint.response(200, RecordSchema, headers=_ETAG | _AGE)
    @blueprint.alt_response(304, description="Not modified.")
    @blueprint.errors(404, 503)
    def get(self, record_id: int) -> Response:
        """Get a record."""
        record = _found(_records().look_up(record_id))
        return _conditional(_represent(record), record.etag)

    @blueprint.parameter(_IF_MATCH)
    @blueprint.doc(operationId="replaceRecord", **_WRITE)
    @require_token
    @blueprint.arguments(NewRecordSchema)
    @blueprint.response(200, RecordSchema, headers=_ETAG)
    @blueprint.errors(400, 401, 404, 408, 412, 413, 415, 503)
    def put(self, body: dict[str, Any], record_id: int) -> Response:
        """Replace a record."""
        return _rename(record_id, body["name"])

    @blueprint.parameter(_IF_MATCH)
    @blueprint.doc(operationId="changeRecord", **_WRITE)
    @require_token
    @blueprint.arguments(RecordChangeSchema)
    @blueprint.response(200, RecordSchema, headers=_ETAG)
    @blueprint.errors(400, 401, 404, 408, 412, 413, 415, 503)
    def patch(self, body: dict[str, Any], record_id: int) -> Response:
        """Change a record."""
        if "name" in body:
            return _rename(record_id, body["name"])
        record = _existing(record_id)
        _check(record)
        return _represent(record)

    @blueprint.parameter(_IF_MATCH)
    @blueprint.doc(operationId="deleteRecord", **_WRITE)
    @require_token
    @blueprint.response(204)
    @blueprint.errors(401, 404, 412, 503)
    def delete(self, record_id: int) -> Response:
        """Delete a record."""
        version = _expected_version(record_id)
        if not _records().delete(record_id, version):
            raise _gone(record_id, version)
        response = Response(status=204)
        # Flask gives every response a media type, but there is nothing that it could be of.
        del response.headers["Content-Type"]
        return response


def _json(document: object, status: int = 200) -> Response:
    response = Response(orjson.dumps(document), status, content_type="application/json")
    response.headers["Cache-Control"] = "no-cache"
    return response


def _represent(record: Record, status: int = 200) -> Response:
    response = _json(record.to_dict(), status)
    response.set_etag(record.etag)
    return response


def _conditional(response: Response, etag: str) -> Response:
    response.set_etag(etag)
    # Costs more than the rest of the view, so only where there is a condition.
    if "HTTP_IF_NONE_MATCH" in request.environ:
        response.make_conditional(request)
    return response


def _existing(record_id: int) -> Record:
    return _found(_records().get(record_id))


def _found(record: Record | None) -> Record:
    if record is None:
        raise NotFound("There is no such record.")
    return record


def _check(record: Record) -> None:
    if request.if_match and not request.if_match.contains(record.etag):
        raise PreconditionFailed("The record has changed since.")


def _expected_version(record_id: int) -> int | None:
    """The version that a change is for, if the request says so; any other in the meantime makes it fail."""
    # Any version will do for "*", which the statement's own condition on the id stands for.
    if not request.if_match or request.if_match.star_tag:
        return None
    record = _existing(record_id)
    _check(record)
    return record.version


def _rename(record_id: int, name: str) -> Response:
    version = _expected_version(record_id)
    record = _records().update(record_id, name, version)
    if record is None:
        raise _gone(record_id, version)
    return _represent(record)


def _gone(record_id: int, version: int | None) -> Exception:
    if version is None or _records().get(record_id) is None:
        return NotFound("There is no such record.")
    return PreconditionFailed("The record has changed since.")
