"""Several things asked at once."""

from __future__ import annotations

import threading
import time

import pytest

from stack.status.parts import side_by_side


def fails(error: Exception) -> None:
    raise error


def test_what_was_returned_and_what_failed() -> None:
    error = OSError("gone")
    found, failed = side_by_side({"one": lambda: 1, "none": lambda: None, "bad": lambda: fails(error)}, (OSError,))
    assert found == {"one": 1, "none": None}
    assert failed == {"bad": error}


def test_all_are_asked_at_once() -> None:
    """None of them goes on before the others have begun."""
    meeting = threading.Barrier(5)
    found, failed = side_by_side({str(number): meeting.wait for number in range(5)}, ())
    assert sorted(found.values()) == [0, 1, 2, 3, 4]
    assert failed == {}


def test_what_hangs_is_given_up() -> None:
    hanging = threading.Event()
    began = time.monotonic()
    found, failed = side_by_side({"hangs": hanging.wait, "answers": lambda: 1}, (OSError,), seconds=0.3)
    assert time.monotonic() - began < 2
    assert found == {"answers": 1}
    assert isinstance(failed["hangs"], TimeoutError)
    hanging.set()


def test_a_mistake_of_our_own_is_seen() -> None:
    with pytest.raises(ZeroDivisionError):
        side_by_side({"wrong": lambda: 1 // 0}, (OSError,))
