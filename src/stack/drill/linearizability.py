"""Whether a history of requests on records can come from one copy of each record, changed by one request at a time.

Each request has to take effect at one moment between its call and its answer (Herlihy and Wing, "Linearizability",
1990). Records are judged one by one, for a history is linearizable if that of each object is. The search goes forward
in time and orders requests as late as it can ("just-in-time linearization": Lowe, "Testing for linearizability", 2017).

What need not be judged that strictly gets more time: its moment may lie before its call, by as much as it may be old.
"""

from __future__ import annotations

import enum
import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby
from operator import attrgetter
from typing import NamedTuple

# How exactly it is found out how old answers are, in seconds.
PRECISION_S = 0.05
# Stands for every value that no answer tells of and no conditional write expects.
UNASKED = "another value"


class Kind(enum.StrEnum):
    """What a request did, or may have done where nobody knows."""

    READ = "read"
    WRITE = "write"
    SWAP = "conditional write"
    # A conditional write that was refused, for the record had another value.
    REFUSED = "refused conditional write"


@dataclass(frozen=True)
class Operation:
    """A request on a record.

    Attributes:
        record: Of which record.
        kind: What it did.
        began: When it was sent, in seconds on a clock that never goes back.
        ended: When its answer was there, on the same clock; infinite where there is none, or one that does not tell
            whether the record was changed: then it may take effect at any time, or never.
        value: What was read or written; None for the answer that there is no such record.
        expected: What the record was to have, for a conditional write.
        age_s: How old the answer may be by what it says itself, in seconds.
    """

    record: int
    kind: Kind
    began: float
    ended: float
    value: str | None = None
    expected: str | None = None
    age_s: float = 0.0

    @property
    def changes(self) -> bool:
        return self.kind in (Kind.WRITE, Kind.SWAP)

    def shifted(self, seconds: float) -> Operation:
        """The same, later by a time."""
        return replace(self, began=self.began + seconds, ended=self.ended + seconds)

    def __str__(self) -> str:
        what = {
            Kind.READ: f"read {self.value!r}",
            Kind.WRITE: f"wrote {self.value!r}",
            Kind.SWAP: f"replaced {self.expected!r} by {self.value!r}",
            Kind.REFUSED: f"did not replace {self.expected!r}",
        }[self.kind]
        return f"record {self.record}: a {self.kind} at {self.began:.2f} to {self.ended:.2f} s {what}"


@dataclass(frozen=True)
class Violation:
    """Where a history cannot go on.

    Attributes:
        operation: The first answer for which there is no order of the requests.
        possible: What the record could have had before it, in words.
    """

    operation: Operation
    possible: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.operation}, where it could have had {' or '.join(self.possible)} alone"


class _Order(NamedTuple):
    """What all orders have in common of which the rest of a history sees the same: by the numbers of the operations.

    Attributes:
        value: What the record has.
        changed: The changes made so far whose answers are still to come.
        guessed: The changes made so far of which nobody knows whether they were made.
        seen: What was answered so far, of requests that change nothing and whose answers are still to come.
    """

    value: str | None
    changed: frozenset[int]
    guessed: frozenset[int]
    seen: frozenset[int]

    def allows(self, other: _Order) -> bool:
        """Whether all that can follow the other one can follow this one."""
        return self.guessed <= other.guessed and self.seen >= other.seen


class _Orders:
    """Orders, without those that another one makes needless."""

    def __init__(self, *orders: _Order) -> None:
        self._alike: dict[tuple[str | None, frozenset[int]], list[_Order]] = {}
        for order in orders:
            self.add(order)

    def add(self, order: _Order) -> bool:
        """Add an order, and return whether it was needed."""
        alike = self._alike.setdefault((order.value, order.changed), [])
        if any(other.allows(order) for other in alike):
            return False
        alike[:] = [other for other in alike if not order.allows(other)] + [order]
        return True

    def __iter__(self) -> Iterator[_Order]:
        return chain.from_iterable(self._alike.values())


