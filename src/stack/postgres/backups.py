"""Backups by pgBackRest: their Secret, what there is, and what can be restored of it.

A stanza is what ``pgbackrest info --output=json`` says of a database
(https://pgbackrest.org/command.html#command-info).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from stack.postgres.times import moment, shown
from stack.quantity import mebibytes

Stanza = Mapping[str, Any]
# A segment's name begins with its timeline, as eight hexadecimal digits.
TIMELINE_DIGITS = 8
QUEUE_MIN_MIB = 64


def secret(
    found: Mapping[str, str], passphrase: str, generated: str, encrypted: bool, bucket: Mapping[str, str]
) -> dict[str, str]:
    """What the Secret of the repository is to hold.

    Without its passphrase what is in a repository cannot be read, so that stays, whatever comes after that repository.

    Args:
        found: What the Secret holds now.
        passphrase: What the stack's user set; empty for nothing.
        generated: A new passphrase, for where there is none.
        encrypted: Whether there are backups, and they are encrypted.
        bucket: The key of the bucket, as variables of pgBackRest; nothing for a volume.
    """
    former = found.get("PGBACKREST_REPO1_CIPHER_PASS", "")
    current = (passphrase or former or generated) if encrypted else former
    kept = former if former and former != current else found.get("FORMER_PASSPHRASE")
    return {
        **({"PGBACKREST_REPO1_CIPHER_PASS": current} if current else {}),
        **({"FORMER_PASSPHRASE": kept} if kept is not None else {}),
        **bucket,
    }


def noted_repository(database: Mapping[str, Any], annotation: str) -> dict[str, str]:
    """The repository that a first backup of the database is in, and its cipher; both empty where there is none.

    Args:
        database: The StatefulSet of the instances; empty before the first run.
        annotation: The annotation in which it has both.
    """
    note = ((database.get("metadata") or {}).get("annotations") or {}).get(annotation, "")
    repository, _, cipher = note.partition(" ")
    return {"repository": repository, "cipher": cipher}


def queue_mib(size: str, storage: str) -> int:
    """The WAL in MiB that may wait for a repository that is down, until it is dropped.

    Args:
        size: What the stack's user set, as a quantity of Kubernetes; empty for a fifth of the volume, at least 64 MiB.
        storage: The size of an instance's volume, as a quantity of Kubernetes.
    """
    return int(mebibytes(size)) if size else max(int(mebibytes(storage) // 5), QUEUE_MIN_MIB)


def is_outside_cluster(endpoint: str) -> bool:
    """Whether a bucket's endpoint has a name that this machine can look up: not that of a Service in a cluster."""
    host = endpoint.partition(":")[0]
    return "." in host and not re.search(r"\.svc(\.|$)", host)


def first(objects: Mapping[str, Mapping[str, Any]], annotation: str, note: str) -> Mapping[str, Any]:
    """The Job that makes the first backup of a repository, where a run before has started it and it did not fail.

    Args:
        objects: The namespace's objects by ``Kind/name``.
        annotation: The annotation in which a Job has the repository.
        note: The repository.
    """
    for key, job in objects.items():
        annotations = job["metadata"].get("annotations") or {}
        is_full = key.startswith("Job/postgres-backup-full-")
        if is_full and annotations.get(annotation) == note and not (job.get("status") or {}).get("failed"):
            return job
    return {}


def labels(stanzas: Iterable[Stanza]) -> list[str]:
    """The labels of all backups, the oldest first."""
    return [backup["label"] for stanza in stanzas for backup in stanza.get("backup", [])]


def lines(stanzas: Iterable[Stanza]) -> list[str]:
    """One line for each backup, for people."""
    return [_line(backup) for stanza in stanzas for backup in stanza.get("backup", [])]


def _line(backup: Mapping[str, Any]) -> str:
    ended = datetime.fromtimestamp(backup["timestamp"]["stop"], UTC)
    size, stored = backup["info"]["size"] / 2**20, backup["info"]["repository"]["delta"] / 2**20
    times = f"{backup['label']}  {backup['type']:<4}  ended {ended:%Y-%m-%d %H:%M:%S} UTC"
    return f"{times}  {size:6.1f} MiB, {stored:6.1f} MiB in the repository"


