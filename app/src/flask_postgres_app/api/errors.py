"""Errors: a problem document (RFC 9457) for every status."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import orjson
from flask import Blueprint, Response, current_app, g, request
from werkzeug.exceptions import HTTPException, NotFound, UnprocessableEntity

from ..database import DatabaseUnavailableError

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1

# What each status means here, for the OpenAPI document.
RESPONSES = {
    HTTPStatus.BAD_REQUEST: "The body is not JSON, or the request is malformed.",
    HTTPStatus.UNAUTHORIZED: "The bearer token is missing or wrong.",
    HTTPStatus.NOT_FOUND: "There is no such resource.",
    HTTPStatus.REQUEST_TIMEOUT: "The request has not come in time.",
    HTTPStatus.PRECONDITION_FAILED: "The record has changed since its ETag was read.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too large.",
    HTTPStatus.REQUEST_URI_TOO_LONG: "The path and the query are too long.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The body's media type is not JSON.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "A parameter or the body is not valid.",
    HTTPStatus.SERVICE_UNAVAILABLE: "The database cannot answer now.",
}
_DETAILS = {
    "unreachable": "The database cannot be reached.",
    "deadline": "The database did not answer in time.",
    "cooldown": "The database did not answer in time.",
    "busy": "The database is busy.",
    "not_migrated": "The database has not been migrated.",
}


class InvalidRequestError(UnprocessableEntity):
    """Parts of the request are not valid.

    Attributes:
        errors: Where (``in``, ``name``) and why (``detail``).
    """

    def __init__(self, errors: list[dict[str, str]]) -> None:
        super().__init__("The request is not valid.")
        self.errors = errors


blueprint = Blueprint("errors", __name__)


def http_error(error: HTTPException) -> Response:
    """Make the problem document of an error of HTTP; anything else that it has for an answer stays as it is."""
    status = error.code or 500
    if error.response is not None or status < 400:
        return error.get_response()  # type: ignore[return-value]
    response = problem(status, _detail(error), getattr(error, "errors", None))
    for name, value in error.get_headers():
        if name.lower() != "content-type":
            response.headers[name] = value
    return response


@blueprint.app_errorhandler(DatabaseUnavailableError)
def _unavailable(error: DatabaseUnavailableError) -> Response:
    current_app.logger.warning(
        "database unavailable: %s (%s)", error.reason, " ".join(str(error.__cause__ or "").split())
    )
    response = problem(503, _DETAILS[error.reason])
    response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


@blueprint.before_app_request
def _page() -> Response | None:
    """Answer at ``/`` with the problem document of the status in ``X-Code``, if there is one.

    An ingress of class nginx asks for its own error pages in this way, some with the method of the request
    (https://kubernetes.github.io/ingress-nginx/user-guide/custom-errors/).
    """
    if "HTTP_X_CODE" not in request.environ or request.path != "/":
        return None
    status = request.headers.get("X-Code", type=int)
    # Anyone can ask for one, so none of them counts as an error of the server.
    if status is None or not 400 <= status <= 499:
        raise NotFound
    return problem(status)


def problem(status: int, detail: str | None = None, errors: list[dict[str, str]] | None = None) -> Response:
    """Make a problem document.

    Args:
        status: The status of the response.
        detail: What went wrong this time; without internals, for it is shown to clients.
        errors: What is wrong with which part of the request.
    """
    try:
        title = HTTPStatus(status).phrase
    except ValueError:
        title = "Error"
    document: dict[str, Any] = {"type": "about:blank", "title": title, "status": status}
    if detail:
        document["detail"] = detail
    document["request_id"] = g.request_id
    if errors:
        document["errors"] = errors
    response = Response(orjson.dumps(document), status, mimetype=MEDIA_TYPE)
    response.headers["Cache-Control"] = "no-store"
    return response


def _detail(error: HTTPException) -> str | None:
    # The text of a server error may tell about the inside.
    return None if error.code is None or error.code >= 500 else error.description
