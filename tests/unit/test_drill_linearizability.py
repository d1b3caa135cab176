"""The checker of histories: known good and bad ones, and random ones against a search of all orders."""

from __future__ import annotations

import itertools
import json
import math
import random
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from stack import gotools
from stack.drill.linearizability import Kind, Operation, judge, staleness

RECORD = 7
INITIAL = {RECORD: "a", 8: "x"}


def read(began: float, ended: float, value: str | None, age_s: float = 0, record: int = RECORD) -> Operation:
    return Operation(record, Kind.READ, began, ended, value, age_s=age_s)


def write(began: float, ended: float, value: str) -> Operation:
    return Operation(RECORD, Kind.WRITE, began, ended, value)


def swap(began: float, ended: float, expected: str, value: str) -> Operation:
    return Operation(RECORD, Kind.SWAP, began, ended, value, expected)


def refused(began: float, ended: float, expected: str) -> Operation:
    return Operation(RECORD, Kind.REFUSED, began, ended, expected=expected)


GOOD = {
    "nothing": [],
    "one after the other": [read(0, 1, "a"), write(2, 3, "b"), read(4, 5, "b"), swap(6, 7, "b", "c"), read(8, 9, "c")],
    "read while it is written": [write(0, 10, "b"), read(1, 2, "a"), read(3, 4, "b"), read(5, 6, "b")],
    "one conditional write wins": [read(0, 1, "a"), swap(2, 9, "a", "b"), refused(3, 8, "a"), read(10, 11, "b")],
    "written without an answer": [write(0, math.inf, "b"), read(1, 2, "a"), read(50, 51, "b"), read(52, 53, "b")],
    "not written without an answer": [write(0, math.inf, "b"), read(1, 2, "a"), read(50, 51, "a")],
    "refused for a write without an answer": [write(0, math.inf, "b"), refused(5, 6, "a"), write(7, 8, "c")],
    "a chain of writes without an answer": [swap(0, math.inf, "a", "b"), swap(1, math.inf, "b", "c"), read(5, 6, "c")],
    "a read without an answer": [read(0, math.inf, "z")],
    "marked as old": [write(0, 1, "b"), read(4, 5, "a", age_s=4), read(6, 7, "b")],
    "another record": [write(0, 1, "b"), read(2, 3, "x", record=8)],
}
BAD = {
    "a lost write": ([write(0, 1, "b"), read(2, 3, "a")], 1),
    "a value that nobody wrote": ([read(0, 1, "z")], 0),
    "a record that is gone": ([read(0, 1, None)], 0),
    "back again": ([write(0, 9, "b"), read(1, 2, "b"), read(3, 4, "a")], 2),
    "two conditional writes win": ([swap(0, 1, "a", "b"), swap(0, 1, "a", "c")], 1),
    "a refusal without a reason": ([refused(0, 1, "a")], 0),
    "a write that was taken back": ([write(0, math.inf, "b"), read(1, 2, "b"), read(3, 4, "a")], 2),
    "two refusals and one write": ([swap(0, math.inf, "a", "b"), refused(1, 2, "a"), read(3, 4, "a")], 2),
    "two brains": ([write(0, 1, "b"), write(2, 3, "c"), read(4, 5, "b")], 2),
    "a replica's answer without a mark": ([write(0, 1, "b"), read(4, 5, "a")], 1),
    "an older answer than it says": ([write(0, 1, "b"), read(4, 5, "a", age_s=2)], 1),
    "a read before it is written": ([read(0, 1, "b"), write(2, 3, "b")], 0),
}


@pytest.mark.parametrize("history", GOOD.values(), ids=GOOD)
def test_what_one_copy_can_have_answered(history: list[Operation]) -> None:
    assert judge(history, INITIAL) is None
    assert judge(history[::-1], INITIAL) is None
    assert staleness(history, INITIAL) == 0


@pytest.mark.parametrize(("history", "number"), BAD.values(), ids=BAD)
def test_what_one_copy_cannot_have_answered(history: list[Operation], number: int) -> None:
    violation = judge(history, INITIAL)
    assert violation is not None
    assert violation.operation == history[number]


def test_a_violation_says_what_was_answered_and_what_could_have_been() -> None:
    found = str(judge([write(0, 1, "b"), read(1, 2, "b"), read(2.5, 3, "a")], INITIAL))
    assert found == "record 7: a read at 2.50 to 3.00 s read 'a', where it could have had 'b' alone"
    assert "could have had another value alone" in str(judge([write(0, 1, "b"), read(2.5, 3, "a")], INITIAL))


@pytest.mark.parametrize(
    ("history", "seconds"),
    [
        # The write was over at 1, and the reads that do not know of it began after it.
        ([write(0, 1, "b"), read(4, 5, "a")], 3),
        ([write(0, 1, "b"), read(4, 5, "a", age_s=2)], 1),
        ([write(0, 1, "b"), read(2, 3, "b"), read(6, 7, "a"), read(8, 9, "b")], 5),
        # A refusal is an answer, too: of the time before the write.
        ([write(0, 1, "b"), refused(8, 9, "b")], 7),
    ],
)
def test_how_old_answers_were(history: list[Operation], seconds: float) -> None:
    assert staleness(history, INITIAL) == pytest.approx(seconds, abs=0.06)
    assert judge(history, INITIAL, seconds - 0.1) is not None
    assert judge(history, INITIAL, seconds + 0.1) is None


