"""Who gets alerts: Alertmanager's configuration, what is refused of it, and silences."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from stack import alerting, silences
from stack.validation import alert_receivers, lines

MAIL: dict[str, Any] = {
    "name": "mail",
    "email": {
        "to": "ops@example.com, night@example.com",
        "from": "stack@example.com",
        "smarthost": "smtp.example.com:587",
        "username": "stack",
        "password": "kept secret",
    },
}
CHAT: dict[str, Any] = {"name": "chat", "slack": {"url": "https://hooks.example.com/T0/B0", "channel": "#alerts"}}
PAGER: dict[str, Any] = {
    "name": "pager",
    "severity": "critical",
    "webhook": {"url": "http://pager:8080/in", "token": "kept secret"},
}
HEARTBEAT = "https://hc.example.com/ping"


def said(receivers: list[Any], heartbeat: str = "") -> list[str]:
    settings = {"monitoring_alert_receivers": receivers, "monitoring_alert_heartbeat_url": heartbeat}
    return list(lines(alert_receivers.problems(settings)))


def test_each_receiver_gets_what_it_is_to_get() -> None:
    found = alerting.alertmanager_configuration([MAIL, CHAT, PAGER], HEARTBEAT)
    assert found["route"]["receiver"] == "none"
    watchdog, *routes = found["route"]["routes"]
    # What is not continued goes to nobody else.
    assert (watchdog["receiver"], watchdog["matchers"], "continue" in watchdog) == (
        "heartbeat",
        ['alertname="Watchdog"'],
        False,
    )
    assert [(route["receiver"], route["matchers"]) for route in routes] == [
        ("mail", []),
        ("chat", []),
        ("pager", ['severity="critical"']),
    ]
    assert all(route["continue"] for route in routes)
    by_name = {receiver["name"]: receiver for receiver in found["receivers"]}
    assert by_name["mail"]["email_configs"][0]["auth_password"] == "kept secret"
    assert by_name["mail"]["email_configs"][0]["require_tls"] is True
    assert by_name["pager"]["webhook_configs"][0]["http_config"]["authorization"]["credentials"] == "kept secret"
    assert not by_name["heartbeat"]["webhook_configs"][0]["send_resolved"]


def test_without_a_heartbeat_there_is_no_route_to_it() -> None:
    found = alerting.alertmanager_configuration([CHAT], "")
    assert [receiver["name"] for receiver in found["receivers"]] == ["none", "chat"]


def test_the_policy_has_the_ports_of_all_receivers() -> None:
    assert alerting.alert_ports([MAIL, CHAT, PAGER], HEARTBEAT) == [443, 587, 8080]
    assert alerting.alert_ports([], "") == []
    # What is wrong is said elsewhere.
    assert alerting.alert_ports(["mail", {"email": "x"}, {"slack": {"url": "https://x:y"}}], "") == []


def test_what_works_is_taken() -> None:
    assert said([MAIL, CHAT, PAGER], HEARTBEAT) == []
    assert said([]) == []


@pytest.mark.parametrize(
    ("receiver", "line"),
    [
        ({"email": MAIL["email"]}, "(entry 1): name: it takes"),
        ({"name": "none", "email": MAIL["email"]}, "(entry 1): name: it takes"),
        ({"name": "x"}, "(x): it takes one of email, webhook, slack"),
        ({"name": "x", **{key: CHAT[key] for key in ("slack",)}, "webhook": PAGER["webhook"]}, "(x): it takes one of"),
        ({"name": "x", "pagerduty": {}, "slack": CHAT["slack"]}, "(x): there is no pagerduty"),
        ({"name": "x", "slack": CHAT["slack"], "severity": "info"}, "(x): severity: it takes warning or critical"),
        ({"name": "x", "slack": "https://hooks.example.com"}, "(x): slack: it takes a mapping"),
        ({"name": "x", "slack": {"url": "https://hooks.example.com"}}, "(x): slack needs channel"),
        ({"name": "x", "webhook": {"url": "hooks.example.com"}}, "(x): webhook.url: it takes a URL"),
        ({"name": "x", "webhook": {"url": "https://hooks.example.com:99999"}}, "(x): webhook.url: it takes a URL"),
        ({"name": "x", "webhook": {"url": "https://hooks.example.com", "method": "PUT"}}, "(x): webhook has no method"),
        ({"name": "x", "email": {**MAIL["email"], "to": "ops"}}, "(x): email.to: it takes an address"),
        ({"name": "x", "email": {**MAIL["email"], "smarthost": "smtp.example.com"}}, "(x): email.smarthost: it takes"),
        ({"name": "x", "email": {**MAIL["email"], "tls": "no"}}, "(x): email.tls: it takes true or false"),
        ({"name": "x", "email": {**MAIL["email"], "password": "two\nlines"}}, "(x): email.password: it takes text"),
    ],
)
def test_what_cannot_work_is_refused_by_name(receiver: dict[str, Any], line: str) -> None:
    (found,) = said([receiver])
    assert found.startswith(f"monitoring_alert_receivers {line}")


def test_everything_is_said_at_once_and_no_secret() -> None:
    half = {key: value for key, value in MAIL["email"].items() if key != "username"}
    found = said([{"name": "a", "email": half}, CHAT, CHAT], "ftp://kept secret")
    assert len(found) == 3
    assert not any("kept" in line or "T0" in line for line in found)


def test_notifications_are_counted_by_kind() -> None:
    metrics = """# TYPE alertmanager_notifications_total counter
alertmanager_notifications_total{integration="email",receiver_name="a"} 3
alertmanager_notifications_total{integration="email",receiver_name="b"} 1
alertmanager_notifications_total{integration="webhook"} 0
alertmanager_notifications_failed_total{integration="email",reason="other"} 2
alertmanager_notification_requests_total{integration="email"} 9
"""
    assert alerting.notifications(metrics) == {"tried": {"email": 4}, "failed": {"email": 2}}


class Pods:
    """An Alertmanager that keeps silences."""

    def __init__(self, *, runs: bool = True) -> None:
        self.runs, self.active, self.begun = runs, set[str](), 0
        self.changed = threading.Condition()

    def items(self, *_: str) -> list[dict[str, Any]]:
        return [{"metadata": {"name": "alertmanager-x"}}] if self.runs else []

    def run(self, pod: str, container: str, *command: str) -> str:
        assert (pod, container, command[:1]) == ("alertmanager-x", "alertmanager", ("amtool",))
        with self.changed:
            if "expire" in command:
                self.active.remove(command[-1])
                return ""
            self.begun += 1
            self.active.add(f"silence {self.begun}")
            self.changed.notify_all()
            return f"silence {self.begun}\n"


def test_a_silence_is_renewed_and_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silences, "RENEWED_S", 0.01)
    pods = Pods()
    with pytest.raises(KeyError), silences.silenced(pods, "make drill"), pods.changed:  # noqa: PT012 - the end is what counts
        assert pods.active
        assert pods.changed.wait_for(lambda: pods.begun >= 3, timeout=30)
        raise KeyError
    assert pods.begun >= 3
    assert not pods.active


def test_without_an_alertmanager_nothing_is_silenced() -> None:
    with silences.silenced(Pods(runs=False), "make drill"):
        pass
    assert silences.begin(Pods(runs=False), "make restore") == ""
