"""What is asked of a stack, where, and what an answer means; on a real server with certificates of its own."""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from issued import Issued, issued

from stack.status import front_door
from stack.status.front_door import Answer, Place, Question, Trust

DOOR: dict[str, Any] = {
    "address": "192.0.2.7",
    "managed": True,
    "gateway": {},
    "app_host": "app.example.com",
    "app_paths": ["/"],
    "app_other_paths": [],
    "app_image": "",
    "app_source": "",
    "pgadmin_host": "pgadmin.example.com",
    "pgadmin_path": "/",
}
APP = "https://app.example.com"
BOTH = ["app", "pgadmin"]
SET = Place("192.0.2.7", "set", ours=True)


def urls(door: dict[str, Any], parts: list[str] = BOTH) -> list[str]:
    return [found.url for found in front_door.questions({**DOOR, **door}, parts)]


@pytest.mark.parametrize(
    ("door", "asked"),
    [
        ({}, [f"{APP}/readyz", f"{APP}/api/data", "https://pgadmin.example.com/login"]),
        ({"pgadmin_path": "/db/"}, [..., ..., "https://pgadmin.example.com/db/login"]),
        # Only what is published can be asked for.
        ({"app_paths": ["/api"]}, [f"{APP}/api/data", ...]),
        ({"app_paths": ["/apis"]}, [f"{APP}/apis", ...]),
        ({"app_other_paths": [{"path": "/api/data", "service": "shop"}]}, [f"{APP}/readyz", ...]),
        # A service of somebody else's has the contract's path, and those that it is published under.
        ({"app_image": "shop:1"}, [f"{APP}/readyz", f"{APP}/", ...]),
        ({"app_source": "/srv/shop", "app_paths": ["/a", "/b"]}, [f"{APP}/a", f"{APP}/b", ...]),
        ({"app_source": str(front_door.ROOT / "app")}, [..., f"{APP}/api/data", ...]),
    ],
)  # fmt: skip
def test_what_is_asked(door: dict[str, Any], asked: list[Any]) -> None:
    found = urls(door)
    assert len(found) == len(asked)
    assert all(wanted in (..., url) for url, wanted in zip(found, asked, strict=True)), found


@pytest.mark.parametrize(
    ("run", "skipped", "parts"),
    [
        (["all"], [], {"app", "pgadmin"}),
        (["flask_app"], [], {"app"}),
        (["pgadmin"], [], {"pgadmin"}),
        (["tls"], [], {"app", "pgadmin"}),
        (["postgres", "monitoring"], [], {"app", "pgadmin"}),
        (["minikube"], [], set()),
        (["monitoring"], [], set()),
        (["all"], ["pgadmin"], {"app", "pgadmin"}),
        (["all"], ["pgadmin", "tls", "postgres"], {"app"}),
        (["flask_app"], ["flask_app"], set()),
    ],
)
def test_a_run_asks_what_its_tags_concern(run: list[str], skipped: list[str], parts: set[str]) -> None:
    assert front_door.parts_of_run(run, skipped) == parts


def ingress(host: str, **point: str) -> dict[str, Any]:
    return {"spec": {"rules": [{"host": host}]}, "status": {"loadBalancer": {"ingress": [point] if point else []}}}


GATEWAY = {"status": {"addresses": [{"type": "IPAddress", "value": "198.51.100.4"}]}}
THEIRS = {"managed": False, "address": "<address of the ingress>"}


@pytest.mark.parametrize(
    ("door", "ingresses", "gateway", "place"),
    [
        ({}, [ingress("app.example.com", ip="203.0.113.5")], None, Place("192.0.2.7", "set", True)),
        ({"managed": False}, [], None, Place("192.0.2.7", "set", False)),
        (THEIRS, [ingress("app.example.com", ip="203.0.113.5")], None, Place("203.0.113.5", "status", False)),
        (THEIRS, [ingress("app.example.com", hostname="lb.test")], None, Place("lb.test", "status", False)),
        (THEIRS, [ingress("app.example.com")], None, Place("", "dns", False)),
        (THEIRS, [ingress("other.example.com", ip="203.0.113.5")], None, Place("", "dns", False)),
        ({**THEIRS, "address": ""}, [], None, Place("", "dns", False)),
        ({"gateway": {"name": "shared"}}, [], GATEWAY, Place("198.51.100.4", "status", True)),
        ({**THEIRS, "gateway": {"name": "shared"}}, [], None, Place("", "dns", False)),
    ],
)
def test_where_users_reach_it(door: dict[str, Any], ingresses: Any, gateway: Any, place: Place) -> None:
    assert front_door.place({**DOOR, **door}, ingresses, gateway) == place