@pytest.mark.parametrize("name", ["a value that nobody wrote", "a record that is gone", "two conditional writes win"])
def test_no_age_excuses_what_never_was(name: str) -> None:
    assert staleness(BAD[name][0], INITIAL) is None


def answers(operation: Operation, value: str | None) -> tuple[bool, str | None]:
    """Whether an operation can follow a value, and the value after it."""
    if operation.kind is Kind.READ:
        return operation.value == value, value
    if operation.kind is Kind.REFUSED:
        return operation.expected != value, value
    if operation.kind is Kind.SWAP and operation.expected != value:
        return False, value
    return True, operation.value


def is_possible(order: Sequence[Operation], initial: str) -> bool:
    """Whether an order keeps what was over before another began, and gives every answer."""
    value: str | None = initial
    for number, operation in enumerate(order):
        if any(later.ended < operation.began - operation.age_s for later in order[number + 1 :]):
            return False
        fits, value = answers(operation, value)
        if not fits:
            return False
    return True


def has_an_order(history: Sequence[Operation], initial: str) -> bool:
    """Whether any order of the operations, with or without those of which nobody knows, is possible."""
    known = [each for each in history if each.ended < math.inf]
    guessed = [each for each in history if each.ended == math.inf and each.changes]
    return any(
        is_possible(order, initial)
        for count in range(len(guessed) + 1)
        for some in itertools.combinations(guessed, count)
        for order in itertools.permutations([*known, *some])
    )


def random_histories(count: int, size: int, seed: int) -> Iterator[list[Operation]]:
    """Histories of a few values, which makes good ones and bad ones about as frequent."""
    chance = random.Random(seed)
    for _ in range(count):
        history = []
        for _ in range(chance.randint(1, size)):
            kind = chance.choice(list(Kind))
            began = chance.randint(0, 12)
            ended = math.inf if chance.random() < 0.2 else began + chance.randint(1, 6)
            value = None if kind is Kind.REFUSED else chance.choice("abc")
            expected = chance.choice("abc") if kind in (Kind.SWAP, Kind.REFUSED) else None
            age_s = chance.choice([0, 0, 2]) if kind is Kind.READ else 0
            history.append(Operation(RECORD, kind, began, ended, value, expected, age_s))
        yield history


def test_random_histories_are_judged_as_by_a_search_of_all_orders() -> None:
    verdicts = {True: 0, False: 0}
    for history in random_histories(3000, 6, seed=16):
        expected = has_an_order(history, "a")
        assert (judge(history, INITIAL) is None) is expected, history
        verdicts[expected] += 1
    assert min(verdicts.values()) > 500


def test_random_histories_are_judged_as_by_porcupine() -> None:
    """By another program, https://github.com/anishathalye/porcupine, as long ones take too long to search."""
    program = gotools.find("porcupine")
    if program is None:
        pytest.skip("porcupine is not in the cache: `python -m stack.gotools porcupine` builds it")
    # It knows nothing of ages.
    histories = [
        [replace(each, age_s=0) for each in history]
        for size in (5, 12, 25)
        for history in random_histories(400, size, seed=size)
    ]
    asked = [[as_json(each) for each in history] for history in histories]
    done = subprocess.run([program], input=json.dumps(asked), capture_output=True, text=True, check=True)
    verdicts = [line == "true" for line in done.stdout.splitlines()]
    assert [judge(history, INITIAL) is None for history in histories] == verdicts
    assert verdicts.count(True) > 100
    assert verdicts.count(False) > 100


def as_json(operation: Operation) -> dict[str, object]:
    times = {"Began": int(operation.began), "Ended": None if operation.ended == math.inf else int(operation.ended)}
    return {"Kind": operation.kind, "Value": operation.value, "Expected": operation.expected, **times}


def test_an_hour_of_failures_is_judged_in_seconds() -> None:
    """Writes of which nobody knows stay possible for ever, and must not make the search grow with each."""
    history: list[Operation] = []
    for number in range(2000):
        history += [
            write(number, math.inf, f"lost {number}"),
            swap(number, math.inf, f"known {number}", f"never {number}"),
            write(number + 0.2, number + 0.9, f"known {number}"),
            read(number + 0.3, number + 0.95, f"known {number}", age_s=3),
        ]
    # Some of them are seen much later.
    history += [read(3000 + number, 3000.5 + number, f"lost {number * 7}") for number in range(100)]
    began = time.process_time()
    assert judge(history, INITIAL) is None
    assert judge([*history, read(4000, 4001, "known 3")], INITIAL) is not None
    assert time.process_time() - began < 20
