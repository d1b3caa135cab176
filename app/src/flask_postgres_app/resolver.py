"""Looking names up with a deadline.

``getaddrinfo`` takes none: with a name server that answers nothing it takes half a minute, a minute where there are
search domains, and libpq calls it before any timeout of its own counts. So it is called in threads of its own, of which
there are a few at most for each name.
"""

from __future__ import annotations

import ipaddress
import math
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic

# How many lookups of one name are under way at most, and after how long without an answer another one begins: the
# first may wait for a packet that was lost.
MAX_LOOKUPS = 3
NEXT_LOOKUP_S = 1.0

# A name server's answer that there is no such name or no address; other errors say nothing of the name.
_ANSWERS = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}


class UnresolvedError(Exception):
    """There is no address for any of some names.

    Attributes:
        in_time: Whether this was said of all of them, and not only nothing in the time given.
    """

    def __init__(self, reasons: dict[str, str], *, in_time: bool) -> None:
        lines = (f'could not translate host name "{name}" to address: {reason}' for name, reason in reasons.items())
        super().__init__("; ".join(lines))
        self.in_time = in_time


@dataclass
class _Name:
    """What is known of a name.

    Attributes:
        addresses: Those of the last good answer; none after the answer that there are none.
        answers: How many lookups have ended.
        reason: Why the last lookup failed, if it did.
        running: How many lookups are under way.
        asked_at: When the last one began, on the clock of `time.monotonic`.
    """

    addresses: tuple[str, ...] = ()
    answers: int = 0
    reason: str = ""
    running: int = 0
    asked_at: float = -math.inf


def _look_up(name: str) -> tuple[str, ...]:
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(address[0]) for *_, address in found))


class Resolver:
    """The names that a process looks up. All methods may be called from any thread."""

    def __init__(self, look_up: Callable[[str], tuple[str, ...]] = _look_up) -> None:
        """Prepare.

        Args:
            look_up: Returns the addresses of a name, or raises `socket.gaierror`; may take for ever.
        """
        self._look_up = look_up
        self._names: dict[str, _Name] = {}
        self._changed = threading.Condition()

    def resolve(self, names: Sequence[str], timeout_s: float, *, remember: bool = True) -> list[tuple[str, str]]:
        """Return each address of each name, in their order; names without one are left out.

        The name server is always asked, for a Service that is made anew has another address. Where it says nothing in
        half the time, last good answers count, and the other half is left to connect.

        Args:
            names: Host names; addresses are returned as they are.
            timeout_s: The longest wait, in seconds.
            remember: Whether last good answers count.

        Returns:
            Pairs of a name and an address, at least one.

        Raises:
            UnresolvedError: There is no address, or none in time.
        """
        began = monotonic()
        asked = [name for name in names if not _is_address(name)]
        with self._changed:
            seen = {name: self._names.setdefault(name, _Name()).answers for name in asked}
            while waited_for := [name for name in asked if self._names[name].answers == seen[name]]:
                usable = [name for name in names if name not in (() if remember else waited_for)]
                has_some = any(name not in seen or self._names[name].addresses for name in usable)
                now = monotonic()
                give_up_at = began + (timeout_s / 2 if has_some else timeout_s)
                if now >= give_up_at:
                    break
                for name in waited_for:
                    self._ask(name, now)
                self._changed.wait(min(give_up_at - now, NEXT_LOOKUP_S))
            found = [
                (name, address)
                for name in names
                if remember or name not in waited_for
                for address in (self._names[name].addresses if name in seen else (name,))
            ]
            if found:
                return found
            reasons = {name: self._names[name].reason for name in asked}
            raise UnresolvedError(
                reasons | dict.fromkeys(waited_for, "no name server answers in time"), in_time=not waited_for
            )

    def _ask(self, name: str, now: float) -> None:
        """Begin a lookup, if those under way take long and are not too many."""
        known = self._names[name]
        if known.running and (known.running >= MAX_LOOKUPS or now < known.asked_at + NEXT_LOOKUP_S):
            return
        known.running += 1
        known.asked_at = now
        threading.Thread(target=self._run, args=(name, known), name=f"resolve-{name}", daemon=True).start()

    def _run(self, name: str, known: _Name) -> None:
        addresses: tuple[str, ...] = ()
        reason = ""
        is_answered = True
        try:
            addresses = self._look_up(name)
        except socket.gaierror as error:
            reason = error.strerror or str(error)
            is_answered = error.errno in _ANSWERS
        except UnicodeError as error:
            # No name at all, such as one with an empty part.
            reason = str(error)
        with self._changed:
            if is_answered:
                known.addresses = addresses
            known.reason = reason
            known.answers += 1
            known.running -= 1
            self._changed.notify_all()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True