class _Search:
    """The orders that are possible of the requests on one record."""

    def __init__(self, operations: Sequence[Operation], initial: str) -> None:
        self._operations = operations
        # What nobody asks for is all the same: it is not what anybody expects.
        self._asked = {each.value for each in operations if each.kind is Kind.READ}
        self._asked |= {each.expected for each in operations if each.expected is not None}
        # What was called and not answered yet: changes, what changes nothing, and changes that never are, by value.
        self._changes: set[int] = set()
        self._questions: set[int] = set()
        self._unknown: dict[str | None, list[int]] = {}
        # What changes expect that never are answered.
        self._expected: set[str | None] = set()
        self._orders = _Orders(_Order(self._value(initial), frozenset(), frozenset(), frozenset()))

    def _value(self, value: str | None) -> str | None:
        return value if value in self._asked else UNASKED

    def violation(self) -> Violation | None:
        for _, is_answer, number in self._events():
            operation = self._operations[number]
            if not is_answer:
                self._call(number)
                continue
            before = self._orders
            self._orders = _Orders(*(found for order in before for found in self._extended(order, number)))
            (self._changes if operation.changes else self._questions).remove(number)
            if not any(True for _ in self._orders):
                possible = {UNASKED if order.value == UNASKED else repr(order.value) for order in before}
                return Violation(operation, tuple(sorted(possible)))
        return None

    def _events(self) -> list[tuple[float, bool, int]]:
        calls = ((each.began - each.age_s, False, number) for number, each in enumerate(self._operations))
        answers = ((each.ended, True, number) for number, each in enumerate(self._operations))
        return sorted([*calls, *(answer for answer in answers if answer[0] < math.inf)])

    def _call(self, number: int) -> None:
        operation = self._operations[number]
        if not operation.changes:
            self._questions.add(number)
        elif operation.ended < math.inf:
            self._changes.add(number)
        else:
            self._unknown.setdefault(self._value(operation.value), []).append(number)
            self._expected.add(operation.expected)

    def _extended(self, order: _Order, number: int) -> Iterator[_Order]:
        """The orders in which an operation has taken effect, with as few others before it as that takes."""
        first = self._observed(order)
        waiting, visited = deque([first]), _Orders(first)
        while waiting:
            order = waiting.popleft()
            if number in order.changed or number in order.seen:
                yield order._replace(changed=order.changed - {number}, seen=order.seen - {number})
                continue
            for other in self._candidates(order):
                following = self._observed(self._applied(order, other))
                if visited.add(following):
                    waiting.append(following)

    def _candidates(self, order: _Order) -> Iterator[int]:
        """The changes that may come next."""
        for number in self._changes - order.changed:
            if self._fits(number, order):
                yield number
        # A change of which nobody knows is made only where something needs it at once: all else may come before it.
        for value in self._needed(order):
            for number in self._unknown.get(value, ()):
                if number not in order.guessed and self._fits(number, order):
                    yield number
                    if value == UNASKED and self._operations[number].kind is Kind.WRITE:
                        # Those that follow do no more.
                        break

    def _needed(self, order: _Order) -> set[str | None]:
        """The values that would give an answer, or let another change be made."""
        questions = [self._operations[number] for number in self._questions - order.seen]
        if any(each.kind is Kind.REFUSED for each in questions):
            return set(self._unknown)
        changes = {self._operations[number].expected for number in self._changes - order.changed}
        return {each.value for each in questions} | changes | (self._expected & self._unknown.keys())

    def _fits(self, number: int, order: _Order) -> bool:
        operation = self._operations[number]
        return operation.kind is Kind.WRITE or operation.expected == order.value

    def _applied(self, order: _Order, number: int) -> _Order:
        operation = self._operations[number]
        value = self._value(operation.value)
        if operation.ended == math.inf:
            return order._replace(value=value, guessed=order.guessed | {number})
        return order._replace(value=value, changed=order.changed | {number})

    def _observed(self, order: _Order) -> _Order:
        """The order with what can be answered now, which changes nothing and so can only help."""
        questions = self._questions - order.seen
        seen = {number for number in questions if self._answers(self._operations[number], order.value)}
        return order._replace(seen=order.seen | seen) if seen else order

    @staticmethod
    def _answers(operation: Operation, value: str | None) -> bool:
        if operation.kind is Kind.READ:
            return operation.value == value
        return operation.expected != value


def judge(history: Iterable[Operation], initial: Mapping[int, str], stale_s: float = 0.0) -> Violation | None:
    """The first answer that no single copy of its record can have given; None if there is none.

    Args:
        history: The requests, in any order.
        initial: The value of each record before them.
        stale_s: By how much answers that change nothing may be older than they say, in seconds.
    """
    by_record = sorted((each for each in history if _counts(each)), key=attrgetter("record", "began"))
    for record, operations in groupby(by_record, key=attrgetter("record")):
        aged = [each if each.changes else replace(each, age_s=each.age_s + stale_s) for each in operations]
        if violation := _Search(aged, initial[record]).violation():
            return violation
    return None


def _counts(operation: Operation) -> bool:
    """Whether an operation says anything: a read without an answer does not."""
    return operation.changes or operation.ended < math.inf


def staleness(history: Sequence[Operation], initial: Mapping[int, str]) -> float | None:
    """How much older than they say answers that change nothing were at most, in seconds; None if that is not all.

    It is right to 0.05 s, and 0 only where the history is linearizable.
    """
    if judge(history, initial) is None:
        return 0.0
    least, most = 0.0, max(each.began for each in history) - min(each.began for each in history) + 1.0
    if judge(history, initial, most) is not None:
        return None
    while most - least > PRECISION_S:
        middle = (least + most) / 2
        if judge(history, initial, middle) is None:
            most = middle
        else:
            least = middle
    return most
