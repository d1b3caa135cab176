"""The outcome of a drill: as a table, as JSON and as a picture."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

from .client import Attempt
from .faults import FAULTS, Fault


@dataclass(frozen=True)
class Requests:
    """What became of requests.

    Attributes:
        sent: How many there were.
        failed: Those of them that got another answer than they were to, or none.
        by_replica: Those that a replica answered in place of the primary.
        oldest_s: How old such an answer was at most, in seconds.
    """

    sent: int = 0
    failed: int = 0
    by_replica: int = 0
    oldest_s: int = 0

    @classmethod
    def of(cls, attempts: Iterable[Attempt]) -> Requests:
        """Those of clients."""
        found = list(attempts)
        ages = [attempt.age for attempt in found if attempt.age is not None]
        failed = sum(not attempt.succeeded for attempt in found)
        return cls(len(found), failed, len(ages), max(ages, default=0))

    def __add__(self, other: Requests) -> Requests:
        return Requests(
            self.sent + other.sent,
            self.failed + other.failed,
            self.by_replica + other.by_replica,
            max(self.oldest_s, other.oldest_s),
        )

    def __str__(self) -> str:
        return f"{self.failed} of {self.sent}"


@dataclass(frozen=True)
class Round:
    """What one round of a fault did.

    Attributes:
        acknowledged: Rows that the service said it has.
        found: Those of them that were there afterwards, when all instances were back.
        duplicated: Rows that were there once more than wanted, since an answer got lost and the client retried.
        seconds: The longest time that any client saw no row acknowledged.
        reads_seconds: The longest time that any client had no row to read.
        writes: What became of the writes since the fault.
        reads: What became of the reads since the fault.
        statuses: How often each HTTP status was answered; 0 stands for no answer.
        judged: How many requests on the same few records were judged.
        stale_s: By how much their answers were older at most than they said, in seconds; 0 where they were as of one
            copy of each record, None where no age explains them.
        violation: The first of them that breaks what is promised; empty for none.
    """

    acknowledged: int
    found: int
    duplicated: int
    seconds: float
    reads_seconds: float
    writes: Requests
    reads: Requests
    statuses: dict[str, int]
    judged: int = 0
    stale_s: float | None = 0.0
    violation: str = ""

    @property
    def lost(self) -> int:
        return self.acknowledged - self.found


@dataclass
class Outcome:
    """The rounds of one fault, or why there were none."""

    name: str
    rounds: list[Round] = field(default_factory=list)
    impossible: str = ""

    @property
    def fault(self) -> Fault:
        return FAULTS[self.name]

    @property
    def lost(self) -> int:
        return sum(result.lost for result in self.rounds)

    @property
    def median_s(self) -> float:
        return statistics.median(result.seconds for result in self.rounds)

    @property
    def worst_s(self) -> float:
        return max(result.seconds for result in self.rounds)

    @property
    def reads_s(self) -> float:
        return max(result.reads_seconds for result in self.rounds)

    @property
    def writes(self) -> Requests:
        return sum((result.writes for result in self.rounds), Requests())

    @property
    def reads(self) -> Requests:
        return sum((result.reads for result in self.rounds), Requests())

    @property
    def stale_s(self) -> float | None:
        ages = [result.stale_s for result in self.rounds]
        return max((age for age in ages if age is not None), default=0.0) if None not in ages else None

    @property
    def is_consistent(self) -> bool:
        """Whether every answer was what one copy of each record gives, or no older than is promised."""
        return self.stale_s is not None and self.stale_s <= self.fault.stale_s

    @property
    def times(self) -> list[tuple[float, float | None]]:
        """The median and the worst of writes and the worst of reads, each as seen and as promised."""
        fault = self.fault
        return [(self.median_s, fault.median_s), (self.worst_s, fault.worst_s), (self.reads_s, fault.reads_s)]

    @property
    def is_reached(self) -> bool:
        """Whether nothing was lost and the promised times were kept."""
        if not self.rounds:
            return True
        return (
            self.lost == 0
            and self.is_consistent
            and all(promised is None or seen <= promised for seen, promised in self.times)
        )


HEADER = (
    f"{'fault':<28} {'rounds':>6} {'acknowledged':>12} {'lost':>5} {'duplicated':>10} {'writes failed':>15}"
    f" {'reads failed':>15} {'by replica':>10}  {'median s':>11}  {'worst s':>11}  {'reads s':>11}"
    f"  {'judged':>7}  {'stale s':>11}"
)
# The table for documents, such as docs/how-to/drill.md.
COLUMNS = (
    *("fault", "no write for, s", "no read for, s", "writes failed", "reads failed"),
    *("rows lost, written twice", "judged", "stale, s"),
)
NOTE = """\
Seconds are the longest time without a success of any client, in brackets what is promised.
Judged are requests on the same few records: stale is how much older than they say answers were at most."""


def line(outcome: Outcome) -> str:
    """One line of the table."""
    fault = outcome.fault
    if outcome.impossible:
        return f"{fault.text:<28} not possible here: {outcome.impossible}"
    rounds = outcome.rounds
    stale = ("none holds" if outcome.stale_s is None else f"{outcome.stale_s:.2f}") + f" ({fault.stale_s:g})"
    times = (f"{seen:.2f}{'' if promised is None else f' ({promised:g})'}" for seen, promised in outcome.times)
    return (
        f"{fault.text:<28} {len(rounds):>6} {sum(each.acknowledged for each in rounds):>12} {outcome.lost:>5}"
        f" {sum(each.duplicated for each in rounds):>10} {outcome.writes!s:>15} {outcome.reads!s:>15}"
        f" {outcome.reads.by_replica:>10}  {'  '.join(f'{time:>11}' for time in times)}"
        f"  {sum(each.judged for each in rounds):>7}  {stale:>11}"
        f"  {'' if outcome.is_reached else 'MISSED'}"
    ).rstrip()


def document(outcomes: list[Outcome], seen_on: str) -> str:
    """The table for documents, in Markdown: the worst of the rounds, and a fault that was missed is marked.

    Args:
        outcomes: The faults; those that are not possible are left out.
        seen_on: When, and on what.
    """
    rows = [COLUMNS, ["---"] * len(COLUMNS)]
    for outcome in outcomes:
        if outcome.rounds:
            twice = sum(each.duplicated for each in outcome.rounds)
            judged = sum(each.judged for each in outcome.rounds)
            rows.append([
                f"`{outcome.name}`{'' if outcome.is_reached else ' (missed)'}",
                f"{outcome.worst_s:.1f}", f"{outcome.reads_s:.1f}", f"{outcome.writes}", f"{outcome.reads}",
                f"{outcome.lost}, {twice}", f"{judged}",
                "none holds" if outcome.stale_s is None else f"{outcome.stale_s:.1f}",
            ])  # fmt: skip
    rounds = max((len(outcome.rounds) for outcome in outcomes), default=0)
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"{seen_on}, the worst of {rounds} round{'' if rounds == 1 else 's'}:\n\n{table}\n"


def machine(load: float) -> str:
    """What the drill ran beside: the day, the processors and the load of this machine over the last 15 minutes."""
    cores = os.cpu_count() or 1
    return f"{datetime.now(UTC):%Y-%m-%d}, {cores} processor{'' if cores == 1 else 's'}, load {load:.0f}"


def save(outcomes: list[Outcome], folder: Path) -> None:
    """Write ``drill.json``, ``drill.md`` and ``drill.svg``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "drill.json").write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=1) + "\n")
    (folder / "drill.md").write_text(document(outcomes, machine(os.getloadavg()[2])))
    (folder / "drill.svg").write_text(picture(outcomes))


