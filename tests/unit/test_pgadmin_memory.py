"""What keeps pgAdmin within its container's memory: when a result is too large, and how its query is left."""

from __future__ import annotations

import importlib.util
from collections.abc import Generator
from pathlib import Path
from types import ModuleType

import pytest

FILE = Path(__file__).parents[2] / "roles/pgadmin/files/console_memory.py"
MIB = 1 << 20
LIMIT = 512 * MIB


@pytest.fixture(scope="module")
def memory() -> ModuleType:
    spec = importlib.util.spec_from_file_location("console_memory", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("before", "used", "expected"),
    [
        (140, 300, False),
        (140, 359, True),
        # Beside a large result in another tab a small one is still shown.
        (357, 360, False),
        (357, 362, True),
    ],
)
def test_a_result_is_too_large_by_what_is_used(memory: ModuleType, before: int, used: int, expected: bool) -> None:
    assert memory.is_too_large(LIMIT, before * MIB, used * MIB) is expected


@pytest.mark.parametrize(
    ("used", "data", "expected"),
    [
        # 85 % of the limit is 435 MiB, whatever else the process has that is not resident.
        (140, 160, 160 + 295),
        (140, 600, 600 + 295),
        # A tab can still be closed where nothing is left.
        (435, 450, 450 + 4),
        (500, 520, 520 + 4),
    ],
)
def test_what_a_request_may_take_is_what_is_left(memory: ModuleType, used: int, data: int, expected: int) -> None:
    found = memory.data_limit(LIMIT, memory.Memory(used * MIB, data * MIB))
    assert round(found / MIB) == expected


@pytest.mark.parametrize(("most", "trims", "expected"), [(400, 0, 300), (300, 0, 300), (200, 1, 150)])
def test_free_memory_is_given_back_where_it_counts(memory: ModuleType, most: int, trims: int, expected: int) -> None:
    readings = iter([300, 150])
    trimmed: list[bool] = []
    found = memory.settled(most, lambda: memory.Memory(next(readings), 600), lambda: trimmed.append(True))
    assert (found.used, len(trimmed)) == (expected, trims)


def test_what_is_measured_is_that_of_this_process(memory: ModuleType) -> None:
    before = memory.measure()
    kept = bytearray(64 * MIB)
    kept[:: 1 << 12] = b"x" * len(kept[:: 1 << 12])
    after = memory.measure()
    assert after.used - before.used == pytest.approx(len(kept), rel=0.5)
    assert after.data - before.data == pytest.approx(len(kept), rel=0.5)


def finish(generator: Generator[int, int, int]) -> int:
    """Send back what the generator yields, until it returns."""
    try:
        wanted = next(generator)
        while True:
            wanted = generator.send(wanted)
    except StopIteration as end:
        return int(end.value)


def test_a_query_is_watched_to_its_end(memory: ModuleType) -> None:
    reads = 3 * memory.READS

    def query() -> Generator[int, int, int]:
        total = 0
        for number in range(reads):
            total += yield number
        return total

    checks: list[int] = []
    assert finish(memory.watched(query(), lambda: checks.append(1))) == sum(range(reads))
    assert len(checks) == 3


def test_a_query_that_is_ended_can_be_waited_for(memory: ModuleType) -> None:
    """The rest of it is read after the server was told to stop, so that the connection stays usable."""

    def query() -> Generator[str, str, str]:
        while (yield "more") != "cancelled":
            pass
        return "stopped"

    def check() -> None:
        raise MemoryError

    running = query()
    watched = memory.watched(running, check)
    next(watched)
    for _ in range(memory.READS - 1):
        assert watched.send("rows") == "more"
    with pytest.raises(MemoryError):
        watched.send("rows")
    with pytest.raises(StopIteration, match="stopped"):
        running.send("cancelled")