STRICT = Question("app", "app.example.com", "/readyz")
LENIENT = replace(STRICT, path="/", anything=True)
LOGIN = Question("pgadmin", "pgadmin.example.com", "/login", contains="pgadmin")
NGINX = "<html><body><center><h1>404 Not Found</h1></center><hr><center>nginx</center></body></html>"


@pytest.mark.parametrize(
    ("question", "status", "body", "server", "said"),
    [
        (STRICT, 200, "{}", "", ""),
        (STRICT, 503, '{"title": "Down", "detail": "no database"}', "", "it answers 503 (Down: no database)"),
        (STRICT, 404, "404 page not found\n", "", "it answers 404 (404 page not found)"),
        (STRICT, 301, "", "", "it answers 301"),
        # Of a service that is somebody else's, an error page of its own is an answer, and one of the ingress is none.
        (LENIENT, 404, '{"detail": "Not Found"}', "", ""),
        (LENIENT, 401, "", "", ""),
        (LENIENT, 500, "boom", "", ""),
        (LENIENT, 404, "404 page not found\n", "", "it answers 404 (404 page not found)"),
        (LENIENT, 404, NGINX, "", "it answers 404 (404 Not Found nginx)"),
        (LENIENT, 404, "", "envoy", "it answers 404"),
        (LENIENT, 404, "", "", ""),
        (LENIENT, 502, "Bad Gateway", "", "it answers 502 (Bad Gateway)"),
        (LENIENT, 503, "no available server", "", "it answers 503 (no available server)"),
        (LOGIN, 200, "<title>pgAdmin 4</title>", "", ""),
        (LOGIN, 302, "", "", ""),
        (LOGIN, 200, "<title>Shop</title>", "", "another page than its own answers (Shop)"),
        (LOGIN, 404, "404 page not found", "", "it answers 404 (404 page not found)"),
    ],
)  # fmt: skip
def test_what_an_answer_means(question: Question, status: int, body: str, server: str, said: str) -> None:
    assert front_door.wrong(Answer(question, 1, status, server, body)) == said


@pytest.mark.parametrize(
    ("failure", "source", "ours", "is_unasked"),
    [
        # An address of this project's cluster has to be reachable; that of another one's need not be from here.
        ("unreachable", "set", True, False),
        ("refused", "set", True, False),
        ("unreachable", "set", False, True),
        ("refused", "set", False, False),
        ("refused", "status", False, True),
        ("certificate", "status", False, False),
        ("certificate", "dns", False, True),
        ("slow", "status", False, False),
    ],
)
def test_an_address_that_cannot_be_reached_from_here(failure: str, source: str, ours: bool, is_unasked: bool) -> None:
    answer = Answer(STRICT, 1, failure=failure, detail="no route to host")
    where = Place("192.0.2.7", source, ours)
    assert bool(front_door.unasked(answer, where)) == is_unasked
    [shown] = front_door.seen([answer], where)["answers"]
    assert bool(shown["wrong"]) != is_unasked


def test_a_refusal_by_the_rate_limit_says_nothing_of_the_stack() -> None:
    [shown] = front_door.seen([Answer(STRICT, 1, 429)], SET)["answers"]
    assert (shown["wrong"], bool(shown["unasked"])) == ("", True)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("", ""),
        ("<p>a</p>  <b>b&amp;c</b>", "a b&c"),
        ("<script>x()</script>y", "y"),
        ("[1]", "[1]"),
        ("z" * 80, "z" * 59 + "…"),
    ],
)
def test_a_few_words_of_a_page(body: str, words: str) -> None:
    assert front_door.excerpt(body) == words


