"""Two clocks, by what an answer says of the time and how long it took."""

from __future__ import annotations

import datetime
import http.server
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import pytest
import yaml

from stack.clock import difference, seconds_ahead
from stack.cluster import Cluster

NOON = datetime.datetime(2026, 3, 1, 12, 0, 0, tzinfo=datetime.UTC)
DATE = "Sun, 01 Mar 2026 12:00:00 GMT"


def at(seconds: float) -> datetime.datetime:
    return NOON + datetime.timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("asked", "answered", "ahead"),
    [
        (0.2, 0.3, 0),
        (-3, 4, 0),
        # The date leaves its fraction out.
        (0.9, 0.95, 0),
        (600, 600.1, 599),
        (-600, -599.9, -599.9),
        # An answer may have been written at any time since it was asked for.
        (-100, 300, 0),
        (-400, -100, -100),
        (86400 * 365, 86400 * 365 + 1, 86400 * 365 - 1),
    ],
)
def test_the_difference_is_what_the_answer_proves(asked: float, answered: float, ahead: float) -> None:
    assert seconds_ahead(DATE, at(asked), at(answered)) == pytest.approx(ahead)


def test_a_time_zone_of_this_machine_is_no_difference() -> None:
    berlin = datetime.timezone(datetime.timedelta(hours=1))
    assert seconds_ahead(DATE, at(0).astimezone(berlin), at(0.1).astimezone(berlin)) == 0


@pytest.mark.parametrize("date", ["", "yesterday", "2026-03-01T12:00:00Z"])
def test_what_is_no_date_is_refused(date: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        seconds_ahead(date, NOON, NOON)


@pytest.mark.parametrize(
    ("ahead", "said"),
    [
        (0, ""),
        (60, ""),
        (-60, ""),
        (61, "1 min ahead of"),
        (600, "10 min ahead of"),
        (-600, "10 min behind"),
        (3 * 3600, "3 h ahead of"),
        (-40 * 86400, "40 d behind"),
    ],
)
def test_a_minute_is_not_said(ahead: float, said: str) -> None:
    assert difference(ahead) == (said and f"the clock of this machine is {said} the cluster's")


class Late(http.server.BaseHTTPRequestHandler):
    """An API server whose clock is ten minutes behind this machine's."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def date_time_string(self, timestamp: float | None = None) -> str:
        return formatdate((timestamp or time.time()) - 600, usegmt=True)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def late(tmp_path: Path) -> Iterator[Cluster]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Late) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(
            yaml.safe_dump(
                {
                    "clusters": [{"name": "late", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
                    "contexts": [{"name": "late", "context": {"cluster": "late", "user": "late"}}],
                    "users": [{"name": "late", "user": {"token": "none"}}],
                }
            )
        )
        try:
            yield Cluster(str(kubeconfig), "late", "default")
        finally:
            server.shutdown()
            thread.join()


def test_the_clock_of_an_api_server_is_read_from_its_answer(late: Cluster) -> None:
    assert late.seconds_ahead() == pytest.approx(600, abs=2)
