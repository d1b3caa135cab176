"""The HTTP interface: one blueprint for each resource, and the OpenAPI document made from them."""

from __future__ import annotations

from typing import Any

import flask_smorest
from flask import Flask, Response
from flask_smorest.utils import prepare_response
from werkzeug.exceptions import HTTPException

from . import data, docs, errors, front, health, setup
from .schemas import ProblemSchema


class Api(flask_smorest.Api):  # type: ignore[misc]
    """flask-smorest with the errors of RFC 9457 in place of its own."""

    ERROR_SCHEMA = ProblemSchema
    DEFAULT_ERROR_RESPONSE_NAME = None

    def handle_http_exception(self, error: HTTPException) -> Response:
        """Answer with a problem document."""
        return errors.http_error(error)

    def _register_responses(self) -> None:
        # flask-smorest has no public way to describe the errors that views refer to by their status: without this, the
        # document would say that they are application/json, and no more of each than its phrase.
        for status, description in errors.RESPONSES.items():
            response: dict[str, Any] = {"description": description, "schema": self.ERROR_SCHEMA}
            prepare_response(response, self.spec, errors.MEDIA_TYPE)
            self.spec.components.response(status.name, response, lazy=True)

    def _register_pagination_header(self) -> None:
        # Pages are linked in the Link header instead (RFC 8288): without this, the document would have a schema of
        # flask-smorest's own that nothing refers to.
        pass


def init_app(app: Flask) -> None:
    """Register the blueprints with an application."""
    version = app.extensions["settings"].app_version
    app.config.update(API_TITLE=front.TITLE, API_VERSION=version, OPENAPI_VERSION="3.1.0")
    api = Api(
        app,
        spec_kwargs={
            "info": {
                "description": front.DESCRIPTION,
                "license": {"name": "MIT", "identifier": "MIT"},
            },
            "servers": [{"url": "/"}],
        },
    )
    token = "The service's setting API_TOKEN."
    api.spec.components.security_scheme("bearer", {"type": "http", "scheme": "bearer", "description": token})
    for module in (data, setup, health, front):
        api.register_blueprint(module.blueprint)
    app.register_blueprint(errors.blueprint)
    app.register_blueprint(docs.blueprint)
    app.extensions["openapi"] = api.spec
