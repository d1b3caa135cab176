"""pgAdmin in a real browser, through the ingress."""

from __future__ import annotations

import shlex
import uuid
from collections.abc import Callable, Iterator

import pytest
from browser import PgAdmin, open_page
from conftest import Run, Stack, until
from playwright.sync_api import expect


@pytest.fixture
def pgadmin(stack: Stack, request: pytest.FixtureRequest) -> Iterator[PgAdmin]:
    """pgAdmin in a browser of its own, whose last sight is kept under the test's name."""
    with open_page(stack.pgadmin_url, stack.ca_file) as page:
        console = PgAdmin(page, stack.pgadmin_url)
        yield console
        console.screenshot(request.node.name.removeprefix("test_"))
        # pytest shows it with a failure only.
        print("on the page:", page.locator("body").inner_text(), "reported:", *console.troubles, sep="\n  ")


@pytest.fixture
def account(stack: Stack) -> tuple[str, str]:
    secret = stack.secret("pgadmin-secret")
    return secret["PGADMIN_DEFAULT_EMAIL"], secret["PGADMIN_DEFAULT_PASSWORD"]


def test_the_registered_server_answers_a_query(stack: Stack, pgadmin: PgAdmin, account: tuple[str, str]) -> None:
    row = f"seen in pgAdmin {uuid.uuid4()}"
    number = stack.write(row)
    database = stack.secret("pgadmin-db")["DB_NAME"]
    pgadmin.login(*account)
    # Nothing here types a password: opening the server is all that a person does.
    select = f"SELECT id, name, created_at FROM data WHERE id = {number};"
    with pgadmin.query(select, "Servers", "postgres", "Databases", database) as result:
        expect(result.get_by_role("gridcell", name=row)).to_be_visible()
        pgadmin.screenshot("query")
    assert pgadmin.elsewhere == [], "the browser was sent to other hosts"


def test_the_connection_to_the_database_is_encrypted(stack: Stack, pgadmin: PgAdmin, account: tuple[str, str]) -> None:
    database = stack.secret("pgadmin-db")["DB_NAME"]
    pgadmin.login(*account)
    select = "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid();"
    with pgadmin.query(select, "Servers", "postgres", "Databases", database) as result:
        expect(result.get_by_role("gridcell", name="TLSv1.3")).to_be_visible()


def test_a_result_beyond_the_memory_ends_in_a_message(
    stack: Stack, pgadmin: PgAdmin, account: tuple[str, str], kubectl: Callable[..., str]
) -> None:
    restarts = "get pods --selector=app=pgadmin --output=jsonpath={.items[*].status.containerStatuses[*].restartCount}"
    before = kubectl(restarts)
    database = stack.secret("pgadmin-db")["DB_NAME"]
    pgadmin.login(*account)
    # Held by the service's database for as long as pgAdmin reads it, and no longer: nothing is sorted or stored.
    select = "SELECT repeat('x', 300) FROM (SELECT generate_series(1, 3000000)) AS rows;"
    with pgadmin.query(select, "Servers", "postgres", "Databases", database, refused=True) as result:
        expect(result.get_by_text("does not fit into pgAdmin's memory").first).to_be_visible()
    # Where the pod was killed, so was the login.
    with pgadmin.query("SELECT 'still here' AS answer;", "Servers", "postgres", "Databases", database) as result:
        expect(result.get_by_role("gridcell", name="still here")).to_be_visible()
    assert kubectl(restarts) == before


def test_a_wrong_password_is_refused(pgadmin: PgAdmin, account: tuple[str, str]) -> None:
    pgadmin.submit_login(account[0], "not-" + account[1])
    expect(pgadmin.page.get_by_text("Incorrect username or password")).to_be_visible()
    pgadmin.page.goto(f"{pgadmin.url}/browser/")
    expect(pgadmin.page.locator("input[name=password]")).to_be_visible()
    # A right one sets the count of wrong ones back.
    pgadmin.login(*account)


def test_the_session_cookie_is_for_https_alone(stack: Stack) -> None:
    response = stack.session.get(f"{stack.pgadmin_url}/login", timeout=10)
    assert response.status_code == 200
    cookie = response.headers["Set-Cookie"]
    assert {"Secure", "HttpOnly"} <= {part.strip() for part in cookie.split(";")}, cookie
    assert response.headers["Strict-Transport-Security"].startswith("max-age=")


def test_another_host_name_is_refused(stack: Stack) -> None:
    response = stack.session.get(
        f"{stack.pgadmin_url}/login", headers={"Host": "evil.example.net"}, allow_redirects=False, timeout=10
    )
    assert response.status_code in {403, 404}


@pytest.mark.disruptive
def test_a_server_added_by_hand_survives_a_restart(
    stack: Stack, pgadmin: PgAdmin, account: tuple[str, str], kubectl: Callable[..., str]
) -> None:
    name = f"by-hand-{uuid.uuid4().hex[:8]}"
    pgadmin.login(*account)
    pgadmin.register_server(name, "postgres-ro")
    kubectl("rollout restart deployment pgadmin")
    kubectl("rollout status deployment pgadmin --timeout=180s")
    # The ingress hears of the new pod a moment after the Deployment.
    until(lambda: stack.session.get(f"{stack.pgadmin_url}/login", timeout=10).status_code == 200)
    # The page that is left sends the state of its tree, whose answer would begin a session beside that of the login.
    pgadmin.page.goto("about:blank")
    pgadmin.page.context.clear_cookies()
    pgadmin.login(*account)
    pgadmin.expand("Servers")
    expect(pgadmin.node(name)).to_be_visible()
    expect(pgadmin.node("postgres")).to_be_visible()
    # Whoever uses this pgAdmin should not find what the test has left in it.
    statement = f"DELETE FROM server WHERE name = '{name}'"
    program = (
        f'import sqlite3; c = sqlite3.connect("/var/lib/pgadmin/pgadmin4.db"); c.execute("{statement}"); c.commit()'
    )
    kubectl(f"exec deployment/pgadmin -- python3 -c {shlex.quote(program)}")


@pytest.mark.disruptive
def test_a_password_of_ones_own_takes_effect_and_locks_out_the_old_one(
    pgadmin: PgAdmin, account: tuple[str, str], site: Callable[..., Run]
) -> None:
    email, generated = account
    try:
        site("--tags", "pgadmin", pgadmin_password="admin").succeeded()
        pgadmin.submit_login(email, generated)
        expect(pgadmin.page.get_by_text("Incorrect username or password")).to_be_visible()
        pgadmin.login(email, "admin")
        pgadmin.expand("Servers", "postgres")
    finally:
        restored = site("--tags", "pgadmin", pgadmin_password=generated).succeeded()
    assert generated not in restored.output
    pgadmin.login(email, generated)
