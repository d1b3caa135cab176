"""Metrics for Prometheus, merged over the worker processes and served on a port of their own."""

from __future__ import annotations

import threading
from socketserver import TCPServer, ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, make_wsgi_app
from prometheus_client.multiprocess import MultiProcessCollector

REQUESTS = Histogram(
    "http_request_duration_seconds",
    "Time to answer a request, by method, route and status.",
    ["method", "route", "status"],
    buckets=(0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
)
DATABASE_ERRORS = Counter(
    "database_unavailable_total", "Calls that the database did not answer, by reason.", ["reason"]
)
REPLICA_READS = Counter(
    "database_replica_reads_total", "Reads that a replica answered, by the reason why the primary did not.", ["reason"]
)
APP_INFO = Gauge("app_info", "The version that runs.", ["version"], multiprocess_mode="livemax")


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    # Every worker listens, and whichever accepts answers for all: the numbers are in files that they share.
    allow_reuse_port = True

    def server_bind(self) -> None:
        # That of `HTTPServer` looks the machine's own name up, which a silent name server holds up for half a minute.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]
        self.setup_environ()


class _Handler(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Scrapes are not worth a log line."""


def serve(port: int) -> None:
    """Serve the metrics of all worker processes from a thread of this one.

    Args:
        port: The TCP port, on all interfaces.

    Raises:
        OSError: The port is taken by something else.
        ValueError: ``PROMETHEUS_MULTIPROC_DIR`` does not name a folder.
    """
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    server = make_server("", port, make_wsgi_app(registry), server_class=_Server, handler_class=_Handler)
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
