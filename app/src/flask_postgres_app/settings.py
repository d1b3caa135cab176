"""Settings of the service, read from the environment and checked at start."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import click
from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate, validates_schema

SECRETS = ("DB_PASSWORD", "API_TOKEN", "API_TOKEN_NEXT", "OTEL_EXPORTER_OTLP_HEADERS")


class SettingsError(click.ClickException):
    """One or more settings are missing or wrong; the message is a single line that names each of them."""


def _integer(name: str, default: int, low: int, high: int, unit: str = "") -> fields.Integer:
    expects = f"an integer from {low} to {high}{unit and ' '}{unit}"
    return fields.Integer(
        data_key=name, load_default=default, validate=validate.Range(low, high), metadata={"expects": expects}
    )


def _text(name: str, expects: str) -> fields.String:
    return fields.String(data_key=name, required=True, metadata={"expects": expects})


_is_token = validate.Regexp(r"[A-Za-z0-9._~+/-]+=*\Z")


def _choice(name: str, default: str, choices: tuple[str, ...]) -> fields.String:
    return fields.String(
        data_key=name,
        load_default=default,
        validate=validate.OneOf(choices),
        metadata={"expects": f"one of {', '.join(choices)}"},
    )


def _switch(name: str) -> fields.Boolean:
    return fields.Boolean(
        data_key=name, load_default=False, truthy={"true"}, falsy={"false"}, metadata={"expects": "true or false"}
    )


def _readable(path: str) -> None:
    if not os.access(path, os.R_OK):
        raise ValidationError("not readable")


def _file(name: str) -> fields.String:
    return fields.String(
        data_key=name,
        load_default=None,
        validate=_readable,
        metadata={"expects": "the path of a readable file"},
    )


class _DatabaseSchema(Schema):
    class Meta:
        unknown = EXCLUDE

    db_host = _text("DB_HOST", "the host name or address of the PostgreSQL server")
    db_port = _integer("DB_PORT", 5432, 1, 65535)
    db_name = _text("DB_NAME", "the name of the database")
    db_user = _text("DB_USER", "the name of the database role")
    db_password = _text("DB_PASSWORD", "the password of the database role (or DB_PASSWORD_FILE, a file with it)")
    db_sslmode = _choice("DB_SSLMODE", "prefer", ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"))
    db_sslrootcert = _file("DB_SSLROOTCERT")
    db_sslcert = _file("DB_SSLCERT")
    db_sslkey = _file("DB_SSLKEY")
    db_connect_timeout_s = _integer("DB_CONNECT_TIMEOUT_S", 1, 1, 600, "seconds")


class _Schema(_DatabaseSchema):
    db_pool_size = _integer("DB_POOL_SIZE", 4, 1, 100, "connections for each worker")
    db_pool_timeout_ms = _integer("DB_POOL_TIMEOUT_MS", 500, 1, 600_000, "milliseconds")
    db_statement_timeout_ms = _integer("DB_STATEMENT_TIMEOUT_MS", 1000, 1, 600_000, "milliseconds")
    db_lock_timeout_ms = _integer("DB_LOCK_TIMEOUT_MS", 500, 1, 600_000, "milliseconds")
    db_deadline_ms = _integer("DB_DEADLINE_MS", 1500, 1, 600_000, "milliseconds, more than DB_STATEMENT_TIMEOUT_MS")
    db_comments = _switch("DB_COMMENTS")
    db_read_host = fields.String(
        data_key="DB_READ_HOST",
        load_default=None,
        metadata={"expects": "the host name or address of replicas, for reads while no primary answers"},
    )
    db_read_port = fields.Integer(
        data_key="DB_READ_PORT",
        load_default=None,
        validate=validate.Range(1, 65535),
        metadata={"expects": "an integer from 1 to 65535"},
    )
    db_read_max_age_s = _integer("DB_READ_MAX_AGE_S", 300, 0, 86_400, "seconds")
    api_token = fields.String(
        data_key="API_TOKEN",
        required=True,
        validate=_is_token,
        metadata={
            "expects": "the bearer token for writes, of A-Z a-z 0-9 . _ ~ + / - (or API_TOKEN_FILE, a file with it)"
        },
    )
    api_token_next = fields.String(
        data_key="API_TOKEN_NEXT",
        load_default=None,
        validate=_is_token,
        metadata={"expects": "another such token, accepted as well (or API_TOKEN_NEXT_FILE, a file with it)"},
    )
    app_version = fields.String(data_key="APP_VERSION", load_default="unknown", metadata={"expects": "a version"})
    log_level = _choice("LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"))
    max_content_length = _integer("MAX_CONTENT_LENGTH", 65_536, 1, 1_073_741_824, "bytes")
    metrics_port = _integer("METRICS_PORT", 9464, 1, 65535)
    # Names and meanings are those of https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/.
    otel_endpoint = fields.String(
        data_key="OTEL_EXPORTER_OTLP_ENDPOINT",
        load_default=None,
        validate=validate.Regexp(r"https?://[^\s/?#@:]+(:[0-9]{1,5})?(/[^\s?#]*)?\Z"),
        metadata={"expects": "the URL of a collector, such as http://collector:4318"},
    )
    otel_protocol = _choice("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf", ("http/protobuf",))
    otel_headers = fields.String(
        data_key="OTEL_EXPORTER_OTLP_HEADERS",
        load_default=None,
        validate=validate.Regexp(r"[!-+\--<>-~]+=[ -+\--~]+(,[!-+\--<>-~]+=[ -+\--~]+)*\Z"),
        metadata={"expects": "name=value, more than one with commas between (or OTEL_EXPORTER_OTLP_HEADERS_FILE)"},
    )
    otel_certificate = _file("OTEL_EXPORTER_OTLP_CERTIFICATE")
    otel_service_name = fields.String(
        data_key="OTEL_SERVICE_NAME", load_default="flask-postgres-app", metadata={"expects": "a name"}
    )
    otel_sampler = _choice(
        "OTEL_TRACES_SAMPLER",
        "parentbased_always_on",
        tuple(parent + root for parent in ("", "parentbased_") for root in ("always_on", "always_off", "traceidratio")),
    )
    otel_sampler_arg = fields.Float(
        data_key="OTEL_TRACES_SAMPLER_ARG",
        load_default=1.0,
        validate=validate.Range(0, 1),
        metadata={"expects": "the share of traces that are kept, from 0 to 1"},
    )
    port = _integer("PORT", 5000, 1, 65535)
    trusted_proxies = _integer("TRUSTED_PROXIES", 0, 0, 10, "proxies that set X-Forwarded-*")
    web_concurrency = _integer("WEB_CONCURRENCY", 2, 1, 64, "worker processes")
    web_threads = _integer("WEB_THREADS", 4, 1, 256, "threads for each worker")
    web_request_timeout_s = _integer("WEB_REQUEST_TIMEOUT_S", 30, 1, 600, "seconds")
    web_response_timeout_s = _integer("WEB_RESPONSE_TIMEOUT_S", 30, 1, 600, "seconds")

    @validates_schema(skip_on_field_errors=True)
    def _deadline_outlasts_statement(self, data: dict[str, Any], **_: Any) -> None:
        if data["db_deadline_ms"] <= data["db_statement_timeout_ms"]:
            raise ValidationError("too short", "DB_DEADLINE_MS")


@dataclass(frozen=True, kw_only=True)
class DatabaseSettings:
    """How to reach the database.

    The ``db_ssl*`` settings have the meaning of libpq's parameters of the same names
    (https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS).

    Attributes:
        db_connect_timeout_s: The time in which a connection must be open, in seconds.
    """

    db_host: str
    db_port: int
    db_name: str
    db_user: str
    db_password: str
    db_sslmode: str
    db_sslrootcert: str | None
    db_sslcert: str | None
    db_sslkey: str | None
    db_connect_timeout_s: int

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Read and check the settings.

        Args:
            environ: The environment, such as ``os.environ``. An empty value counts as missing; a secret may be in the
                file named by its name with ``_FILE`` added.

        Raises:
            SettingsError: Settings are missing or wrong; all of them are named at once.
        """
        return cls(**_load(_DatabaseSchema(), environ))


