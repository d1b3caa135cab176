"""The service over HTTPS, as the ones who call it see it."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from browser import open_page
from conftest import Stack, until
from playwright.sync_api import expect

HEADERS = {
    "Strict-Transport-Security": "max-age=63072000; includeSubDomains",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}


def test_the_front_page_is_json_for_programs(stack: Stack) -> None:
    response = stack.api("/")
    assert response.status_code == 200
    assert stack.api(response.json()["openapi"]).json()["openapi"] == "3.1.0"


def test_the_api_is_tried_from_the_front_page(stack: Stack) -> None:
    with open_page(stack.app_url, stack.ca_file) as page:
        troubles: list[str] = []
        # Chromium reports there what a page's Content-Security-Policy has kept from it.
        page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.goto(stack.app_url)
        page.get_by_role("link", name="Read and try the API").click()
        page.get_by_role("button", name="Authorize").click()
        dialog = page.locator(".dialog-ux")
        dialog.get_by_role("textbox").fill(stack.secret("flask-app-secret")["API_TOKEN"])
        dialog.get_by_role("button", name="Apply credentials").click()
        dialog.get_by_role("button", name="Close", exact=True).last.click()
        create = page.locator("#operations-data-createRecord")
        create.locator(".opblock-summary-control").click()
        create.get_by_role("button", name="Try it out").click()
        create.locator("textarea").fill('{"name": "from the page"}')
        create.get_by_role("button", name="Execute").click()
        expect(create.locator(".live-responses-table .response-col_status").last).to_contain_text("201")
    assert troubles == []


def test_healthz(stack: Stack) -> None:
    response = stack.api("/healthz")
    assert response.status_code == 200
    assert response.json() == {"status": "healthy"}


def test_setup(stack: Stack) -> None:
    response = stack.api("/api/setup")
    assert response.status_code == 200
    assert response.json() == {"status": "Database setup successful"}


def test_data_has_the_initial_record(stack: Stack) -> None:
    response = stack.api("/api/data")
    assert response.status_code == 200
    document = response.json()
    assert list(document) == ["data"]
    first = document["data"][0]
    assert list(first) == ["id", "name", "created_at"]
    assert first["id"] == 1
    assert first["name"] == "Initial Record"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", first["created_at"])


def test_data_comes_from_postgresql(stack: Stack, sql: Callable[..., str]) -> None:
    """A row that only the database was told of is in the answer."""
    identifier = stack.write("before")
    database = stack.secret("flask-app-db")["DB_NAME"]
    statement = f"UPDATE data SET name = 'after' WHERE id = {identifier}"
    sql(statement, database=database)
    assert stack.api(f"/api/data/{identifier}").json()["name"] == "after"


def test_http_redirects_to_https(stack: Stack) -> None:
    for url in (stack.app_url, stack.pgadmin_url):
        response = stack.session.get(url.replace("https:", "http:") + "/x?y=1", allow_redirects=False, timeout=10)
        assert response.status_code in (301, 308)
        assert response.headers["Location"] == url + "/x?y=1"


def test_only_the_stacks_own_authority_is_trusted(stack: Stack) -> None:
    """The certificate is for this host, by this CA: without it nobody believes it."""
    host = str(stack.settings["stack_app_host"])
    context = ssl.create_default_context(cafile=str(stack.ca_file))
    with socket.create_connection((host, 443), 10) as plain, context.wrap_socket(plain, server_hostname=host) as tls:
        certificate = tls.getpeercert()
        assert certificate is not None
        assert ("DNS", host) in certificate["subjectAltName"]
        assert tls.version() in ("TLSv1.2", "TLSv1.3")
    stranger = requests.Session()
    stranger.trust_env = False
    try:
        stranger.get(stack.app_url + "/healthz", timeout=10)
    except requests.exceptions.SSLError:
        return
    raise AssertionError("a client without the stack's CA took the certificate")


def test_writes_need_the_token(stack: Stack) -> None:
    assert stack.api("/api/data", "POST", json={"name": "x"}).status_code == 401


def assert_problem(response: requests.Response, status: int) -> None:
    assert response.status_code == status, response.text[:500]
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["status"] == status
    assert response.json()["request_id"] == response.headers["X-Request-ID"]
    assert {name: response.headers.get(name) for name in HEADERS} == HEADERS


@pytest.mark.parametrize(
    ("status", "method", "path", "options"),
    [
        (400, "POST", "/api/data", {"data": "{", "headers": {"Content-Type": "application/json"}}),
        (401, "POST", "/api/data", {"json": {"name": "x"}, "headers": {"Authorization": "Bearer wrong"}}),
        (404, "GET", "/nowhere", {}),
        (404, "GET", "/api/data/9223372036854775807", {}),
        (405, "DELETE", "/api/data", {}),
        (412, "DELETE", "/api/data/1", {"headers": {"If-Match": '"0"'}}),
        (413, "POST", "/api/data", {"data": b" " * (2 << 20), "headers": {"Content-Type": "application/json"}}),
        (415, "POST", "/api/data", {"data": "name=x"}),
        (422, "POST", "/api/data", {"json": {"name": 1}}),
        (422, "GET", "/api/data?limit=0", {}),
    ],
)
def test_errors_are_problem_documents(
    stack: Stack, status: int, method: str, path: str, options: dict[str, Any]
) -> None:
    token = {"Authorization": f"Bearer {stack.secret('flask-app-secret')['API_TOKEN']}"}
    assert_problem(stack.api(path, method, **{**options, "headers": token | options.get("headers", {})}), status)


def test_too_many_requests_are_refused(stack: Stack) -> None:
    """The limit of the ingress answers as the service does, and only for as long as there are too many."""

    def send(_: int) -> requests.Response | None:
        with requests.Session() as session:
            session.trust_env = False
            session.verify = str(stack.ca_file)
            for _ in range(500):
                response = session.get(f"{stack.app_url}/healthz", timeout=10)
                if response.status_code != 200:
                    return response
        return None

    with ThreadPoolExecutor(16) as pool:
        refused = [response for response in pool.map(send, range(16)) if response is not None]
    assert refused
    assert_problem(refused[0], 429)
    until(stack.answers, 15)


def test_two_replicas_or_more_share_the_work(stack: Stack) -> None:
    assert stack.get("Deployment", "flask-app").status.readyReplicas >= 2


def test_metrics_do_not_go_through_the_ingress(stack: Stack) -> None:
    assert stack.api("/metrics").status_code == 404
