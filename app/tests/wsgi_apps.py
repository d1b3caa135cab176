"""An application that is not the service, for what the worker makes of others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from wsgiref.types import StartResponse, WSGIEnvironment

PIECE = b"x" * 65_536
# More than a worker keeps of an answer, and more than the buffers of a connection take at once.
PIECES = 400


class _Database:
    def fill(self) -> None:
        """Open nothing."""


class Application:
    """Answers by the path: in full, with a large answer, or with an error."""

    def __init__(self) -> None:
        self.extensions = {"database": _Database()}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/fails":
            raise RuntimeError("secret of the inside")
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(PIECE) * PIECES))])
        if environ["PATH_INFO"] == "/breaks":
            return self._breaks()
        return (PIECE for _ in range(PIECES))

    @staticmethod
    def _breaks() -> Iterator[bytes]:
        yield PIECE
        raise RuntimeError("secret of the inside")


def create() -> Application:
    """Make it."""
    return Application()
