"""Ask the stack as its users do: HTTPS requests to the address where its hosts lead, with the certificate verified."""

from __future__ import annotations

import base64
import contextlib
import errno
import html
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3
from cryptography import x509
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ReadTimeoutError, SSLError

from stack.cluster import READ_ERRORS, Cluster
from stack.polling import looks

PORT = 443
DEADLINE_S = 5.0
INTERVAL_S = 0.5
# Seconds that an address gets which may not be reachable from here at all.
UNREACHED_S = 5.0
# More than a page takes to be recognized.
BODY_BYTES = 65536
ROOT = Path(__file__).parents[3]

# Which part of a run changes what answers for which part of the stack.
CONCERNS = {"app": {"tls", "postgres", "flask_app"}, "pgadmin": {"tls", "postgres", "pgadmin"}}
DEPLOYMENTS = {"app": "flask-app", "pgadmin": "pgadmin"}

# The pages of Traefik, ingress-nginx, HAProxy and Kong where no route or no pod takes a request.
INGRESS_TEXTS = {
    "404 page not found", "no available server", "default backend - 404", "bad gateway", "gateway timeout",
    "service unavailable",
}  # fmt: skip
INGRESS_MARKS = ("<center>nginx", "no route matched with those values", "<html><body><h1>404 not found</h1>")
ENVOY = ("envoy", "istio-envoy")
# OpenSSL's codes for a chain that ends in nobody who is trusted (X509_verify_cert_error_string(3)).
UNTRUSTED = {18, 19, 20, 21}


@dataclass(frozen=True)
class Question:
    """One request.

    Attributes:
        part: What answers it, a key of CONCERNS.
        host: The name that users call.
        path: The path that is asked for.
        anything: Whether each answer counts that is the service's own.
        contains: What a page has to contain, in any case.
    """

    part: str
    host: str
    path: str
    anything: bool = False
    contains: str = ""

    @property
    def url(self) -> str:
        return f"https://{self.host}{self.path}"


@dataclass(frozen=True)
class Place:
    """Where users reach the stack.

    Attributes:
        address: An IP address or a name; empty where nobody says one.
        source: `set` by the settings, in the `status` of the Ingress or Gateway, or by `dns`.
        ours: Whether this project runs the cluster, so that its address has to be reachable from here.
    """

    address: str
    source: str
    ours: bool


@dataclass(frozen=True)
class Trust:
    """Whose certificates count, as PEM.

    Attributes:
        authorities: The stack's own authority, beside those that the system trusts.
        shown: A certificate of somebody else that the stack was given to show; empty where it shows its own.
    """

    authorities: str = ""
    shown: str = ""


@dataclass
class Answer:
    """What a question was answered with.

    Attributes:
        question: The question.
        ms: Milliseconds until the answer was there, or was given up.
        status: The status code; None for no answer.
        server: The field ``Server``.
        body: The beginning of the body.
        failure: Why there is no answer: `refused`, `unreachable`, `certificate`, `broken`, `slow`; empty for an answer.
        detail: More on the failure.
        pinned: Whether the certificate is the one that the stack was given, of an issuer whom nobody here trusts.
    """

    question: Question
    ms: float
    status: int | None = None
    server: str = ""
    body: str = ""
    failure: str = ""
    detail: str = ""
    pinned: bool = False


def parts_of_run(run_tags: Collection[str], skip_tags: Collection[str]) -> set[str]:
    """Which parts of the stack a run of site.yml with these tags concerns."""
    everything = bool({"all", "tagged"} & set(run_tags))
    return {part for part, tags in CONCERNS.items() if (tags if everything else tags & set(run_tags)) - set(skip_tags)}


def is_under(path: str, prefix: str) -> bool:
    """Whether a path is one of a prefix, as an Ingress with ``pathType: Prefix`` has it."""
    return path == prefix or path.startswith(prefix.rstrip("/") + "/")


