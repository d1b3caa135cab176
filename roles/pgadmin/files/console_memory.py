"""Keeps pgAdmin within the memory of its container: what does not fit ends in a message, and not in a killed pod.

libpq holds a whole result in memory before pgAdmin shows the first page of it. A query therefore ends where its result
brings the process near the limit. The kernel refuses all other memory beyond that, which Python and libpq say in a
message.
"""

import contextlib
import ctypes
import os
import resource
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

PAGE = os.sysconf("SC_PAGE_SIZE")
# Of the container's limit: up to where results may bring the process, and up to where anything may. The rest is for
# gunicorn's own process, for pg_dump and its like, and for files.
RESULTS = 0.7
ANYTHING = 0.85
# Bytes that a query and a request may always have, so that small results are shown while large ones are held, and the
# tabs with those can be closed.
SMALL = 4 << 20
# Reads from the database between two looks at the memory; libpq reads some 8 KiB at a time.
READS = 32
TOO_LARGE = (
    "The result does not fit into pgAdmin's memory. Ask for fewer rows or columns, turn on 'Use server cursor?' in the "
    "menu beside Execute, close tabs with other large results, or have pgAdmin deployed with more memory."
)
NO_MEMORY = "This does not fit into pgAdmin's memory. Ask for less at once, or have pgAdmin deployed with more memory."


class Memory(NamedTuple):
    """Bytes of the process.

    Attributes:
        used: What is resident for this process alone.
        data: What it may write to, resident or not, as RLIMIT_DATA counts it.
    """

    used: int
    data: int


def measure() -> Memory:
    """What the process has now (proc(5), statm)."""
    _, resident, shared, _, _, data, _ = map(int, Path("/proc/self/statm").read_text().split())
    return Memory((resident - shared) * PAGE, data * PAGE)


def give_back() -> None:
    """Give free memory back to the system, where the C library keeps it."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def settled(most: int, measured: Callable[[], Memory] = measure, trim: Callable[[], None] = give_back) -> Memory:
    """What the process has; free memory is given back first where it counts, for it is as good as unused.

    Args:
        most: The bytes beyond which it counts.
        measured: What measures.
        trim: What gives back.
    """
    found = measured()
    if found.used <= most:
        return found
    trim()
    return measured()


def data_limit(limit: int, found: Memory) -> int:
    """RLIMIT_DATA for the next request: what the process has is often free, and what is more may become resident.

    Args:
        limit: The container's limit of memory in bytes.
        found: What the process has.
    """
    return found.data + max(int(limit * ANYTHING) - found.used, SMALL)


def is_too_large(limit: int, before: int, used: int) -> bool:
    """Whether a result is too large.

    Args:
        limit: The container's limit of memory in bytes.
        before: The bytes that were used before the query.
        used: The bytes that are used with the part of the result that has come.
    """
    return used > max(limit * RESULTS, before + SMALL)


def watched(generator: Generator[Any, Any, Any], check: Callable[[], None]) -> Generator[Any, Any, Any]:
    """What psycopg waits for, with a check every few reads; where that raises, the generator can be waited for."""
    reads = 0
    try:
        wanted = next(generator)
        while True:
            ready = yield wanted
            reads += 1
            if reads % READS == 0:
                check()
            wanted = generator.send(ready)
    except StopIteration as end:
        return end.value


def limit_memory(app: Any, limit: int) -> None:
    """Limit what requests and results may take.

    Args:
        app: pgAdmin, which has not served yet.
        limit: The container's limit of memory in bytes.
    """
    from pgadmin.utils.ajax import internal_server_error

    def renew() -> None:
        most = data_limit(limit, settled(int(limit * RESULTS)))
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))

    app.before_request(renew)
    # Python's own message is empty.
    app.register_error_handler(MemoryError, lambda _: internal_server_error(errormsg=NO_MEMORY))
    limit_results(limit, renew)


def limit_results(limit: int, renew: Callable[[], None]) -> None:
    """End queries of the Query Tool whose result is too large.

    Args:
        limit: The container's limit of memory in bytes.
        renew: What sets the limit of everything else by what is used.
    """
    import psycopg

    class ResultTooLarge(psycopg.errors.OutOfMemory):
        pass

    def check(before: int) -> None:
        if is_too_large(limit, before, measure().used) and is_too_large(limit, before, settled(0).used):
            raise ResultTooLarge(TOO_LARGE)
        renew()

    wait = psycopg.AsyncConnection.wait

    async def wait_within_limit(self: Any, generator: Generator[Any, Any, Any], *args: Any, **options: Any) -> Any:
        try:
            return await wait(self, watched(generator, partial(check, measure().used)), *args, **options)
        except ResultTooLarge:
            # The server stops, libpq lets go of the rows that it has, and the connection is as usable as before.
            await self.cancel_safe(timeout=5)
            with contextlib.suppress(psycopg.Error):
                await wait(self, generator, *args, **options)
            give_back()
            raise

    psycopg.AsyncConnection.wait = wait_within_limit
