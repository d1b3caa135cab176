"""A connection of a client: what has come of its request, and what has not gone yet of its answer.

Nothing here waits for the client, so that a slow one takes memory and no thread.
"""

from __future__ import annotations

import io
import re
import select
import socket
import struct
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from time import monotonic
from typing import Any, Protocol

from gunicorn.http import RequestParser, errors

# How long a thread keeps a connection for what comes next, while no other waits for a thread. Handing it to the main
# thread and back costs about as much as a small request itself.
LINGER_S = 0.01
# What is read from a connection at once.
RECEIVE_BYTES = 65_536
# A head that is longer goes to the parser unfinished, which refuses it: gunicorn's limit of a header field is 8 KiB.
HEAD_BYTES = 65_536
# gunicorn's limit for the line with a chunk's size.
CHUNK_LINE_BYTES = 8190
# What chunks may take beside what is in them.
CHUNK_FRAMING = 8
# An answer that is larger keeps its thread until the client has taken the rest.
OUTGOING_BYTES = 4 << 20

_chunk_size = re.compile(rb"[0-9A-Fa-f]{1,15}(?=[ \t]*;|\Z)").match


class State(Enum):
    """What a connection waits for."""

    RECEIVING = auto()
    SENDING = auto()
    # For the rest of a body that nothing asked for.
    DRAINING = auto()
    # For the client to close it, too.
    CLOSING = auto()
    CLOSED = auto()


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a client may take.

    Attributes:
        request_s: The time in which a request must have come, from its first byte on, in seconds.
        response_s: The time in which the client must have taken the answer, in seconds.
        body_bytes: The largest body that is waited for.
    """

    request_s: float
    response_s: float
    body_bytes: int


class _Framing(Protocol):
    """Where a body ends.

    Attributes:
        size: How many bytes of content have come.
        is_whole: Whether it has ended.
    """

    size: int
    is_whole: bool

    def take(self, data: bytearray) -> int:
        """Return how many bytes at the begin of ``data`` are the body's, framing included."""


class Length:
    """A body of a declared length (RFC 9112, section 6.2)."""

    def __init__(self, length: int) -> None:
        self.size = 0
        self.length = length
        self.is_whole = length == 0

    def take(self, data: bytearray) -> int:
        """See `_Framing`."""
        taken = min(self.length - self.size, len(data))
        self.size += taken
        self.is_whole = self.size == self.length
        return taken


class Chunks:
    """A body in chunks (RFC 9112, section 7.1), of which only the end is looked for; the parser checks the rest.

    One that breaks the rules has ended as well: the parser refuses it.
    """

    def __init__(self) -> None:
        self.size = 0
        self.is_whole = False
        self._content = 0
        self._in_chunk = False
        self._in_trailer = False

    def take(self, data: bytearray) -> int:
        """See `_Framing`."""
        position = 0
        while not self.is_whole:
            step = min(self._content, len(data) - position)
            self.size += step
            self._content -= step
            position += step
            if self._content:
                break
            end = data.find(b"\r\n", position)
            if end < 0:
                self.is_whole = len(data) - position > (1 if self._in_chunk else CHUNK_LINE_BYTES)
                break
            self._read_line(bytes(data[position:end]))
            position = end + 2
        return position

    def _read_line(self, line: bytes) -> None:
        match = None if self._in_chunk or self._in_trailer else _chunk_size(line)
        if match:
            self._content = int(match[0], 16)
            self._in_chunk = self._content > 0
            self._in_trailer = not self._in_chunk
        elif self._in_chunk and not line:
            self._in_chunk = False
        else:
            # The empty line at the end of the trailers, or what breaks the rules.
            self.is_whole = not (self._in_trailer and line)


class _Feed:
    """The bytes of one request, as gunicorn's parser takes them; it ends where nothing more has come."""

    def __init__(self, head: bytes) -> None:
        self.pieces = deque([head])

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if not self.pieces:
            raise StopIteration
        return self.pieces.popleft()


