"""The state of a stack on one screen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stack.postgres.backups import restore_summary

VERDICTS = {
    "well": "All is well.",
    "wrong": "WRONG",
    "unseen": "Nothing is wrong in what could be asked; what could not is below.",
}
URL_WIDTH = 48


def screen(document: dict[str, Any]) -> str:
    """What `make status` prints of a document that stack.status.problems.judged has made."""
    return "\n".join([*_head(document), *_parts(document), "", *_verdict(document)])


def row(*columns: object, width: int = 28) -> str:
    first, *others = columns
    return f"{first:<{width}} " + "{:<9} {:<9} {}".format(*others, *[""] * (4 - len(columns))).rstrip()


def minute(time: str) -> str:
    """A time of the cluster, to the minute."""
    return f"{time[:10]} {time[11:16]} UTC"


def size(count: float) -> str:
    """Bytes in the unit that reads best."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TB"


def _head(document: dict[str, Any]) -> Iterator[str]:
    when = f", {minute(document['time'])}" if "time" in document else ""
    yield f"Stack {document['namespace']} on {document['context']}{when}"


def _parts(document: dict[str, Any]) -> Iterator[str]:
    if "workloads" not in document:
        return
    database = document["database"] or {}
    versions = f"Kubernetes {document['kubernetes'] or 'unknown'}"
    if database:
        versions += f", PostgreSQL {database['postgresql']}, Patroni {database['patroni']}"
    yield versions
    yield ""
    yield from _front_door(document["front_door"])
    yield ""
    width = max([28, *(len(workload["name"]) for workload in document["workloads"])])
    yield row("WORKLOAD", "READY", "RESTARTS", "IMAGE", width=width)
    for workload in document["workloads"]:
        ready = f"{workload['ready']} of {workload['wanted']}"
        yield row(workload["name"], ready, workload["restarts"], ", ".join(workload["images"]), width=width)
    yield ""
    yield row("DATABASE", "ROLE", "STATE", "LAG")
    for member in database.get("members", []):
        lag = "" if member["role"] == "primary" else "unknown"
        if member["lag_bytes"] is not None and member["role"] != "primary":
            lag = size(member["lag_bytes"])
        synchronous = ", synchronous" if member["synchronous"] else ""
        yield row(member["name"], member["role"], member["state"], lag + synchronous)
    if not database.get("members"):
        yield "no answer"
    yield ""
    yield row("CERTIFICATE", "ENDS", "", "NAMES")
    for found in document["certificates"] or []:
        ends = "unreadable" if found["days"] is None else f"{found['ends'][:10]}, {found['days']} d"
        names = found["names"][:2] + (["…"] if len(found["names"]) > 2 else [])
        yield f"{found['secret']:<28} {ends:<19} {', '.join(names)}".rstrip()
    yield ""
    yield row("VOLUME", "SIZE", "DISK")
    for volume in document["volumes"] or []:
        disk = "unknown"
        if volume["fill"] is not None:
            disk = f"{volume['fill'] * 100:.0f} % full of {size(volume['filesystem_bytes'])}"
        yield row(volume["claim"], volume["size"] or volume["phase"], disk)
    yield ""
    yield f"{'REQUESTS':<28} {_requests(document['requests'])}"
    yield f"{'BACKUPS':<28} {_backups(document)}"
    if tested := document["restore_test"]:
        yield f"{'RESTORE TEST':<28} {_restore_test(tested['last'])}"
    yield f"{'IMAGES':<28} {_images(document['images'])}"
    yield f"{'ALERTS':<28} {_alerts(document)}"
    if delivery := document["delivery"]:
        yield f"{'ALERTS DELIVERED':<28} {_delivery(delivery)}"


def _front_door(front: dict[str, Any] | None) -> Iterator[str]:
    if not front or not front["answers"]:
        yield f"{'USERS':<{URL_WIDTH}} could not be asked for" if front is None else f"{'USERS':<{URL_WIDTH}} no answer"
        return
    at = f"at {front['address']}:{front['port']}" if front["address"] else "where the names resolve to"
    yield f"{'USERS ' + at:<{URL_WIDTH}} {'ANSWER':<9} TIME"
    for answer in front["answers"]:
        said = "unasked" if answer["unasked"] else answer["status"] or "none"
        shown = str(said) + (" !" if answer["wrong"] else "")
        yield f"{answer['url']:<{URL_WIDTH}} {shown:<9} {answer['ms']:.0f} ms"


def _requests(requests: dict[str, Any] | None) -> str:
    if not requests:
        return "not counted"
    return (
        f"{requests['total']:,} since the pods' start, {requests['error_share'] * 100:.2f} % errors;"
        f" {requests['per_second']}/s at the moment"
    )


def _backups(document: dict[str, Any]) -> str:
    backups = document["backups"]
    if not backups:
        return "unknown" if "backups" in document["unread"] else "none configured"
    last = minute(backups["last"]["time"]) if backups["last"] else "none"
    restored = minute(backups["restored"]) if backups["restored"] else "never"
    return f"{backups['count']} kept, the last {last}; last restored {restored}"


def _restore_test(last: dict[str, Any] | None) -> str:
    if not last:
        return "none yet"
    return f"{minute(last['ended'])}, " + (restore_summary(last) if last["ok"] else "FAILED")


def _images(images: dict[str, Any]) -> str:
    since = images["since"]
    oldest = min(since, key=since.__getitem__, default=None)
    # The tags stand beside the workloads.
    name = oldest.rpartition("/")[2].partition(":")[0] if oldest else ""
    age = f"the oldest, {name}, runs since {since[oldest][:10]}" if oldest else "since when they run is unknown"
    if not images["asked"]:
        return f"{age}; make update has never asked for newer ones"
    return f"{age}; make update last asked for newer ones {minute(images['asked'])}"


def _alerts(document: dict[str, Any]) -> str:
    if document["alerts"] is None:
        return "unknown" if "alerts" in document["unread"] else "nobody watches"
    return ", ".join(dict.fromkeys(alert["name"] for alert in document["alerts"])) or "none"


def _delivery(delivery: dict[str, Any]) -> str:
    failed = delivery["failed"]
    sent = [
        f"{number - failed.get(kind, 0)} by {kind}" + (f" ({failed[kind]} failed)" if kind in failed else "")
        for kind, number in delivery["tried"].items()
    ]
    silenced = f"; silenced: {', '.join(delivery['silenced'])}" if delivery["silenced"] else ""
    return (", ".join(sent) or "none yet") + silenced


def _verdict(document: dict[str, Any]) -> Iterator[str]:
    yield VERDICTS[document["verdict"]]
    for problem in document["problems"]:
        yield f"{'!' if problem['urgent'] else '-'} {problem['what']}"
        yield f"    {problem['command']}"