def questions(door: Mapping[str, Any], parts: Collection[str]) -> list[Question]:
    """What to ask for, by the settings.

    Args:
        door: The settings, as playbooks/vars/front_door.yml has them.
        parts: Which parts to ask, keys of CONCERNS.
    """
    asked: list[Question] = []
    if "app" in parts:
        host, paths = door["app_host"], door["app_paths"]
        others = [other["path"] for other in door["app_other_paths"]]

        def leads_to_it(path: str) -> bool:
            longest = max((prefix for prefix in [*paths, *others] if is_under(path, prefix)), key=len, default="")
            return longest in paths

        own = is_own_service(door["app_image"], door["app_source"])
        known = [path for path in (["/readyz"] if own else ["/readyz", "/api/data"]) if leads_to_it(path)]
        asked += [Question("app", host, path) for path in known]
        if own or not known:
            # Its paths are known to nobody here, and a page of its own that says 404 is an answer.
            asked += [Question("app", host, path, anything=True) for path in dict.fromkeys(paths)]
    if "pgadmin" in parts:
        path = door["pgadmin_path"].rstrip("/") + "/login"
        asked.append(Question("pgadmin", door["pgadmin_host"], path, contains="pgadmin"))
    return asked


def is_own_service(image: str, source: str) -> bool:
    """Whether the service is another than the one of this project."""
    return bool(image) or bool(source and Path(source).resolve() != ROOT / "app")


def place(door: Mapping[str, Any], ingresses: Iterable[Mapping[str, Any]], gateway: Mapping[str, Any] | None) -> Place:
    """Where users reach the stack: by the settings, by what publishes the stack, or else by their own resolver.

    Args:
        door: The settings, as playbooks/vars/front_door.yml has them.
        ingresses: The Ingresses of the namespace.
        gateway: The Gateway that publishes the stack; None where Ingresses do, or where it cannot be read.
    """
    ours, said = bool(door["managed"]), str(door["address"])
    known = bool(said) and not re.search(r"[<>\s]", said)
    # A Gateway has an address of its own, also on a cluster whose node's address is known.
    if known and not (ours and door["gateway"]):
        return Place(said, "set", ours)
    points = (gateway or {}).get("status", {}).get("addresses") or []
    found = [str(point["value"]) for point in points]
    for ingress in [] if door["gateway"] else ingresses:
        if any(rule.get("host") == door["app_host"] for rule in ingress["spec"].get("rules") or []):
            points = ingress.get("status", {}).get("loadBalancer", {}).get("ingress") or []
            found += [str(point.get("ip") or point.get("hostname")) for point in points]
    return Place(found[0], "status", ours) if found else Place("", "dns", ours)


def trust(published: str, secret: Mapping[str, str]) -> Trust:
    """Whose certificates count.

    Args:
        published: PEM of the stack's authority, or of the former and the next one.
        secret: The values of the Secret that the ingress shows: ``tls.crt``, and ``ca.crt`` where it has one.
    """
    authorities, shown = "\n".join([published, secret.get("ca.crt", "")]), secret.get("tls.crt", "")
    issuers = [found.subject for found in _certificates(authorities)]
    certificates = _certificates(shown)
    foreign = bool(certificates) and certificates[0].issuer not in issuers
    return Trust(authorities, shown if foreign else "")


def _certificates(pem: str) -> list[x509.Certificate]:
    """The certificates of a PEM, none where it has none."""
    try:
        return x509.load_pem_x509_certificates(pem.encode())
    except ValueError:
        return []


def context(trusted: Trust, *, pinned: bool) -> ssl.SSLContext:
    """What verifies a certificate and its host name, as curl and browsers do."""
    made = ssl.create_default_context()
    # Python 3.13 and later refuse certificates that browsers take.
    made.verify_flags &= ~ssl.VERIFY_X509_STRICT
    for pem in (trusted.authorities, trusted.shown if pinned else ""):
        if pem.strip():
            made.load_verify_locations(cadata=pem)
    if pinned:
        made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return made


def ask(question: Question, where: Place, trusted: Trust, seconds: float = DEADLINE_S, port: int = PORT) -> Answer:
    """Send one request, and return what came of it."""
    began = time.monotonic()
    answer = _ask(question, where, trusted, seconds, port, pinned=False)
    if answer.failure == "untrusted":
        again = _ask(question, where, trusted, seconds, port, pinned=True) if trusted.shown else answer
        answer = again if again.status is not None else answer
        answer.failure = answer.failure and "certificate"
    answer.ms = round((time.monotonic() - began) * 1000, 1)
    return answer


