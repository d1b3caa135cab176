"""``python -m stack.drill``: play the faults, count what was written, and say how long requests did not succeed."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import secrets
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import requests
from kubernetes.client.exceptions import ApiException

from stack.cluster import READ_ERRORS, reason
from stack.polling import wait_until
from stack.silences import silenced

from . import machines
from .client import Clients, Service, Writer, readers, running, writers
from .database import Database, DrillError
from .editors import Editors
from .faults import FAULTS, Fault
from .linearizability import judge, staleness
from .report import HEADER, NOTE, Outcome, Requests, Round, line, save

ROWS = "drill "
REMOVE_ROWS = "DELETE FROM data WHERE starts_with(name, :'prefix')"
WARM_UP_S = 60.0
WARMED_UP_S = 2.0
STEADY_S = 3.0
RECOVERY_S = 120.0
REJOIN_S = 300.0
READERS = 2
EDITORS = 3


class Drill:
    """Faults on one stack.

    Args:
        database: Its database.
        service: Its API.
        writers: How many clients write at once.
    """

    def __init__(self, database: Database, service: Service, writers: int) -> None:
        self._database = database
        self._service = service
        self._writers = writers
        self._run = secrets.token_hex(4)
        self._numbers = itertools.count(1)

    def prepare(self) -> None:
        """Refuse what cannot be drilled, and clear away what an earlier drill may have left.

        Raises:
            DrillError: There is nobody to take over, or the stack is not well.
        """
        instances = self._database.instances()
        if instances < 2:
            raise DrillError(f"postgres_instances is {instances}: nobody can take over, it takes two or more")
        for fault in FAULTS.values():
            if not fault.reason_against(self._database):
                fault.undo(self._database)
        self._settle("all instances up and in sync")
        self._remove_rows(ROWS)

    def play(self, name: str, rounds: int) -> Outcome:
        """Play the rounds of one fault."""
        fault = FAULTS[name]
        if against := fault.reason_against(self._database):
            return Outcome(name, impossible=against)
        outcome = Outcome(name)
        for number in range(1, rounds + 1):
            result = self._round(fault)
            outcome.rounds.append(result)
            print(
                f"{fault.text}, {number} of {rounds}: {result.seconds:.2f} s without a write,"
                f" {result.reads_seconds:.2f} s without a read, {result.acknowledged} acknowledged, {result.lost} lost,"
                f" {result.duplicated} duplicated; failed: {result.writes} writes, {result.reads} reads;"
                f" answers {result.statuses}",
                *([f"  not as promised: {result.violation}"] if result.violation else []),
                sep="\n",
                flush=True,
            )
        return outcome

    def _round(self, fault: Fault) -> Round:
        prefix = f"{ROWS}{self._run} {next(self._numbers)}-"
        fault.prepare(self._database)
        victim = self._database.leader()
        service = self._service.at(self._address(fault.loses(self._database, victim)))
        writing, reading = writers(service, prefix, self._writers), readers(service, READERS)
        editing = Editors(service, prefix, EDITORS)

        def problem(seconds: float) -> str:
            wrong = {"writes": writing.problem(seconds), "reads": reading.problem(seconds)}
            return ", ".join(f"{what} {why}" for what, why in wrong.items() if why)

        try:
            with running(writing, reading, editing):
                wait_until(lambda: problem(WARMED_UP_S), WARM_UP_S, "requests before the fault")
                began = time.monotonic()
                try:
                    fault.inject(self._database, victim)
                    self._await_recovery(fault, victim, writing, began)
                finally:
                    fault.undo(self._database)
                self._settle("all instances up and in sync after the fault")
                wait_until(lambda: problem(STEADY_S), RECOVERY_S, "requests at the end")
            found = self._service.rows(prefix)
        finally:
            self._remove_rows(prefix)
        acknowledged = {name for writer in writing.all for name in writer.acknowledged}
        attempts = writing.attempts(began) + reading.attempts(began)
        history = editing.history(began)
        violation = judge(history, editing.initial, fault.stale_s)
        return Round(
            acknowledged=len(acknowledged),
            found=len(acknowledged & found.keys()),
            duplicated=found.total() - len(found),
            seconds=writing.longest_gap(began),
            reads_seconds=reading.longest_gap(began),
            writes=Requests.of(writing.attempts(began)),
            reads=Requests.of(reading.attempts(began)),
            statuses=dict(sorted(Counter(str(attempt.status) for attempt in attempts).items())),
            judged=len(history),
            stale_s=staleness(history, editing.initial),
            violation=str(violation or ""),
        )

    def _address(self, lost: str) -> str:
        """Where the service answers while a node is lost: at another one, where it was the lost one's address."""
        addresses = {each.metadata.name: machines.address(each) for each in self._database.nodes()} if lost else {}
        if addresses.get(lost) != self._service.address:
            return self._service.address
        return next(address for name, address in addresses.items() if name != lost)

    def _await_recovery(self, fault: Fault, victim: str, writing: Clients[Writer], began: float) -> None:
        def problem() -> str:
            if time.monotonic() - began < fault.lasts_s:
                return "the fault lasts"
            if fault.moves and self._database.leader() in ("", victim):
                return f"{victim} is still the primary"
            return writing.problem(STEADY_S)

        wait_until(problem, RECOVERY_S, f"writes after the fault ({fault.text})")

    def _settle(self, what: str) -> None:
        def problem() -> str:
            try:
                return self._database.problem()
            except READ_ERRORS as error:
                return f"the API server does not answer: {reason(error)}"

        wait_until(problem, REJOIN_S, what)

    def _remove_rows(self, prefix: str) -> None:
        """By SQL, for one request a row would take longer than the drill."""
        # What stays now, the next drill removes.
        with contextlib.suppress(ApiException, DrillError):
            psql = f'psql -q -U "$POSTGRES_USER" -d "$POSTGRES_DB" -v "prefix={prefix}"'
            self._database.shell(self._database.leader(), f'echo "{REMOVE_ROWS}" | {psql}')


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stack.drill", description=__doc__)
    parser.add_argument("--kubeconfig", required=True)
    parser.add_argument("--context", required=True)
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--host", required=True, help="the name of the service")
    parser.add_argument("--ca-file", required=True, help="the certificate of the authority to trust")
    parser.add_argument("--rounds", type=int, default=10, help="of each fault (default: 10)")
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=list(FAULTS), help="default: all")
    parser.add_argument("--writers", type=int, default=4, help="clients at once (default: 4)")
    parser.add_argument("--strict", action="store_true", help="fail also where a promised time was missed")
    parser.add_argument("--output", type=Path, required=True, help="the folder of drill.json and drill.svg")
    return parser.parse_args()


