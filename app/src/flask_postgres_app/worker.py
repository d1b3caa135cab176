"""The worker class of gunicorn: threads that answer, and one that does all the waiting for clients.

gunicorn's own `gthread` gives a connection to a thread as soon as it has sent something, and the thread then waits for
the rest: as many slow clients as there are threads stop the service. Here a thread gets a request that has come whole,
and leaves an answer that the client does not take at once to the main thread, which waits for all of them together.

`gunicorn.workers.base.Worker` is what a worker class of one's own extends
(https://gunicorn.org/reference/settings/#worker_class).
"""

from __future__ import annotations

import math
import os
import selectors
import threading
from contextlib import suppress
from http import HTTPStatus
from queue import SimpleQueue
from time import monotonic
from typing import Any

import orjson
from gunicorn.http import errors, wsgi
from gunicorn.workers.base import Worker as BaseWorker

from .connection import Connection, Limits, State
from .hooks import CONTENT_SECURITY_POLICY

# What is read, at most, of a body that nothing asked for.
DRAIN_S = 5.0
DRAIN_BYTES = 16 << 20
# How long a client that has its last answer has to close the connection.
CLOSE_S = 2.0
# How long a worker that ends keeps connections open between two requests, for one that is on its way.
STOP_IDLE_S = 2.0
# What requests and answers that are under way may take of a worker's memory, beside the largest body.
BUFFER_BYTES = 16 << 20
# How often it looks for clients whose time is over.
SWEEP_S = 0.5


class RequestTimeoutError(Exception):
    """A request has not come whole in time."""

    def __init__(self) -> None:
        super().__init__("the request has not come in time")


class BufferFullError(Exception):
    """Requests and answers that are under way take all the memory that they may take."""

    def __init__(self) -> None:
        super().__init__("too much waits for slow clients")


_STATUSES = {
    RequestTimeoutError: HTTPStatus.REQUEST_TIMEOUT,
    BufferFullError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.ExpectationFailed: HTTPStatus.EXPECTATION_FAILED,
    errors.LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    errors.LimitRequestLine: HTTPStatus.REQUEST_URI_TOO_LONG,
    errors.UnsupportedTransferCoding: HTTPStatus.NOT_IMPLEMENTED,
}


