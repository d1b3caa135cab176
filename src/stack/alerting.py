"""Alertmanager's configuration, by the receivers that the settings name.

https://prometheus.io/docs/alerting/latest/configuration/
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from stack.urls import url_port

Receiver = Mapping[str, Any]

KINDS = ("email", "webhook", "slack")
# Always fires, so that whoever gets it knows when it no longer comes.
WATCHDOG = "Watchdog"
HEARTBEAT = "heartbeat"
SMTP_PORT = 587
NOTIFICATIONS = re.compile(
    r'alertmanager_notifications_(?P<failed>failed_)?total\{[^}]*integration="(?P<kind>[^"]+)"[^}]*\} (?P<number>\S+)'
)


def kind_of(receiver: Receiver) -> str:
    """By what a receiver gets alerts; empty where it is none of `KINDS`."""
    return next((kind for kind in KINDS if kind in receiver), "")


def smarthost(email: Mapping[str, Any]) -> tuple[str, int]:
    """The host and the port of the mail server."""
    host, _, port = str(email.get("smarthost", "")).rpartition(":")
    return (host, int(port)) if host and port.isdigit() else (port, SMTP_PORT)


def alertmanager_configuration(receivers: Iterable[Receiver], heartbeat_url: str) -> dict[str, Any]:
    """What Alertmanager reads as its configuration.

    Args:
        receivers: ``monitoring_alert_receivers``, each with a name and one of `KINDS`.
        heartbeat_url: Where the Watchdog is sent once a minute; empty for nowhere.
    """
    given = list(receivers)
    routes: list[dict[str, Any]] = []
    if heartbeat_url:
        # Every second tick of the group is the first that is later than the interval of repeats.
        routes.append({
            "matchers": [f'alertname="{WATCHDOG}"'],
            "receiver": HEARTBEAT,
            "group_wait": "0s",
            "group_interval": "30s",
            "repeat_interval": "50s",
        })  # fmt: skip
    routes += [
        {
            "matchers": ['severity="critical"'] if receiver.get("severity") == "critical" else [],
            "receiver": receiver["name"],
            "continue": True,
        }
        for receiver in given
    ]
    return {
        "route": {
            "receiver": "none",
            "group_by": ["alertname"],
            "group_wait": "30s",
            "group_interval": "5m",
            "repeat_interval": "4h",
            "routes": routes,
        },
        "receivers": [
            {"name": "none"},
            *(
                [{"name": HEARTBEAT, "webhook_configs": [{"url": heartbeat_url, "send_resolved": False}]}]
                if heartbeat_url
                else []
            ),
            *({"name": receiver["name"], **_integration(receiver)} for receiver in given),
        ],
    }


def _integration(receiver: Receiver) -> dict[str, Any]:
    kind = kind_of(receiver)
    settings = receiver[kind]
    if kind == "email":
        host, port = smarthost(settings)
        login = (
            {"auth_username": settings["username"], "auth_password": settings["password"]}
            if settings.get("username")
            else {}
        )
        email = {
            "to": settings["to"],
            "from": settings["from"],
            "smarthost": f"{host}:{port}",
            "require_tls": settings.get("tls", True),
            "send_resolved": True,
            **login,
        }
        return {"email_configs": [email]}
    if kind == "slack":
        slack = {"api_url": settings["url"], "channel": settings["channel"], "send_resolved": True}
        return {"slack_configs": [slack]}
    token = {"http_config": {"authorization": {"credentials": settings["token"]}}} if settings.get("token") else {}
    return {"webhook_configs": [{"url": settings["url"], "send_resolved": True, **token}]}


def alert_ports(receivers: Any, heartbeat_url: str) -> list[int]:
    """The ports that Alertmanager connects to, for its network policy; what is no receiver is passed over.

    Args:
        receivers: ``monitoring_alert_receivers``.
        heartbeat_url: Where the Watchdog is sent.
    """
    found = {url_port(heartbeat_url)} if heartbeat_url else set()
    for receiver in receivers if isinstance(receivers, list) else []:
        kind = kind_of(receiver) if isinstance(receiver, Mapping) else ""
        settings = receiver[kind] if kind and isinstance(receiver[kind], Mapping) else {}
        if settings.get("smarthost"):
            found.add(smarthost(settings)[1])
        elif settings.get("url"):
            found.add(url_port(str(settings["url"])))
    return sorted(found - {0})


def notifications(metrics: str) -> dict[str, dict[str, int]]:
    """What Alertmanager counts of its notifications since its start, by the kind of receiver: tried, and failed.

    Args:
        metrics: What it answers at ``/metrics``.
    """
    found: dict[str, dict[str, int]] = {"tried": {}, "failed": {}}
    for line in metrics.splitlines():
        if match := NOTIFICATIONS.match(line):
            counts = found["failed" if match["failed"] else "tried"]
            if number := int(float(match["number"])):
                counts[match["kind"]] = counts.get(match["kind"], 0) + number
    return found
