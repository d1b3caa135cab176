"""Lets every host name lead to ``ADDRESS``, as with curl's ``--resolve``; schemathesis loads this first."""

from __future__ import annotations

import os
import socket
from typing import Any

_resolve = socket.getaddrinfo


def _to_address(_host: Any, *args: Any, **kwargs: Any) -> Any:
    return _resolve(os.environ["ADDRESS"], *args, **kwargs)


socket.getaddrinfo = _to_address
