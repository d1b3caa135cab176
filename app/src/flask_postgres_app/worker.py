"""The worker class of gunicorn."""

from __future__ import annotations

import os
import select
import time
from http import HTTPStatus
from typing import Any

import orjson
from gunicorn import util
from gunicorn.http import errors
from gunicorn.workers.gthread import ThreadWorker

from .hooks import CONTENT_SECURITY_POLICY

# How long a thread keeps a connection for its next request, in milliseconds.
LINGER_MS = 10

# What is read, at most, of a body that nothing asked for.
DRAIN_SECONDS = 5
DRAIN_BYTES = 16 << 20

_STATUSES = {
    errors.ExpectationFailed: HTTPStatus.EXPECTATION_FAILED,
    errors.LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    errors.LimitRequestLine: HTTPStatus.REQUEST_URI_TOO_LONG,
    errors.UnsupportedTransferCoding: HTTPStatus.NOT_IMPLEMENTED,
}


class Worker(ThreadWorker):  # type: ignore[misc]
    """gthread, whose threads stay with a connection while its requests come in close succession.

    gthread hands a connection back to its main thread after every request and gets it back for the next. The two
    switches of threads, the pipe and the poller between them cost about as much as a small request itself.
    """

    def handle(self, conn: Any) -> Any:
        """Handle the requests of a connection; see gthread."""
        while True:
            result = super().handle(conn)
            # Bytes that have been read already do not show up in a poll.
            if result is not True or conn.parser.unreader.buf.getvalue():
                return result
            others_wait = self.tpool._work_queue.qsize() > 0
            if others_wait or not self.alive:
                return result
            poller = select.poll()
            poller.register(conn.sock, select.POLLIN)
            if not poller.poll(LINGER_MS):
                return result

    def _keepalive_after(self, conn: Any, keepalive: bool) -> bool:
        """Read what is left of a request's body, and return whether the connection can take another request.

        A connection closed on a client that is still sending is reset, and the client, or the proxy in front, loses
        the response with it (RFC 9112, section 9.6). gunicorn reads 64 KiB.
        """
        deadline = time.monotonic() + DRAIN_SECONDS
        is_read = conn.parser.finish_body(deadline=deadline, max_bytes=DRAIN_BYTES)
        return keepalive and bool(is_read)

    def handle_error(self, _req: Any, client: Any, _addr: Any, exc: BaseException) -> None:
        """Answer a request that never got to the application with a problem document (RFC 9457)."""
        status = _STATUSES.get(type(exc))
        if status is None:
            is_malformed = isinstance(exc, errors.ParseException)
            status = HTTPStatus.BAD_REQUEST if is_malformed else HTTPStatus.INTERNAL_SERVER_ERROR
        request_id = os.urandom(16).hex()
        if status is HTTPStatus.INTERNAL_SERVER_ERROR:
            self.log.exception("error handling request %s", request_id)
        else:
            self.log.warning("invalid request %s: %s", request_id, exc)
        document = {"type": "about:blank", "title": status.phrase, "status": status, "request_id": request_id}
        body = orjson.dumps(document)
        head = (
            f"HTTP/1.1 {status} {status.phrase}\r\n"
            "Connection: close\r\n"
            "Content-Type: application/problem+json\r\n"
            f"Content-Length: {len(body)}\r\n"
            "Cache-Control: no-store\r\n"
            f"Content-Security-Policy: {CONTENT_SECURITY_POLICY}\r\n"
            "Referrer-Policy: no-referrer\r\n"
            "X-Content-Type-Options: nosniff\r\n"
            f"X-Request-ID: {request_id}\r\n\r\n"
        )
        try:
            util.write_nonblock(client, head.encode() + body)
        except OSError as error:
            self.log.debug("nobody to tell: %s", error)