def timelines(stanza: Stanza) -> int:
    """The number of the last timeline that is in the archive; 1 where there is none yet."""
    segments = [archive.get("max") for archive in stanza.get("archive", [])]
    return max((int(segment[:TIMELINE_DIGITS], 16) for segment in segments if segment), default=1)


def restore_problems(
    stanzas: Iterable[Stanza], name: str, wanted: Mapping[str, str], now: datetime | None = None
) -> list[str]:
    """What the repository cannot give.

    Args:
        stanzas: What is in the repository.
        name: The stanza to restore.
        wanted: ``time``, ``backup`` and ``timeline``, as the settings ``restore_time`` and so on have them: empty for
            the latest, and ``latest`` for a timeline.
        now: The time it is; the machine's own unless given.

    Returns:
        A line for each setting that cannot be.
    """
    return list(_restore_problems(stanzas, name, wanted, now or datetime.now(UTC)))


def _restore_problems(stanzas: Iterable[Stanza], name: str, wanted: Mapping[str, str], now: datetime) -> Iterator[str]:
    stanza = next((stanza for stanza in stanzas if stanza.get("name") == name), {})
    there = stanza.get("backup", [])
    chosen = [backup for backup in there if wanted["backup"] in ("", backup["label"])]
    if not chosen:
        label = wanted["backup"] or "not set"
        listed = f"the repository has {', '.join(labels([stanza]))}"
        none = "there is no backup in the repository; playbooks/backup.yml makes one"
        yield f"restore_backup is {label}: {listed if there else none}"
    if wanted["time"]:
        yield from _time_problems(chosen, wanted, now)
    last = timelines(stanza)
    timeline = wanted["timeline"]
    if timeline != "latest" and not (timeline.isascii() and timeline.isdigit() and 1 <= int(timeline) <= last):
        yield f"restore_timeline is {timeline}: it takes latest, or a timeline from 1 to {last}"


def _time_problems(chosen: list[Any], wanted: Mapping[str, str], now: datetime) -> Iterator[str]:
    said = f"restore_time is {wanted['time']}"
    try:
        at = moment(wanted["time"])
    except ValueError:
        form = "a time such as 2026-03-01 18:00:00+01:00, in UTC without an offset"
        yield f"{said}: it takes {form}, or nothing for the latest"
        return
    ends = [backup["timestamp"]["stop"] for backup in chosen]
    # Of a second in which a backup ended nobody knows which part.
    if ends and int(at.timestamp()) <= min(ends):
        which = "the backup" if wanted["backup"] else "the first backup"
        yield f"{said}: {which} to begin with ended at {shown(min(ends))}"
    if at > now:
        yield f"{said}: it is still to come"


def restore_arguments(wanted: Mapping[str, str], clone: bool) -> list[str]:
    """The arguments of ``postgres-restore`` in the image, which are those of ``pgbackrest restore``.

    Args:
        wanted: As for `restore_problems`, which has found nothing wrong.
        clone: Whether the result is a clone, which archives nothing.
    """
    found = []
    if wanted["time"]:
        found += ["--type=time", f"--target={moment(wanted['time']).isoformat(' ')}", "--target-action=promote"]
    if wanted["backup"]:
        found.append(f"--set={wanted['backup']}")
    if wanted["timeline"] != "latest":
        found.append(f"--target-timeline={wanted['timeline']}")
    return [*found, "--archive-mode=off"] if clone else found


def restore_summary(found: Mapping[str, Any]) -> str:
    """What a restore that was tested took and brought, by the result of ``postgres-restore-test`` in the image."""
    age = "no change after the backup" if found["newest_seconds"] is None else f"{found['newest_seconds']:.0f} s old"
    return f"{found['restore_seconds']:.0f} s, {found['rows']:,} rows, the newest change {age}"


def restore_test_lines(found: Mapping[str, Any]) -> list[str]:
    """The result of a test that succeeded, for people."""
    took = f"Backup {found['backup']} was restored in {found['restore_seconds']:.1f} s"
    read = f"every table and index of it read in {found['check_seconds']:.1f} s"
    age = found["newest_seconds"]
    newest = "was in the backup" if age is None else f"was {age:.0f} s old"
    return [
        f"{took}, and {read}.",
        f"It has {found['rows']:,} rows in {found['bytes'] / 2**20:.0f} MiB; its newest change {newest}.",
    ]