class Worker(BaseWorker):  # type: ignore[misc]
    """A worker process.

    Attributes:
        limits: What clients may take; to be set before the worker runs, such as in gunicorn's hook ``post_fork``.
    """

    alive: bool
    limits: Limits

    def init_process(self) -> None:
        """Prepare the worker in its own process, and run it; called by gunicorn."""
        self._selector = selectors.DefaultSelector()
        self._jobs: SimpleQueue[Connection | None] = SimpleQueue()
        self._returned: SimpleQueue[Connection] = SimpleQueue()
        # Connections that the main thread has, with the bytes that each keeps.
        self._waiting: dict[Connection, int] = {}
        self._held = 0
        self._open = 0
        self._sweep_at = 0.0
        self._stopped_at = math.inf
        self._is_accepting = False
        self._max_waiting = self.cfg.worker_connections - self.cfg.threads
        super().init_process()

    def run(self) -> None:
        """Serve until the worker is told to end; called by gunicorn."""
        threads = [
            threading.Thread(target=self._work, name=f"request-{number}", daemon=True)
            for number in range(self.cfg.threads)
        ]
        for thread in threads:
            thread.start()
        # A signal writes into this pipe, and so do the threads.
        self._selector.register(self.PIPE[0], selectors.EVENT_READ, self._on_wake)
        while self.alive and self.ppid == os.getppid():
            self._accept_while(self._open < self.cfg.worker_connections)
            self._turn()
        self.alive = False
        self._stopped_at = monotonic()
        self._accept_while(False)
        give_up_at = self._stopped_at + self.cfg.graceful_timeout
        while self._open and monotonic() < give_up_at:
            self._turn()
        for _ in threads:
            self._jobs.put(None)
        for listener in self.sockets:
            listener.close()

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
        retry = "Retry-After: 1\r\n" if status is HTTPStatus.SERVICE_UNAVAILABLE else ""
        head = (
            f"HTTP/1.1 {status} {status.phrase}\r\n"
            "Connection: close\r\n"
            "Content-Type: application/problem+json\r\n"
            f"Content-Length: {len(body)}\r\n"
            "Cache-Control: no-store\r\n"
            f"Content-Security-Policy: {CONTENT_SECURITY_POLICY}\r\n"
            "Referrer-Policy: no-referrer\r\n"
            f"{retry}"
            "X-Content-Type-Options: nosniff\r\n"
            f"X-Request-ID: {request_id}\r\n\r\n"
        )
        client.sendall(head.encode() + body)

    # The main thread.

    def _turn(self) -> None:
        """Do what there is to do, or wait for it for a moment."""
        self.notify()
        for key, _ in self._selector.select(SWEEP_S):
            key.data(key.fileobj)
        now = monotonic()
        if now >= self._sweep_at:
            self._sweep_at = now + SWEEP_S
            for connection in list(self._waiting):
                self._expire(connection, now)

    def _on_wake(self, pipe: int) -> None:
        with suppress(BlockingIOError):
            os.read(pipe, 4096)
        while not self._returned.empty():
            self._wait(self._returned.get())

    def _accept_while(self, wanted: bool) -> None:
        if wanted == self._is_accepting:
            return
        self._is_accepting = wanted
        for listener in self.sockets:
            if wanted:
                listener.setblocking(False)
                self._selector.register(listener, selectors.EVENT_READ, self._on_connect)
            else:
                self._selector.unregister(listener)

    def _on_connect(self, listener: Any) -> None:
        # Another worker may have been faster.
        with suppress(BlockingIOError, ConnectionAbortedError):
            sock, client = listener.accept()
            self._open += 1
            self._jobs.put(Connection(self.cfg, sock, client, listener.getsockname(), self.limits))

    def _wait(self, connection: Connection) -> None:
        """Take a connection that a thread has done with, for what it waits for."""
        if connection.state is State.CLOSED:
            self._open -= 1
            return
        self._waiting[connection] = 0
        event = selectors.EVENT_WRITE if connection.state is State.SENDING else selectors.EVENT_READ
        self._selector.register(connection.sock, event, lambda _: self._on_ready(connection))
        self._account(connection)

    def _leave(self, connection: Connection) -> None:
        self._selector.unregister(connection.sock)
        self._held -= self._waiting.pop(connection)

    def _drop(self, connection: Connection) -> None:
        self._leave(connection)
        connection.close()
        self._open -= 1

    def _account(self, connection: Connection) -> None:
        """Keep count of the memory that slow clients take, and end the one that takes most where it is too much."""
        self._held += connection.held - self._waiting[connection]
        self._waiting[connection] = connection.held
        if self._held <= BUFFER_BYTES + self.limits.body_bytes:
            return
        self.log.warning("%d bytes wait for slow clients", self._held)
        largest = max(self._waiting, key=lambda waiting: self._waiting[waiting])
        if largest.state is State.RECEIVING:
            self._refuse(largest, BufferFullError())
        else:
            self._drop(largest)

    def _on_ready(self, connection: Connection) -> None:
        try:
            match connection.state:
                case State.RECEIVING:
                    is_done = connection.receive()
                case State.SENDING:
                    is_done = connection.flush()
                case _:
                    is_done = self._drain(connection)
        except (EOFError, OSError):
            self._drop(connection)
        except Exception as error:  # noqa: BLE001, whatever it is, the client is told
            self._refuse(connection, error)
        else:
            if not is_done:
                self._account(connection)
                return
            self._leave(connection)
            if connection.state is not State.RECEIVING:
                self._after_answer(connection)
            if connection.state is State.RECEIVING:
                self._jobs.put(connection)
            else:
                self._wait(connection)

    def _drain(self, connection: Connection) -> bool:
        """Read on, and return whether the rest of a body is through."""
        connection.drain()
        if connection.drained > DRAIN_BYTES:
            raise EOFError
        return connection.state is State.DRAINING and connection.is_read

    def _expire(self, connection: Connection, now: float) -> None:
        """End a connection whose time is over."""
        match connection.state:
            case State.RECEIVING if connection.started is None:
                idle_until = min(connection.waits_since + self.cfg.keepalive, self._stopped_at + STOP_IDLE_S)
                if now >= idle_until:
                    self._drop(connection)
            case State.RECEIVING:
                if now >= connection.deadline:
                    self._refuse(connection, RequestTimeoutError())
            case State.SENDING:
                if now >= connection.deadline:
                    self.log.warning("a client has not taken its answer in time")
                    self._drop(connection)
            case State.DRAINING:
                if now >= connection.waits_since + DRAIN_S:
                    self._drop(connection)
            case _:
                if now >= connection.waits_since + (CLOSE_S if connection.is_read else DRAIN_S):
                    self._drop(connection)

    def _refuse(self, connection: Connection, error: BaseException) -> None:
        """Answer a request that has not come whole, from the main thread."""
        self._leave(connection)
        self._answer_error(connection, error)
        self._wait(connection)

    # The threads.

    def _work(self) -> None:
        while (connection := self._jobs.get()) is not None:
            try:
                self._serve(connection)
            except (EOFError, OSError):
                connection.close()
            except Exception:
                self.log.exception("error on a connection")
                connection.close()
            self._returned.put(connection)
            with suppress(BlockingIOError):
                os.write(self.PIPE[1], b".")

    def _serve(self, connection: Connection) -> None:
        """Answer the requests of a connection for as long as they come in close succession."""
        linger = False
        while connection.state is State.RECEIVING:
            try:
                is_ready = connection.receive(linger=linger)
            except (EOFError, OSError):
                raise
            except Exception as error:  # noqa: BLE001, whatever it is, the client is told
                self._answer_error(connection, error)
                return
            if is_ready:
                self._answer(connection)
            elif linger:
                # Once a request: a slow client would keep the thread.
                return
            # What comes next is not here yet, as a rule, and to find that out by reading costs as much as to wait.
            linger = not (is_ready and connection.has_more)
            if linger and not (self.alive and self._jobs.empty()):
                return

    def _answer(self, connection: Connection) -> None:
        """Call the application, and send what it answers as far as the client takes it now."""
        try:
            connection.keeps = self._call(connection)
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001, whatever it is, the client is told
            self._answer_error(connection, error)
            return
        if connection.flush():
            self._after_answer(connection)
        else:
            connection.wait_for(State.SENDING)

    def _call(self, connection: Connection) -> bool:
        """Return whether the connection can take another request."""
        request = connection.request
        response: Any = None
        try:
            response, environ = wsgi.create(request, connection, connection.client, connection.server, self.cfg)
            environ["wsgi.multithread"] = True
            self.nr += 1
            if self.nr >= self.max_requests and self.alive:
                self.log.info("Autorestarting worker after current request.")
                self.alive = False
            if not self.alive or len(self._waiting) >= self._max_waiting:
                response.force_close()
            body = self.wsgi(environ, response.start_response)
            try:
                for piece in body:
                    response.write(piece)
                    connection.flush()
                response.close()
            finally:
                if hasattr(body, "close"):
                    body.close()
        except OSError:
            raise
        except Exception as error:
            if response is not None and response.headers_sent:
                # Another answer within the first one would make no sense to the client.
                self.log.exception("error handling request")
                raise ConnectionAbortedError from error
            raise
        return not response.should_close()

    # Either.

    def _answer_error(self, connection: Connection, error: BaseException) -> None:
        connection.keeps = False
        try:
            self.handle_error(connection.request, connection, connection.client, error)
            if connection.flush():
                self._after_answer(connection)
            else:
                connection.wait_for(State.SENDING)
        except OSError as lost:
            self.log.debug("nobody to tell: %s", lost)
            connection.close()

    @staticmethod
    def _after_answer(connection: Connection) -> None:
        """Decide what a connection whose answer has gone waits for."""
        if not connection.keeps:
            with suppress(OSError):
                connection.half_close()
            connection.wait_for(State.CLOSING)
        elif not connection.is_read:
            connection.wait_for(State.DRAINING)
        else:
            connection.next_request()
            connection.wait_for(State.RECEIVING)