def main() -> int:
    arguments = parse()
    # A drill that is told to end still thaws what it has frozen.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("drill: told to end"))
    outcomes: list[Outcome] = []
    try:
        database = Database(arguments.kubeconfig, arguments.context, arguments.namespace)
        token = database.secret("flask-app-secret", "API_TOKEN")
        service = Service(arguments.host, database.address(arguments.host), arguments.ca_file, token)
        drill = Drill(database, service, arguments.writers)
        drill.prepare()
        with silenced(database, "make drill"):
            for name in arguments.faults:
                outcomes.append(drill.play(name, arguments.rounds))
                save(outcomes, arguments.output)
    except (DrillError, ApiException, OSError, requests.RequestException) as error:
        print(f"drill: {' '.join(str(error).split())}", flush=True)
        return 2
    print("", HEADER, *map(line, outcomes), "", NOTE, "", (arguments.output / "drill.md").read_text(), sep="\n")
    print(f"This table: {arguments.output / 'drill.md'}\nPicture: {arguments.output / 'drill.svg'}", flush=True)
    wrong = [outcome for outcome in outcomes if outcome.lost or not outcome.is_consistent]
    missed = [outcome for outcome in outcomes if not outcome.is_reached]
    return 1 if wrong or (arguments.strict and missed) else 0


if __name__ == "__main__":
    sys.exit(main())
