"""Comments on SQL statements, by which a statement leads to its request (https://google.github.io/sqlcommenter/spec/)."""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import quote

from flask import g, has_request_context, request

from .hooks import TRACEPARENT


def of_request() -> tuple[str, str]:
    """Make comments for the statements of the request under way.

    Returns:
        One for the text that is prepared, which is the same for all requests of a route, and one for its execution.
        Both are empty outside of a request.
    """
    if not has_request_context():
        return "", ""
    rule = request.url_rule
    route = _encoded(rule.rule if rule is not None else "")
    # The id has been checked to need no encoding.
    tags = f"request_id='{g.request_id}',route='{route}'"
    if traceparent := request.environ.get(TRACEPARENT):
        tags += f",traceparent='{traceparent}'"
    return f" /*route='{route}'*/", f" /*{tags}*/"


# Nothing in an encoded text ends the comment, or begins another one within.
_encoded = lru_cache(quote)
