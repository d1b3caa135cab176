"""The bearer token (RFC 6750) that writes need."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from flask import current_app, request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized

P = ParamSpec("P")
R = TypeVar("R")


def require_token(view: Callable[P, R]) -> Callable[P, R]:
    """Let only requests that carry a token through to a view; the others get 401."""

    @wraps(view)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        settings = current_app.extensions["settings"]
        authorization = request.authorization
        if authorization is None or authorization.type != "bearer" or authorization.token is None:
            raise Unauthorized(
                "A bearer token is needed.", www_authenticate=WWWAuthenticate("bearer", {"realm": "api"})
            )
        given = authorization.token.encode()
        tokens = [token for token in (settings.api_token, settings.api_token_next) if token]
        matches = [hmac.compare_digest(given, token.encode()) for token in tokens]
        if not any(matches):
            challenge = WWWAuthenticate("bearer", {"realm": "api", "error": "invalid_token"})
            raise Unauthorized("The bearer token is wrong.", www_authenticate=challenge)
        return view(*args, **kwargs)

    return wrapper
