"""Traces: a span for each request and for each call of the database, sent to a collector by OTLP over HTTP.

Names are those of OpenTelemetry's semantic conventions (https://opentelemetry.io/docs/specs/semconv/). Its
instrumentation of psycopg2 wraps cursors, which here see ``EXECUTE s3`` where a trace should have the statement.
"""

from __future__ import annotations

import atexit
import logging
import re
import socket
import threading
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import urlsplit

import psycopg2
from flask import Flask, Response, g, request
from opentelemetry import context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider, sampling
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.semconv.attributes import (
    client_attributes,
    db_attributes,
    error_attributes,
    http_attributes,
    server_attributes,
    service_attributes,
    url_attributes,
    user_agent_attributes,
)
from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.re import parse_env_headers
from opentelemetry.util.types import AttributeValue
from requests.utils import get_environ_proxies

from .database import Database, DatabaseUnavailableError, Row
from .hooks import OTHER_METHOD, TRACEPARENT, known_method
from .resolver import Resolver, UnresolvedError
from .settings import Settings

# What is sent at once and what waits at most, in spans; how often, and how long a batch is tried.
BATCH_SIZE = 512
QUEUE_SIZE = 2048
INTERVAL_S = 5
EXPORT_TIMEOUT_S = 5

_FROM_ENVIRON = {
    client_attributes.CLIENT_ADDRESS: "REMOTE_ADDR",
    user_agent_attributes.USER_AGENT_ORIGINAL: "HTTP_USER_AGENT",
}
_find_table = re.compile(r"\b(?:FROM|INTO|UPDATE)\s+(\w+)").search
_propagator = TraceContextTextMapPropagator()
_log = logging.getLogger(__name__)


class _Exporter(SpanExporter):
    """OTLP, with one log line when spans begin to get lost and one when they no longer do."""

    def __init__(self, settings: Settings) -> None:
        self._endpoint = f"{settings.otel_endpoint}".rstrip("/") + "/v1/traces"
        self._exporter = OTLPSpanExporter(
            self._endpoint,
            settings.otel_certificate,
            headers=parse_env_headers(settings.otel_headers or "", liberal=True),
            timeout=EXPORT_TIMEOUT_S,
        )
        self._resolver = Resolver()
        self._arrives = True
        self._ending = False
        self._reason = ""
        logging.getLogger(OTLPSpanExporter.__module__).addFilter(self._keep_reason)
        # It warns of a full queue, which is no news when nothing arrives.
        logging.getLogger("opentelemetry.sdk._shared_internal").addFilter(lambda _: self._arrives and not self._reason)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans."""
        if self._ending and not self._arrives:
            return SpanExportResult.FAILURE
        self._reason = ""
        result = self._exporter.export(spans) if self._is_resolved() else SpanExportResult.FAILURE
        arrives = result is SpanExportResult.SUCCESS
        if arrives != self._arrives:
            self._arrives = arrives
            if arrives:
                _log.warning("%s takes spans again", self._endpoint)
            else:
                _log.warning("spans are dropped, since %s does not take them: %s", self._endpoint, self._reason)
        return result

    def _is_resolved(self) -> bool:
        """Whether a name server answers: the exporter's timeout does not count while it looks the name up."""
        # A proxy does that by itself.
        if get_environ_proxies(self._endpoint, None):
            return True
        try:
            self._resolver.resolve([urlsplit(self._endpoint).hostname or ""], EXPORT_TIMEOUT_S, remember=False)
        except UnresolvedError as error:
            self._reason = str(error)
            return False
        return True

    def end(self) -> None:
        """Give up at the first failure from now on: a process that ends is not waited for long."""
        self._ending = True

    def shutdown(self) -> None:
        """Close the connection."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def _keep_reason(self, record: logging.LogRecord) -> bool:
        # The first message of an attempt has the cause, the last one only that it is given up.
        self._reason = self._reason or " ".join(record.getMessage().split())
        return False


class Tracing:
    """The spans of an application's requests."""

    def __init__(self, settings: Settings) -> None:
        """Prepare; nothing is sent yet.

        Args:
            settings: Settings of the service, with a collector.
        """
        self._exporter = _Exporter(settings)
        self._provider = TracerProvider(
            _sampler(settings.otel_sampler, settings.otel_sampler_arg),
            Resource.create(
                {
                    service_attributes.SERVICE_NAME: settings.otel_service_name,
                    service_attributes.SERVICE_VERSION: settings.app_version,
                    # In Kubernetes the pod's.
                    "host.name": socket.gethostname(),
                }
            ),
            shutdown_on_exit=False,
        )
        self._starting = threading.Lock()
        self._started = False
        self.tracer = self._provider.get_tracer(__package__)

    def init_app(self, app: Flask) -> None:
        """Attach to an application, before anything else is."""
        app.before_request(self._before)
        app.after_request(self._after)
        app.teardown_request(self._teardown)

    def close(self) -> None:
        """Send what is left."""
        self._exporter.end()
        self._provider.shutdown()

    def _start(self) -> None:
        """Begin to send: at the first request, for a thread would not survive the fork of a worker process."""
        with self._starting:
            if not self._started:
                self._provider.add_span_processor(
                    BatchSpanProcessor(self._exporter, QUEUE_SIZE, INTERVAL_S * 1000, BATCH_SIZE)
                )
                atexit.register(self.close)
                self._started = True

    def _before(self) -> None:
        if not self._started:
            self._start()
        environ = request.environ
        method = known_method()
        attributes: dict[str, AttributeValue] = {
            http_attributes.HTTP_REQUEST_METHOD: method,
            # Without the query, which may hold data.
            url_attributes.URL_PATH: request.path,
            url_attributes.URL_SCHEME: request.scheme,
        }
        for attribute, key in _FROM_ENVIRON.items():
            if key in environ:
                attributes[attribute] = environ[key]
        name = "HTTP" if method == OTHER_METHOD else method
        if request.url_rule is not None:
            attributes[http_attributes.HTTP_ROUTE] = request.url_rule.rule
            name += f" {request.url_rule.rule}"
        headers = {"traceparent": environ.get("HTTP_TRACEPARENT", ""), "tracestate": environ.get("HTTP_TRACESTATE", "")}
        span = self.tracer.start_span(name, _propagator.extract(headers), SpanKind.SERVER, attributes)
        current = set_span_in_context(span)
        carrier: dict[str, str] = {}
        _propagator.inject(carrier, current)
        environ[TRACEPARENT] = carrier["traceparent"]
        g.span = span
        g.span_token = context.attach(current)

    @staticmethod
    def _after(response: Response) -> Response:
        g.span.set_attribute("request_id", g.request_id)
        g.span.set_attribute(http_attributes.HTTP_RESPONSE_STATUS_CODE, response.status_code)
        if response.status_code >= 500:
            g.span.set_attribute(error_attributes.ERROR_TYPE, str(response.status_code))
            g.span.set_status(StatusCode.ERROR)
        return response

    @staticmethod
    def _teardown(_: BaseException | None) -> None:
        # There is a context without a request under way in tests and in a shell.
        if span := g.pop("span", None):
            context.detach(g.pop("span_token"))
            span.end()


