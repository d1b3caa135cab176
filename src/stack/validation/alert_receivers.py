"""What is wrong with the receivers of alerts. No message shows the value of one: it may have a password."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from stack import alerting
from stack.urls import DEFAULT_PORTS
from stack.validation import Problem, Settings, dns, kubernetes

SETTING = "monitoring_alert_receivers"
NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
ADDRESS = re.compile(r"[^\s@,<>]+@[^\s@,<>]+")
CHANNEL = re.compile(r"[#@]?[^\s]{1,80}")
SEVERITIES = ("warning", "critical")
FIELDS = {
    "email": {"to": True, "from": True, "smarthost": True, "username": False, "password": False, "tls": False},
    "webhook": {"url": True, "token": False},
    "slack": {"url": True, "channel": True},
}


def url(value: Any) -> str | None:
    """An address that Alertmanager can post to."""
    wanted = "it takes a URL such as https://hooks.example.com/alerts"
    if not isinstance(value, str) or re.search(r"[\s\x00-\x1f]", value):
        return wanted
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        return wanted
    fits = parts.scheme in DEFAULT_PORTS and parts.hostname and (port is None or kubernetes.port(port) is None)
    return None if fits else wanted


def text(value: Any) -> str | None:
    fits = isinstance(value, str) and value and not re.search(r"[\x00-\x1f\x7f]", value)
    return None if fits else "it takes text on one line; put it in quotes"


def smarthost(value: Any) -> str | None:
    wanted = "it takes the mail server as host:port, such as smtp.example.com:587"
    if not isinstance(value, str):
        return wanted
    host, _, port = value.rpartition(":")
    fits = (
        port.isdigit() and kubernetes.port(int(port)) is None and (is_address(host) or dns.host(host.lower()) is None)
    )
    return None if fits else wanted


def is_address(host: str) -> bool:
    return bool(re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3}){3}", host))


def addresses(value: Any) -> str | None:
    parts = [part.strip() for part in value.split(",")] if isinstance(value, str) else [""]
    return (
        None
        if all(map(ADDRESS.fullmatch, parts))
        else "it takes an address such as ops@example.com, or several with commas"
    )


def channel(value: Any) -> str | None:
    return (
        None
        if isinstance(value, str) and CHANNEL.fullmatch(value)
        else 'it takes a channel in quotes, such as "#alerts"'
    )


CHECKS: dict[str, Any] = {
    "to": addresses,
    "from": addresses,
    "smarthost": smarthost,
    "username": text,
    "password": text,
    "token": text,
    "channel": channel,
    "url": url,
    "tls": lambda value: None if isinstance(value, bool) else "it takes true or false",
}


def problems(settings: Settings) -> Iterator[Problem]:
    """Everything that is wrong with where alerts and the heartbeat go."""
    heartbeat = settings.get("monitoring_alert_heartbeat_url", "")
    if heartbeat and (wanted := url(heartbeat)):
        yield Problem("monitoring_alert_heartbeat_url", wanted)
    receivers = settings.get(SETTING, [])
    names = Counter(receiver["name"] for receiver in receivers if isinstance(receiver.get("name"), str))
    for number, receiver in enumerate(receivers, 1):
        name = receiver.get("name")
        if not isinstance(name, str) or not NAME.fullmatch(name) or name in ("none", alerting.HEARTBEAT):
            yield said(f"entry {number}", "name: it takes small letters, digits and -, and is not none or heartbeat")
            continue
        if names[name] > 1:
            yield said(name, "it is there twice")
        yield from receiver_problems(name, receiver)


def said(place: str, wanted: str) -> Problem:
    return Problem(f"{SETTING} ({place})", wanted)


def receiver_problems(name: str, receiver: Mapping[str, Any]) -> Iterator[Problem]:
    kinds = [kind for kind in alerting.KINDS if kind in receiver]
    for field in receiver:
        if field not in ("name", "severity", *alerting.KINDS):
            yield said(name, f"there is no {field}: it takes name, severity and one of {', '.join(alerting.KINDS)}")
    if receiver.get("severity", "warning") not in SEVERITIES:
        yield said(name, f"severity: it takes {' or '.join(SEVERITIES)}, the least that is sent")
    if len(kinds) != 1:
        yield said(name, f"it takes one of {', '.join(alerting.KINDS)}")
        return
    (kind,) = kinds
    given = receiver[kind]
    if not isinstance(given, Mapping):
        yield said(name, f"{kind}: it takes a mapping with {', '.join(FIELDS[kind])}")
        return
    for field in given:
        if field not in FIELDS[kind]:
            yield said(name, f"{kind} has no {field}: it takes {', '.join(FIELDS[kind])}")
    for field, required in FIELDS[kind].items():
        if field not in given:
            if required:
                yield said(name, f"{kind} needs {field}: {CHECKS[field](None)}")
        elif wanted := CHECKS[field](given[field]):
            yield said(name, f"{kind}.{field}: {wanted}")
    if kind == "email" and ("username" in given) != ("password" in given):
        yield said(name, "email: it takes username and password together")