def _ask(question: Question, where: Place, trusted: Trust, seconds: float, port: int, *, pinned: bool) -> Answer:
    answer = Answer(question, 0.0, pinned=pinned)
    pool = urllib3.HTTPSConnectionPool(
        where.address or question.host,
        port,
        ssl_context=context(trusted, pinned=pinned),
        server_hostname=question.host,
        timeout=urllib3.Timeout(total=seconds),
        retries=False,
    )
    # A port other than the usual one is part of the name that a server is called by.
    name = question.host if port == PORT else f"{question.host}:{port}"
    headers = {"Host": name, "User-Agent": "flask-postgres-stack", "Accept": "*/*"}
    try:
        response = pool.request("GET", question.path, headers=headers, redirect=False, preload_content=False)
        answer.status = response.status
        answer.server = response.headers.get("Server", "")
        answer.body = response.read(BODY_BYTES).decode(errors="replace")
    except ConnectTimeoutError as error:
        refused = getattr(error.__cause__, "errno", None) == errno.ECONNREFUSED
        answer.failure, answer.detail = "refused" if refused else "unreachable", _cause(error, seconds)
    except SSLError as error:
        cause = error.args[0] if error.args else error
        if isinstance(cause, ssl.SSLCertVerificationError):
            answer.failure = "untrusted" if cause.verify_code in UNTRUSTED else "certificate"
            answer.detail = cause.verify_message.rstrip(".").replace("Hostname mismatch, ", "")
        else:
            answer.failure, answer.detail = "broken", _cause(error, seconds)
    except ReadTimeoutError:
        answer.status, answer.failure, answer.detail = None, "slow", f"no answer within {seconds:.0f} s"
    except (HTTPError, OSError) as error:
        answer.status, answer.failure, answer.detail = None, "broken", _cause(error, seconds)
    finally:
        pool.close()
    return answer


def _cause(error: Exception, seconds: float) -> str:
    """The system's own words, of an error that has others around them."""
    # Those of which the system says more are of a class below.
    if isinstance(error, ConnectTimeoutError) and not isinstance(error, NewConnectionError):
        return f"no connection within {seconds:.0f} s"
    cause: BaseException = error
    while (inner := cause.__cause__ or cause.__context__) is not None:
        cause = inner
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror.lower() if not isinstance(cause, socket.gaierror) else "its name does not resolve here"
    return " ".join(str(cause).split())[:120] or type(cause).__name__


def excerpt(body: str) -> str:
    """A few words of a page or a problem document."""
    try:
        found = json.loads(body)
        text = ": ".join(str(found[key]) for key in ("title", "detail") if found.get(key))
    except (ValueError, AttributeError):
        text = html.unescape(re.sub(r"<(script|style)\b.*?</\1>|<[^>]*>", " ", body, flags=re.DOTALL | re.IGNORECASE))
    words = " ".join(text.split())
    return words if len(words) <= 60 else words[:59] + "…"


def is_of_ingress(answer: Answer) -> bool:
    """Whether a 404 comes from what stands in front of the service, which knows no route."""
    text = " ".join(answer.body.lower().split())
    return (
        excerpt(answer.body).lower() in INGRESS_TEXTS
        or any(mark in text for mark in INGRESS_MARKS)
        or (not text and answer.server.lower() in ENVOY)
    )


def wrong(answer: Answer) -> str:
    """What is wrong with an answer; empty for nothing."""
    status, question = answer.status, answer.question
    if answer.failure:
        return {"certificate": "its certificate does not count: "}.get(answer.failure, "") + answer.detail
    assert status is not None
    said = excerpt(answer.body)
    shown = f"it answers {status}" + (f" ({said})" if said else "")
    if question.anything:
        return shown if status in (502, 503, 504) or (status == 404 and is_of_ingress(answer)) else ""
    if question.contains and status == 200:
        return "" if question.contains in answer.body.lower() else f"another page than its own answers ({said})"
    return "" if status == 200 or (question.contains and 300 <= status < 400) else shown


def unasked(answer: Answer, where: Place) -> str:
    """Why an answer says nothing of the stack, as where its address cannot be reached from here; else empty."""
    if answer.status == 429:
        return "the ingress refuses more requests of this machine for now (429)"
    if where.ours:
        return ""
    beyond = {"set": ("unreachable",), "status": ("unreachable", "refused")}.get(
        where.source, ("unreachable", "refused", "certificate", "broken", "slow")
    )
    return answer.detail if answer.failure in beyond else ""