class TracedDatabase(Database):
    """The database, with a span for each call."""

    def __init__(self, tracing: Tracing, settings: Settings) -> None:
        """Prepare; see `Database`."""
        super().__init__(settings)
        self._tracer = tracing.tracer
        self._attributes: dict[str, AttributeValue] = {
            db_attributes.DB_SYSTEM_NAME: db_attributes.DbSystemNameValues.POSTGRESQL.value,
            db_attributes.DB_NAMESPACE: settings.db_name,
            server_attributes.SERVER_ADDRESS: settings.db_host,
            server_attributes.SERVER_PORT: settings.db_port,
        }

    def execute(
        self, sql: str, parameters: Sequence[object] = (), *, safe: bool = False, prepare: bool = True
    ) -> list[Row]:
        """Execute one statement; see `Database.execute`."""
        summary = _summary(sql)
        attributes = self._attributes | {db_attributes.DB_QUERY_SUMMARY: summary, db_attributes.DB_QUERY_TEXT: sql}
        with self._tracer.start_as_current_span(summary, kind=SpanKind.CLIENT, attributes=attributes) as span:
            try:
                return super().execute(sql, parameters, safe=safe, prepare=prepare)
            except (DatabaseUnavailableError, psycopg2.Error) as error:
                code = getattr(error.__cause__ or error, "pgcode", None)
                reason = getattr(error, "reason", type(error).__qualname__)
                span.set_attribute(error_attributes.ERROR_TYPE, code or reason)
                if code:
                    span.set_attribute(db_attributes.DB_RESPONSE_STATUS_CODE, code)
                raise


def _sampler(name: str, ratio: float) -> sampling.Sampler:
    roots = {
        "always_on": sampling.ALWAYS_ON,
        "always_off": sampling.ALWAYS_OFF,
        "traceidratio": sampling.TraceIdRatioBased(ratio),
    }
    root = roots[name.removeprefix("parentbased_")]
    return sampling.ParentBased(root) if name.startswith("parentbased_") else root


@lru_cache
def _summary(sql: str) -> str:
    """The operation and the table, such as ``SELECT data``."""
    operation = sql.split(maxsplit=1)[0]
    table = _find_table(sql)
    return f"{operation} {table[1]}" if table else operation
