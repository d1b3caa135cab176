"""Rules of the workers and the cron jobs that run beside a service."""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Iterator, Mapping
from typing import Any

from stack.postgres.schedule import MACROS, is_schedule
from stack.validation import dns, kubernetes
from stack.validation.rules import Rule, number

# The longest name: a CronJob's has at most 52 characters, of which the stack takes some, and pods add to it.
NAME_MAX = 30
ZONE = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")
CONCURRENCY = ("Forbid", "Allow", "Replace")
# The controller of CronJobs looks every ten seconds.
START_DEADLINE_MIN = 10


def schedule(value: Any) -> str | None:
    """When a CronJob starts."""
    wanted = f"it takes five fields such as 30 1 * * 0, of a day that comes, or one of {', '.join(MACROS)}"
    return None if isinstance(value, str) and is_schedule(value) else wanted


def name(value: Any) -> str | None:
    """What stands behind the service's name in that of an object."""
    if isinstance(value, str) and len(value) <= NAME_MAX and dns.label(value) is None:
        return None
    return f"it takes 1 to {NAME_MAX} small letters, digits and -, beginning and ending with a letter or digit"


def command(value: Any) -> str | None:
    """The program and its arguments."""
    if (
        isinstance(value, list)
        and value
        and all(isinstance(word, str) and word and "\x00" not in word for word in value)
    ):
        return None
    return "it takes a list of words, the program first, such as [python, work.py]"


def time_zone(value: Any) -> str | None:
    """A zone of the database of time zones, as far as this machine has one."""
    wanted = "it takes a time zone such as Etc/UTC or Europe/Berlin"
    # ``Local`` would be that of the controller's machine, which the API server refuses.
    if not isinstance(value, str) or not ZONE.fullmatch(value) or value == "Local":
        return wanted
    known = zoneinfo.available_timezones()
    return wanted if known and value not in known else None


def concurrency(value: Any) -> str | None:
    return None if value in CONCURRENCY else f"it takes {', '.join(CONCURRENCY)}"


WORKER: dict[str, Rule] = {
    "name": name,
    "command": command,
    "replicas": number(1, wanted="it takes the number of pods, 1 or more"),
    "resources": kubernetes.resources,
}
CRONJOB: dict[str, Rule] = {
    "name": name,
    "command": command,
    "schedule": schedule,
    "time_zone": time_zone,
    "concurrency": concurrency,
    "timeout": number(1, 10**7, wanted="it takes seconds, 1 or more"),
    "start_deadline": number(START_DEADLINE_MIN, wanted=f"it takes seconds, {START_DEADLINE_MIN} or more"),
    "retries": number(0, 100, wanted="it takes 0 to 100"),
    "keep_succeeded": number(0, wanted="it takes the number of finished Jobs to keep"),
    "keep_failed": number(0, wanted="it takes the number of failed Jobs to keep"),
    "resources": kubernetes.resources,
}


def workers(value: Any) -> str | None:
    """The workers, each with a name of its own."""
    return next(complaints(value, WORKER, ("name", "command")), None)


def cronjobs(value: Any) -> str | None:
    """The cron jobs, each with a name of its own."""
    return next(complaints(value, CRONJOB, ("name", "command", "schedule")), None)


def complaints(entries: Any, rules: Mapping[str, Rule], required: tuple[str, ...]) -> Iterator[str]:
    """What is wrong with the entries of a list, each with the name of its entry, or its number where it has none."""
    seen = set()
    for count, entry in enumerate(entries, start=1):
        which = f"{entry['name']}: " if isinstance(entry.get("name"), str) else f"number {count}: "
        for key in required:
            if key not in entry:
                yield f"{which}it takes a {key}"
        for key, value in entry.items():
            if key not in rules:
                yield f"{which}there is no {key}, only {', '.join(rules)}"
            elif wanted := rules[key](value):
                yield f"{which}{key} {value}: {wanted}"
        if entry.get("name") in seen:
            yield f"{which}the name stands twice"
        seen.add(entry.get("name"))
