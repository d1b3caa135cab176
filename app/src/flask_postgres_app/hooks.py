"""What happens around every request: its id, its log line, its metrics, and the headers of its response."""

from __future__ import annotations

import logging
import os
import re
import sys
from datetime import UTC, datetime
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

_is_request_id = re.compile(r"[A-Za-z0-9._-]{1,128}\Z").match
_access = logging.getLogger("flask_postgres_app.access")


def init_app(app: Flask) -> None:
    """Attach to an application."""
    app.before_request(_before)
    app.after_request(_after)


def _before() -> None:
    environ = request.environ
    supplied = environ.get("HTTP_X_REQUEST_ID", "")
    g.started = perf_counter()
    g.request_id = supplied if _is_request_id(supplied) else os.urandom(16).hex()
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
    rule = request.url_rule
    method = environ["REQUEST_METHOD"]
    status = response.status_code
    duration = perf_counter() - g.started
    REQUESTS.labels(method, rule.rule if rule is not None else "", status).observe(duration)
    if _access.isEnabledFor(logging.INFO):
        line = {
            "time": datetime.now(UTC),
            "level": "INFO",
            "logger": _access.name,
            "request_id": request_id,
            "client": environ.get("REMOTE_ADDR"),
            "method": method,
            "path": request.path,
            "status": status,
            "duration_ms": round(duration * 1000, 3),
        }
        if traceparent := environ.get(TRACEPARENT):
            line["trace_id"] = traceparent.split("-")[1]
        sys.stdout.buffer.write(orjson.dumps(line, option=orjson.OPT_UTC_Z) + b"\n")
        sys.stdout.buffer.flush()
    return response
