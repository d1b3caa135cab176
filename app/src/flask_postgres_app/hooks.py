"""What happens around every request: its id, its log line, its metrics, and the headers of its response."""

from __future__ import annotations

import logging
import re
import sys
from datetime import UTC, datetime
from functools import lru_cache
from random import getrandbits
from time import perf_counter

import orjson
from flask import Flask, Response, g, request
from werkzeug.exceptions import RequestEntityTooLarge

from .metrics import REQUESTS

# The service answers with data; only the documentation page overrides this policy.
CONTENT_SECURITY_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
# RFC 6797 allows it over HTTPS only.
STRICT_TRANSPORT_SECURITY = "max-age=63072000; includeSubDomains"

# Where the W3C trace context of a traced request's span is in its environment.
TRACEPARENT = "flask_postgres_app.traceparent"

# Anyone can make up others, and each would be a new time series and a new name of a span.
_METHODS = {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}
OTHER_METHOD = "_OTHER"

_is_request_id = re.compile(r"[A-Za-z0-9._-]{1,128}\Z").match
_access = logging.getLogger("flask_postgres_app.access")
# The time series of a method, a route and a status.
_series = lru_cache(REQUESTS.labels)


def init_app(app: Flask) -> None:
    """Attach to an application."""
    app.before_request(_before)
    app.after_request(_after)


def known_method() -> str:
    """The method of the request, or `OTHER_METHOD`, as OpenTelemetry's semantic conventions have it."""
    method: str = request.environ["REQUEST_METHOD"]
    return method if method in _METHODS else OTHER_METHOD


def _before() -> None:
    environ = request.environ
    supplied = environ.get("HTTP_X_REQUEST_ID", "")
    g.started = perf_counter()
    g.request_id = supplied if _is_request_id(supplied) else f"{getrandbits(128):032x}"
    # Flask would look at the length only once something reads the body.
    if "CONTENT_LENGTH" in environ:
        length = request.content_length
        limit = request.max_content_length
        if length is not None and limit is not None and length > limit:
            raise RequestEntityTooLarge


def _after(response: Response) -> Response:
    environ = request.environ
    request_id = g.request_id
    headers = response.headers
    headers.add("Referrer-Policy", "no-referrer")
    headers.add("X-Content-Type-Options", "nosniff")
    if "Content-Security-Policy" not in headers:
        headers.add("Content-Security-Policy", CONTENT_SECURITY_POLICY)
    if environ["wsgi.url_scheme"] == "https":
        headers.add("Strict-Transport-Security", STRICT_TRANSPORT_SECURITY)
    headers.add("X-Request-ID", request_id)
    # Set where a replica has answered.
    if "data_age" in g:
        headers.add("X-Data-Age", str(g.data_age))
    rule = request.url_rule
    status = response.status_code
    duration = perf_counter() - g.started
    _series(known_method(), rule.rule if rule is not None else "", status).observe(duration)
    if _access.isEnabledFor(logging.INFO):
        line = {
            "time": datetime.now(UTC),
            "level": "INFO",
            "logger": _access.name,
            "request_id": request_id,
            "client": environ.get("REMOTE_ADDR"),
            "method": environ["REQUEST_METHOD"],
            "path": request.path,
            "status": status,
            "duration_ms": round(duration * 1000, 3),
        }
        if traceparent := environ.get(TRACEPARENT):
            line["trace_id"] = traceparent.split("-")[1]
        sys.stdout.buffer.write(orjson.dumps(line, option=orjson.OPT_UTC_Z) + b"\n")
        sys.stdout.buffer.flush()
    return response