class Page(http.server.BaseHTTPRequestHandler):
    """Answers by path, and says for whom it was asked."""

    def do_GET(self) -> None:
        if self.path == "/hang":
            self.server.hang.wait(10)  # type: ignore[attr-defined]
            return
        self.send_response(200 if self.path == "/readyz" else 404)
        self.end_headers()
        self.wfile.write(f"asked for {self.headers['Host']}".encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def authority() -> Issued:
    return issued("the stack's CA")


@pytest.fixture
def server(request: pytest.FixtureRequest, authority: Issued, tmp_path: Path) -> Iterator[int]:
    """The port of a server with a certificate made of the parameter's arguments."""
    arguments = {"issuer": authority, **getattr(request, "param", {})}
    shown = issued(arguments.pop("name", STRICT.host), **arguments)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown.save(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as found:
        found.hang = threading.Event()  # type: ignore[attr-defined]
        found.socket = context.wrap_socket(found.socket, server_side=True, do_handshake_on_connect=False)
        found.handle_error = lambda *_: None  # type: ignore[method-assign]
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield found.server_port
        finally:
            found.hang.set()  # type: ignore[attr-defined]
            found.shutdown()
            thread.join()


HERE = Place("127.0.0.1", "set", ours=True)


def test_a_request_as_users_send_it(server: int, authority: Issued) -> None:
    answer = front_door.ask(STRICT, HERE, Trust(authority.pem), port=server)
    assert (answer.status, answer.failure) == (200, "")
    assert answer.body == f"asked for app.example.com:{server}"
    assert not answer.pinned


@pytest.mark.parametrize(
    ("server", "said"),
    [
        ({"begins": 0.5}, "certificate is not yet valid"),
        ({"begins": -2, "ends": -1}, "certificate has expired"),
        ({"name": "other.example.com"}, "certificate is not valid for 'app.example.com'"),
    ],
    indirect=["server"],
)
def test_a_certificate_that_does_not_count(server: int, authority: Issued, said: str) -> None:
    answer = front_door.ask(STRICT, HERE, Trust(authority.pem), port=server)
    assert front_door.wrong(answer) == f"its certificate does not count: {said}"


def test_a_certificate_of_somebody_whom_nobody_trusts(server: int) -> None:
    answer = front_door.ask(STRICT, HERE, Trust(issued("another CA").pem), port=server)
    assert front_door.wrong(answer).startswith("its certificate does not count: unable to get local issuer certificate")


@pytest.mark.parametrize("server", [{}, {"issuer": None}], indirect=True, ids=["of-a-company", "self-signed"])
def test_the_certificate_that_the_stack_was_given_is_known_as_such(authority: Issued, server: int) -> None:
    """An issuer that this machine does not know, as a company has one; any other certificate of it is none."""
    pem = ssl.get_server_certificate(("127.0.0.1", server))
    given = front_door.trust(issued("the stack's CA, another").pem, {"tls.crt": pem})
    answer = front_door.ask(STRICT, HERE, given, port=server)
    assert (answer.status, answer.pinned) == (200, True)
    other = front_door.trust("", {"tls.crt": issued(STRICT.host, authority).pem})
    assert front_door.ask(STRICT, HERE, other, port=server).failure == "certificate"


def test_a_certificate_of_the_stack_itself_gets_no_such_grace(authority: Issued) -> None:
    own = issued(STRICT.host, authority).pem
    assert front_door.trust(authority.pem, {"tls.crt": own}).shown == ""
    assert front_door.trust("", {"tls.crt": own}).shown == own
    assert front_door.trust("", {"tls.crt": "none"}).shown == ""


def test_a_port_where_nobody_listens(authority: Issued) -> None:
    answer = front_door.ask(STRICT, HERE, Trust(authority.pem), port=1)
    assert (answer.failure, front_door.wrong(answer)) == ("refused", "connection refused")


def test_a_name_that_does_not_resolve() -> None:
    unknown = replace(STRICT, host="no-such-host.invalid")
    answer = front_door.ask(unknown, Place("", "dns", ours=False), Trust(), 2)
    assert answer.failure == "unreachable"
    assert front_door.unasked(answer, Place("", "dns", ours=False)) == "its name does not resolve here"


def test_no_answer_keeps_nobody(server: int, authority: Issued) -> None:
    hangs = replace(STRICT, path="/hang")
    found = front_door.ask_all([hangs, STRICT], HERE, Trust(authority.pem), seconds=2, port=server)
    assert [answer["failure"] for answer in found["answers"]] == ["slow", ""]
    assert found["answers"][0]["ms"] < 5000


def test_what_a_run_shows() -> None:
    answers = [Answer(STRICT, 12.3, 200), Answer(LOGIN, 8, 503, body="no available server")]
    found = front_door.seen(answers, SET)
    assert front_door.title(found) == "192.0.2.7, port 443"
    assert front_door.lines(found) == [
        f"{APP}/readyz     200, 12 ms",
        "https://pgadmin.example.com/login  it answers 503 (no available server), 8 ms",
    ]


def test_the_wait_ends_with_the_first_good_answer() -> None:
    answers = iter([Answer(STRICT, 1, 404), Answer(STRICT, 1, 404), Answer(STRICT, 1, 200)])
    found = front_door.wait(lambda: front_door.seen([next(answers)], SET), 30)
    assert found["answers"][0]["status"] == 200
    assert next(answers, None) is None


def test_the_wait_gives_up() -> None:
    found = front_door.wait(lambda: front_door.seen([Answer(STRICT, 1, 404)], SET), 0.1)
    assert found["answers"][0]["wrong"] == "it answers 404"


GONE = Answer(STRICT, 1, failure="unreachable", detail="no connection within 2 s")


@pytest.mark.parametrize(
    ("answer", "where", "here", "address", "reached"),
    [
        (Answer(STRICT, 1, 200), SET, None, "192.0.2.7", True),
        (Answer(STRICT, 1, 503), SET, None, "192.0.2.7", True),
        (replace(GONE, failure="refused"), SET, None, "192.0.2.7", True),
        (replace(GONE, failure="slow"), SET, None, "192.0.2.7", True),
        (GONE, SET, Answer(STRICT, 1, 200), "127.0.0.1", True),
        (GONE, SET, Answer(STRICT, 1, 503), "127.0.0.1", True),
        # A proxy in between takes every connection, and shows a certificate of its own.
        (replace(GONE, failure="certificate"), SET, Answer(STRICT, 1, 200), "127.0.0.1", True),
        (replace(GONE, failure="broken"), SET, Answer(STRICT, 1, 200), "127.0.0.1", True),
        (GONE, SET, replace(GONE, failure="refused"), "192.0.2.7", False),
        (GONE, SET, replace(GONE, failure="certificate"), "192.0.2.7", False),
        (replace(GONE, failure="certificate"), SET, replace(GONE, failure="refused"), "192.0.2.7", True),
        # Of somebody else's cluster nothing on this machine is a part.
        (GONE, replace(SET, ours=False), None, "192.0.2.7", True),
        (GONE, Place("10.0.0.1", "status", ours=True), None, "10.0.0.1", True),
    ],
)
def test_where_a_cluster_is_reached(
    answer: Answer, where: Place, here: Answer | None, address: str, reached: bool
) -> None:
    def again(other: Place) -> dict[str, Any]:
        assert here is not None, "this machine is asked"
        return front_door.seen([here], other)

    found = front_door.ask_here_too(front_door.seen([answer], where), where, again)
    assert (found["address"], found["reached"]) == (address, reached)


def test_the_wait_tells_once_of_an_address_that_is_not_reached_and_goes_on_when_it_is() -> None:
    gone = {"reached": False, **front_door.seen([Answer(STRICT, 1, failure="unreachable", detail="x")], SET)}
    there = {"reached": True, **front_door.seen([Answer(STRICT, 1, 200)], SET)}
    looks, told = iter([gone, gone, there]), []

    def unreached(found: dict[str, Any]) -> float:
        told.append(front_door.advice(found, "shop"))
        return 30.0

    assert front_door.wait(lambda: next(looks), 0.0, unreached) == there
    assert len(told) == 1
    assert "192.0.2.7" in told[0]
    assert "minikube tunnel --profile shop" in told[0]