def load(path: Path) -> list[Outcome]:
    """Read a ``drill.json``."""
    return [
        Outcome(each["name"], [_round(found) for found in each["rounds"]], each["impossible"])
        for each in json.loads(path.read_text())
    ]


def _round(found: dict[str, Any]) -> Round:
    return Round(**{**found, "writes": Requests(**found["writes"]), "reads": Requests(**found["reads"])})


LEFT, RIGHT, ROW, TOP, WIDTH = 210, 150, 46, 64, 860


def picture(outcomes: list[Outcome]) -> str:
    """A dot for each round, a bar at the median, a tick at what is promised for the worst; time goes to the right."""
    played = [outcome for outcome in outcomes if outcome.rounds]
    longest = max([outcome.worst_s for outcome in played] + [outcome.fault.worst_s or 0 for outcome in played] + [1])
    step = next(step for step in (0.5, 1, 2, 5, 10, 20, 60, 600) if longest / step <= 8)
    end = step * (longest // step + 1)
    bottom = TOP + ROW * len(played)

    def x(seconds: float) -> str:
        return f"{LEFT + seconds / end * (WIDTH - LEFT - RIGHT):.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 40}">',
        "<style>text { font: 13px sans-serif } .note { fill: #666 } .title { font: bold 16px sans-serif }</style>",
        '<rect width="100%" height="100%" fill="#fff"/>',
        '<text x="16" y="24" class="title">Seconds until writes succeed again</text>',
        '<text x="16" y="44" class="note">a dot for each round, a bar at the median, red what is promised</text>',
    ]
    for tick in range(int(end / step) + 1):
        at = x(tick * step)
        parts += [
            f'<line x1="{at}" y1="{TOP}" x2="{at}" y2="{bottom}" stroke="#e4e4e4"/>',
            f'<text x="{at}" y="{bottom + 18}" text-anchor="middle" class="note">{tick * step:g}</text>',
        ]
    for number, outcome in enumerate(played):
        middle = TOP + ROW * number + ROW / 2
        acknowledged = sum(each.acknowledged for each in outcome.rounds)
        parts.append(f'<text x="16" y="{middle + 4}">{escape(outcome.fault.text)}</text>')
        if outcome.fault.worst_s is not None:
            at = x(outcome.fault.worst_s)
            parts.append(f'<line x1="{at}" y1="{middle - 18}" x2="{at}" y2="{middle + 18}" stroke="#c0392b"/>')
        for index, each in enumerate(outcome.rounds):
            offset = (index % 5 - 2) * 5
            parts.append(
                f'<circle cx="{x(each.seconds)}" cy="{middle + offset}" r="4" fill="#2471a3" fill-opacity="0.55"/>'
            )
        at = x(outcome.median_s)
        parts += [
            f'<line x1="{at}" y1="{middle - 14}" x2="{at}" y2="{middle + 14}" stroke="#1b2631" stroke-width="3"/>',
            f'<text x="{WIDTH - RIGHT + 14}" y="{middle + 4}">{outcome.lost} of {acknowledged} lost</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])