def seen(answers: Iterable[Answer], where: Place, port: int = PORT) -> dict[str, Any]:
    """The answers as a document."""
    return {
        "address": where.address or None,
        "port": port,
        "answers": [
            {
                "url": answer.question.url,
                "part": answer.question.part,
                "status": answer.status,
                "ms": answer.ms,
                "wrong": wrong(answer) if not unasked(answer, where) else "",
                "unasked": unasked(answer, where),
                "failure": answer.failure,
                "issuer_unknown": answer.pinned,
            }
            for answer in answers
        ],
    }


def lines(found: Mapping[str, Any]) -> list[str]:
    """What was asked and what was answered, a line each."""
    width = max((len(answer["url"]) for answer in found["answers"]), default=0)
    said = []
    for answer in found["answers"]:
        text = answer["wrong"] or (answer["unasked"] and f"could not be asked: {answer['unasked']}") or answer["status"]
        said.append(f"{answer['url']:<{width}}  {text}, {answer['ms']:.0f} ms")
    return said


def title(found: Mapping[str, Any]) -> str:
    """Where the questions went."""
    address = found["address"] or "the addresses to which the names resolve"
    return f"{address}, port {found['port']}"


def ask_all(
    asked: Collection[Question], where: Place, trusted: Trust, seconds: float = DEADLINE_S, port: int = PORT
) -> dict[str, Any]:
    """Ask side by side, and never longer than the deadline, however slowly an answer drips in."""
    answers = {question: Answer(question, seconds * 1000, failure="slow") for question in asked}
    for answer in answers.values():
        answer.detail = f"no answer within {seconds:.0f} s"

    def take(question: Question) -> None:
        answers[question] = ask(question, where, trusted, seconds, port)

    threads = [threading.Thread(target=take, args=(question,), daemon=True) for question in asked]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + seconds + 0.5
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return seen(list(answers.values()), where, port)


def wait(once: Callable[[], dict[str, Any]], seconds: float) -> dict[str, Any]:
    """Ask until nothing is wrong or the time is over; an address that cannot be reached at all gets less time.

    Args:
        once: Asks everything once, and returns what ``ask_all`` does.
        seconds: The longest wait.
    """
    for passed in looks(INTERVAL_S):
        found = once()
        bad = [answer for answer in found["answers"] if answer["wrong"]]
        late = [answer for answer in found["answers"] if answer["unasked"]]
        if (not bad or passed > seconds) and (not late or passed > min(seconds, UNREACHED_S)):
            return found
    raise AssertionError("looks never end")


def look(cluster: Cluster, door: Mapping[str, Any], parts: Collection[str]) -> dict[str, Any]:
    """Ask the stack of a cluster, as far as it is deployed.

    Args:
        cluster: The cluster, with the namespace of the stack.
        door: The settings, as playbooks/vars/front_door.yml has them.
        parts: Which parts to ask, keys of CONCERNS.

    Raises:
        Exception: One of READ_ERRORS, where the cluster does not say what publishes the stack.
    """
    deployed = {found["metadata"]["name"] for found in cluster.items("apis/apps/v1", "deployments")}
    asked = questions(door, [part for part in parts if DEPLOYMENTS[part] in deployed])
    ingresses, gateway = [], None
    if door["gateway"]:
        path = f"namespaces/{door['gateway'].get('namespace', cluster.namespace)}/gateways/{door['gateway']['name']}"
        # Whoever may use a Gateway need not be allowed to read it.
        with contextlib.suppress(*READ_ERRORS):
            gateway = json.loads(cluster.get(f"/apis/gateway.networking.k8s.io/v1/{path}"))
    else:
        ingresses = cluster.items("apis/networking.k8s.io/v1", "ingresses")
    published = cluster.items("api/v1", "configmaps", "?fieldSelector=metadata.name%3Dca-certificates")
    secrets = cluster.items("api/v1", "secrets", "?fieldSelector=metadata.name%3Dtls-secret")
    shown = {
        key: base64.b64decode(value).decode(errors="replace")
        for secret in secrets
        for key, value in (secret.get("data") or {}).items()
        if key in ("tls.crt", "ca.crt")
    }
    authority = next((found.get("data", {}).get("ca.crt", "") for found in published), "")
    found = ask_all(asked, place(door, ingresses, gateway), trust(authority, shown))
    return {**found, "routes": "httproutes" if door["gateway"] else "ingresses"}
