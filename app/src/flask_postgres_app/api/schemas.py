"""What goes over the wire, for validation and for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from marshmallow import RAISE, Schema, fields, validate

from ..records import MAX_ID, MAX_NAME_LENGTH

MAX_LIMIT = 1000
DEFAULT_LIMIT = 100

# PostgreSQL stores any character but NUL.
_no_nul = validate.Regexp(r"^[^\x00]*\Z")


def _text(description: str, **kwargs: Any) -> fields.String:
    kwargs.setdefault("validate", validate.And(validate.Length(1, MAX_NAME_LENGTH), _no_nul))
    return fields.String(
        metadata={"description": description, "minLength": 1, "maxLength": MAX_NAME_LENGTH, "pattern": "^[^\\u0000]*$"},
        **kwargs,
    )


def _reference(description: str) -> fields.String:
    return fields.String(required=True, metadata={"description": description, "format": "uri-reference"})


class RecordSchema(Schema):
    """A record as it is stored."""

    id = fields.Integer(required=True, metadata={"minimum": 1, "maximum": MAX_ID, "example": 1})
    name = _text("The name.", required=True)
    created_at = fields.String(
        required=True,
        metadata={
            "description": "When the record was created, in UTC.",
            "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$",
            "example": "2025-05-09T12:00:00",
        },
    )


class RecordListSchema(Schema):
    """A page of records."""

    data = fields.List(fields.Nested(RecordSchema), required=True)


class NewRecordSchema(Schema):
    """A record to create, or to put in another's place."""

    class Meta:
        unknown = RAISE

    name = _text("The name.", required=True)


class RecordChangeSchema(Schema):
    """A change of a record: a JSON merge patch (RFC 7396)."""

    class Meta:
        unknown = RAISE

    name = _text("The new name.")


class PageSchema(Schema):
    """Which records to list."""

    limit = fields.Integer(
        load_default=DEFAULT_LIMIT,
        validate=validate.Range(1, MAX_LIMIT),
        metadata={"description": "How many records at most."},
    )
    after = fields.Integer(
        load_default=None,
        allow_none=False,
        validate=validate.Range(0, MAX_ID),
        metadata={"description": "Only records that follow this id; pages are linked in the Link header."},
    )
    order = fields.String(
        load_default="id",
        validate=validate.OneOf(("id", "-id")),
        metadata={"description": "By id, upwards or downwards."},
    )
    name = _text("Only records of this name.", load_default=None, allow_none=False)
    contains = _text(
        "Only records whose name contains this text, whatever its case.", load_default=None, allow_none=False
    )


class StatusSchema(Schema):
    """That all is well."""

    status = fields.String(required=True)


class ReadinessSchema(Schema):
    """What the service needs, and how it is."""

    status = fields.String(required=True, validate=validate.OneOf(("ready", "not ready")))
    checks = fields.Dict(keys=fields.String(), values=fields.Dict(), required=True)


class VersionSchema(Schema):
    """Which version runs."""

    name = fields.String(required=True)
    version = fields.String(required=True)


class IndexSchema(Schema):
    """What the service is, and where to go on."""

    name = fields.String(required=True)
    description = fields.String(required=True)
    version = fields.String(required=True)
    documentation = _reference("The documentation, with a form for each call.")
    openapi = _reference("The OpenAPI document.")
    data = _reference("The records.")


class ProblemSchema(Schema):
    """A problem document (RFC 9457)."""

    type = fields.String(required=True, metadata={"format": "uri-reference"})
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String()
    request_id = fields.String(required=True, metadata={"description": "The X-Request-ID of the response."})
    errors = fields.List(
        fields.Dict(keys=fields.String(), values=fields.String()),
        metadata={"description": "What is wrong with the request: where (in, name) and why (detail)."},
    )