@dataclass(frozen=True, kw_only=True)
class Settings(DatabaseSettings):
    """Settings of the whole service.

    Attributes:
        db_pool_size: Connections that each worker process opens at most.
        db_pool_timeout_ms: The longest wait for a free connection, in milliseconds.
        db_statement_timeout_ms: PostgreSQL's ``statement_timeout``, in milliseconds.
        db_lock_timeout_ms: PostgreSQL's ``lock_timeout``, in milliseconds.
        db_deadline_ms: The longest a statement may take as seen by the client, in milliseconds. It ends calls of a
            server that answers nothing at all; waits for a connection have bounds of their own.
        db_comments: Whether statements carry the request that they are for, as a comment.
        db_read_host: Where replicas are, which answer reads while no primary does; without it such reads fail.
        db_read_port: Their port, if it is another one than `db_port`.
        db_read_max_age_s: How old the data of a replica may be for that, in seconds; 0 is like no `db_read_host`.
        api_token_next: A token that writes may carry as well, while it replaces `api_token`.
        max_content_length: The largest request body, in bytes.
        otel_endpoint: Where spans are sent to; without it there are none.
        trusted_proxies: How many proxies in front of the service set the ``X-Forwarded-*`` headers.
        web_request_timeout_s: The time in which a request must have come, from its first byte to its last, in seconds.
        web_response_timeout_s: The time in which a client must have taken an answer, in seconds.
    """

    db_pool_size: int
    db_pool_timeout_ms: int
    db_statement_timeout_ms: int
    db_lock_timeout_ms: int
    db_deadline_ms: int
    db_comments: bool
    db_read_host: str | None
    db_read_port: int | None
    db_read_max_age_s: int
    api_token: str
    api_token_next: str | None
    app_version: str
    log_level: str
    max_content_length: int
    metrics_port: int
    otel_endpoint: str | None
    otel_protocol: str
    otel_headers: str | None
    otel_certificate: str | None
    otel_service_name: str
    otel_sampler: str
    otel_sampler_arg: float
    port: int
    trusted_proxies: int
    web_concurrency: int
    web_threads: int
    web_request_timeout_s: int
    web_response_timeout_s: int

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Read and check the settings; see `DatabaseSettings.from_environ`."""
        return cls(**_load(_Schema(), environ))


def _load(schema: Schema, environ: Mapping[str, str]) -> dict[str, Any]:
    values = {name: value for name, value in environ.items() if value}
    expects = {str(field.data_key): field.metadata["expects"] for field in schema.fields.values()}
    problems = []
    for name in SECRETS:
        path = values.get(f"{name}_FILE")
        if path is None or name not in expects:
            continue
        if name in values:
            problems.append(f"{name} and {name}_FILE are both set: set one of them")
            continue
        try:
            values[name] = Path(path).read_text().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            problems.append(f"{name}_FILE={path!r} cannot be read ({getattr(error, 'strerror', 'not text')})")
            expects.pop(name)
    try:
        data: dict[str, Any] = schema.load(values)
    except ValidationError as error:
        wrong = [name for name in error.messages_dict if name in expects]
        problems += [_problem(name, values.get(name), expects[name]) for name in wrong]
    if problems:
        raise SettingsError("invalid settings: " + "; ".join(problems))
    return data


def _problem(name: str, value: str | None, expects: str) -> str:
    if value is None and name != "DB_DEADLINE_MS":
        return f"{name} is not set: it must be {expects}"
    shown = name if name in SECRETS or value is None else f"{name}={value!r}"
    return f"{shown} must be {expects}"
