"""Parsing and validation of what a request carries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any, NoReturn, TypeVar

import flask_smorest
import orjson
from flask import request
from marshmallow import ValidationError
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnsupportedMediaType

from .errors import InvalidRequestError

View = TypeVar("View", bound=Callable[..., Any])


class Parser(FlaskParser):
    """webargs with the errors of this service, and with no work for a request that has no query."""

    def __init__(self) -> None:
        super().__init__()
        self._defaults: dict[Any, Any] = {}

    def parse(self, argmap: Any, req: Any = None, *, location: str | None = None, **kwargs: Any) -> Any:
        """Parse the arguments in one location of the request.

        Raises:
            BadRequest: The body is not JSON.
            RequestEntityTooLarge: The body is larger than the service takes.
            UnsupportedMediaType: The body does not claim to be JSON.
            InvalidRequestError: An argument is not valid.
        """
        if location != "query" or request.query_string:
            return super().parse(argmap, req, location=location, **kwargs)
        if argmap not in self._defaults:
            self._defaults[argmap] = super().parse(argmap, req, location=location, **kwargs)
        return self._defaults[argmap]

    def load_json(self, req: Any, _schema: Any) -> Any:
        """Return the body."""
        if not req.is_json:
            raise UnsupportedMediaType("The body's media type must be application/json.")
        body = req.get_data()
        # Werkzeug cuts a body of undeclared length off at the limit.
        if req.content_length is None and len(body) >= req.max_content_length:
            raise RequestEntityTooLarge
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            raise BadRequest("The body is not valid JSON.") from None

    def handle_error(self, error: ValidationError, *_: Any, **__: Any) -> NoReturn:
        """Refuse the request."""
        raise InvalidRequestError(list(_flatten(error.messages_dict)))


class Blueprint(flask_smorest.Blueprint):  # type: ignore[misc]
    """A blueprint that parses arguments with `Parser`."""

    ARGUMENTS_PARSER = Parser()

    def parameter(self, parameter: dict[str, Any]) -> Callable[[View], View]:
        """Document a parameter that a view reads by itself."""

        def decorator(view: View) -> View:
            # doc(parameters=...) would take the place of those that `arguments` has documented, and `arguments` itself
            # would parse the header at every request: without this, a list has no If-None-Match in the document.
            documentation: dict[str, Any] = view.__dict__.setdefault("_apidoc", {})
            documentation.setdefault("arguments", {}).setdefault("parameters", []).append(parameter)
            return view

        return decorator

    def errors(self, *statuses: int) -> Callable[[View], View]:
        """Document the errors that a view may answer with."""

        def decorator(view: View) -> View:
            for status in statuses:
                view = self.alt_response(status, HTTPStatus(status).name)(view)
            return view

        return decorator


def _flatten(messages: dict[str, Any]) -> Iterator[dict[str, str]]:
    for location, fields in messages.items():
        for name, texts in fields.items():
            for text in texts:
                yield {"in": "body" if location == "json" else location, "name": name, "detail": text}