class Connection:
    """A connection; gunicorn's response writes to it as to a socket.

    Attributes:
        client: The client's address.
        server: The address that it has connected to.
        request: The request whose head has come.
        state: What it waits for.
        started: When the first byte of the request came, on the clock of `time.monotonic`; None before it.
        waits_since: When the state began, on the same clock.
        drained: How many bytes of it were dropped in this state.
        keeps: Whether it takes another request after this one.
    """

    def __init__(self, cfg: Any, sock: socket.socket, client: Any, server: Any, limits: Limits) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(LINGER_S))
        self.sock = sock
        self.client = client
        self.server = server
        self.request: Any = None
        self.state = State.RECEIVING
        self.started: float | None = None
        self.waits_since = monotonic()
        self.drained = 0
        self.keeps = False
        self._cfg = cfg
        self._limits = limits
        self._incoming = bytearray()
        self._searched = 0
        self._feed = _Feed(b"")
        self._body: _Framing = Length(0)
        self._body_bytes = 0
        self._expects_continue = False
        self._outgoing = bytearray()

    @property
    def held(self) -> int:
        """How many bytes it keeps in memory."""
        return len(self._incoming) + self._body_bytes + len(self._outgoing)

    @property
    def deadline(self) -> float:
        """When the request must have come, or the answer gone, on the clock of `time.monotonic`."""
        if self.state is State.SENDING:
            return self.waits_since + self._limits.response_s
        return (self.waits_since if self.started is None else self.started) + self._limits.request_s

    def wait_for(self, state: State) -> None:
        """Begin to wait."""
        self.state = state
        self.waits_since = monotonic()
        self.drained = 0

    def receive(self, *, linger: bool = False) -> bool:
        """Read what has come, and return whether there is a request to answer.

        That is a whole one, or one whose body is larger than the service takes.

        Args:
            linger: Wait for `LINGER_S` where nothing has come.

        Raises:
            EOFError: The client has closed the connection.
            OSError: The connection is lost.
            gunicorn.http.errors.ParseException: What has come is no HTTP.
        """
        if (self.request is not None or self._incoming) and self._is_ready():
            return True
        while True:
            try:
                data = self.sock.recv(RECEIVE_BYTES, 0 if linger else socket.MSG_DONTWAIT)
            except BlockingIOError:
                return False
            linger = False
            if not data:
                raise EOFError
            if self.started is None:
                self.started = monotonic()
            self._incoming += data
            if self._is_ready():
                return True
            if len(data) < RECEIVE_BYTES:
                return False

    def next_request(self) -> None:
        """Forget the request that was answered."""
        self.request = None
        self._searched = 0
        self._body_bytes = 0
        self._body = Length(0)
        self._feed = _Feed(b"")
        self.started = monotonic() if self._incoming else None

    @property
    def has_more(self) -> bool:
        """Whether something of the next request has been read already."""
        return bool(self._incoming)

    @property
    def is_read(self) -> bool:
        """Whether the whole body has been read."""
        return self._body.is_whole

    def drain(self) -> None:
        """Read what has come and drop it.

        Raises:
            EOFError: The client has closed the connection.
            OSError: The connection is lost.
        """
        try:
            data = self.sock.recv(RECEIVE_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        if not data:
            raise EOFError
        self.drained += len(data)
        self._incoming += data
        del self._incoming[: self._body.take(self._incoming)]
        if self.state is State.CLOSING:
            self._incoming.clear()

    def send(self, data: bytes) -> int:
        """Take more of an answer, for `flush` to send; gunicorn gives its head and its first piece one by one.

        Raises:
            OSError: The connection is lost, or the client has not taken enough of an answer in time.
        """
        self._outgoing += data
        give_up_at = monotonic() + self._limits.response_s
        while len(self._outgoing) > OUTGOING_BYTES and not self.flush():
            if not self.poll(select.POLLOUT, max(0.0, give_up_at - monotonic())):
                raise TimeoutError
        return len(data)

    sendall = send

    def flush(self) -> bool:
        """Send what is left, as far as the client takes it now, and return whether all has gone.

        Raises:
            OSError: The connection is lost.
        """
        while self._outgoing:
            try:
                sent = self.sock.send(self._outgoing, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return False
            del self._outgoing[:sent]
        return True

    def poll(self, event: int, timeout_s: float) -> bool:
        """Wait for an event of `select.poll`, in seconds."""
        poller = select.poll()
        poller.register(self.sock, event)
        return bool(poller.poll(timeout_s * 1000))

    def half_close(self) -> None:
        """Tell the client that nothing more comes, while it may still send; what it has sent is forgotten.

        A connection that is closed with something unread is reset, and the client, or the proxy in front, loses the
        answer with it (RFC 9112, section 9.6).

        Raises:
            OSError: The connection is lost.
        """
        self._incoming.clear()
        self._feed = _Feed(b"")
        self._body_bytes = 0
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close it."""
        self.state = State.CLOSED
        self.sock.close()

    def _is_ready(self) -> bool:
        incoming = self._incoming
        if self.request is None:
            end = incoming.find(b"\r\n\r\n", max(0, self._searched - 3))
            if end < 0 and not self._is_hopeless():
                self._searched = len(incoming)
                return False
            self._parse(len(incoming) if end < 0 else end + 4)
        taken = self._body.take(incoming)
        if taken:
            self._feed.pieces.append(bytes(incoming[:taken]))
            self._body_bytes += taken
            del incoming[:taken]
        limit = self._limits.body_bytes
        if isinstance(self._body, Length):
            is_ready = self._body.is_whole or self._body.length > limit
        else:
            is_large = self._body.size > limit or self._body_bytes > CHUNK_FRAMING * (limit + CHUNK_LINE_BYTES)
            is_ready = self._body.is_whole or is_large
            if is_ready and not isinstance(self.request.body, io.BytesIO):
                # Here, where chunks that break the rules get an answer of their own: to the application, which would
                # read them next, they are an error that it does not know.
                self.request.body = io.BytesIO(self._read_chunks(limit + 1))
        if is_ready:
            return True
        if self._expects_continue and not self._body_bytes:
            # gunicorn does so only when the application is called.
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.flush()
            self._expects_continue = False
        return False

    def _read_chunks(self, size: int) -> bytes:
        try:
            content: bytes = self.request.body.read(size)
        except errors.NoMoreData as error:
            raise errors.ChunkMissingTerminator(b"") from error
        return content

    def _is_hopeless(self) -> bool:
        """Whether the parser refuses what has come of a head, whatever follows."""
        incoming = self._incoming
        line_limit = self._cfg.limit_request_line
        if len(incoming) > HEAD_BYTES or (
            len(incoming) > line_limit + 2 and incoming.find(b"\r\n", 2, line_limit + 4) < 0
        ):
            return True
        start = self._searched - incoming.endswith(b"\r", 0, self._searched)
        return incoming.count(b"\n", start) != incoming.count(b"\r\n", start)

    def _parse(self, end: int) -> None:
        self._feed = _Feed(bytes(self._incoming[:end]))
        del self._incoming[:end]
        try:
            self.request = next(RequestParser(self._cfg, self._feed, self.client))
        except errors.NoMoreData as error:
            raise errors.LimitRequestHeaders("the head is too long") from error
        headers = dict(self.request.headers)
        if "TRANSFER-ENCODING" in headers:
            self._body = Chunks()
        else:
            self._body = Length(int(headers.get("CONTENT-LENGTH", 0)))
        self._expects_continue = "EXPECT" in headers and self.request.version >= (1, 1)


def _timeval(seconds: float) -> bytes:
    """The time in the form that ``SO_RCVTIMEO`` takes it (socket(7))."""
    return struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
