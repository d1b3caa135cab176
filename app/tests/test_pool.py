"""What threads share, and who gets it next."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from queue import Empty

import pytest

from flask_postgres_app.pool import Pool


def waits(pool: Pool[int], count: int) -> None:
    """Return once so many threads wait."""
    deadline = time.monotonic() + 10
    while len(pool._waiting) != count:
        assert time.monotonic() < deadline, "nobody waits"
        time.sleep(0.001)


def test_who_waits_comes_before_who_has_just_put_back() -> None:
    pool: Pool[int] = Pool()
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(pool.get, 10)
        waits(pool, 1)
        second = threads.submit(pool.get, 10)
        waits(pool, 2)
        pool.put(1)
        with pytest.raises(Empty):
            pool.get()
        pool.put(2)
        assert [first.result(), second.result()] == [1, 2]


def test_who_gave_up_is_handed_nothing() -> None:
    pool: Pool[int] = Pool()
    with pytest.raises(Empty):
        pool.get(0.01)
    pool.put(1)
    assert pool.get() == 1


def test_all_of_many_threads_get_their_turn() -> None:
    pool: Pool[int] = Pool()
    pool.put(1)

    def use(_: int) -> None:
        for _ in range(2000):
            pool.put(pool.get(10))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(use, range(8)))
    assert pool.get() == 1
