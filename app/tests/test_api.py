"""The endpoints, as a client sees them."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from conftest import AUTHORIZATION, PATIENT, run_app, settings_of
from flask_postgres_app.database import Database
from flask_postgres_app.records import MAX_ID, Records
from postgres import Server, until

CREATED_AT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\Z"
names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=200)
each_example_cleans_up = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def create(client: FlaskClient, name: str) -> TestResponse:
    response = client.post("/api/data", json={"name": name}, headers=AUTHORIZATION)
    assert response.status_code == 201
    return response


def dump(server: Server, database: str) -> object:
    return (
        server.execute("SELECT xmin, * FROM data ORDER BY id", database),
        server.execute("SELECT * FROM data_id_seq", database),
    )


def test_health_touches_no_database(environ: dict[str, str]) -> None:
    with run_app(settings_of(environ, db_host="127.0.0.1", db_port=1)) as app:
        response = app.test_client().get("/healthz")
    assert (response.status_code, response.json) == (200, {"status": "healthy"})


def test_setup_and_data_answer_in_their_shape(client: FlaskClient) -> None:
    assert client.get("/api/data").json == {"data": []}
    response = client.get("/api/setup")
    assert (response.status_code, response.json) == (200, {"status": "Database setup successful"})
    assert response.headers["Cache-Control"] == "no-store"
    assert re.fullmatch(r"@\d+", response.headers["Deprecation"])
    document = client.get("/api/data").json
    assert document is not None
    assert list(document) == ["data"]
    [record] = document["data"]
    assert list(record) == ["id", "name", "created_at"]
    assert (record["id"], record["name"]) == (1, "Initial Record")
    assert re.match(CREATED_AT, record["created_at"])


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_setup_repeated_changes_nothing(
    client: FlaskClient, server: Server, environ: dict[str, str], method: str
) -> None:
    client.open("/api/setup", method=method)
    before = dump(server, environ["DB_NAME"])
    response = client.open("/api/setup", method=method)
    assert response.json == {"status": "Database setup successful"}
    assert dump(server, environ["DB_NAME"]) == before


def test_setup_on_head_changes_nothing(client: FlaskClient) -> None:
    response = client.head("/api/setup")
    assert (response.status_code, response.data) == (200, b"")
    assert client.get("/api/data").json == {"data": []}


def test_setup_brings_the_initial_record_back(client: FlaskClient) -> None:
    client.get("/api/setup")
    create(client, "other")
    client.delete("/api/data/1", headers=AUTHORIZATION)
    client.get("/api/setup")
    document = client.get("/api/data").json
    assert document is not None
    assert [(record["id"], record["name"]) for record in document["data"]] == [(1, "Initial Record"), (2, "other")]


def test_setup_under_a_thousand_concurrent_calls(app: Flask, server: Server, environ: dict[str, str]) -> None:
    def call(_: int) -> int:
        return app.test_client().get("/api/setup").status_code

    assert call(0) == 200
    before = dump(server, environ["DB_NAME"])
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(call, range(1000))) == {200}
    assert dump(server, environ["DB_NAME"]) == before


def test_a_record_lives_through_all_methods(client: FlaskClient) -> None:
    created = create(client, "first")
    location = created.headers["Location"]
    assert created.json is not None
    assert location == f"/api/data/{created.json['id']}"
    assert client.get(location).json == created.json
    replaced = client.put(location, json={"name": "second"}, headers=AUTHORIZATION)
    assert (replaced.status_code, replaced.json) == (200, {**created.json, "name": "second"})
    changed = client.patch(location, json={"name": "third"}, headers=AUTHORIZATION)
    assert (changed.status_code, changed.json) == (200, {**created.json, "name": "third"})
    unchanged = client.patch(location, json={}, headers=AUTHORIZATION)
    assert (unchanged.json, unchanged.headers["ETag"]) == (changed.json, changed.headers["ETag"])
    merged = client.patch(
        location, data=b'{"name": "4"}', content_type="application/merge-patch+json", headers=AUTHORIZATION
    )
    assert merged.status_code == 200
    deleted = client.delete(location, headers=AUTHORIZATION)
    assert (deleted.status_code, deleted.data) == (204, b"")
    assert "Content-Type" not in deleted.headers
    for method in ("GET", "DELETE"):
        assert client.open(location, method=method, headers=AUTHORIZATION).status_code == 404
    for method in ("PUT", "PATCH"):
        response = client.open(location, method=method, json={"name": "x"}, headers=AUTHORIZATION)
        assert response.status_code == 404
    assert client.patch(location, json={}, headers=AUTHORIZATION).status_code == 404


@each_example_cleans_up
@given(name=names)
def test_any_name_comes_back_as_it_went_in(client: FlaskClient, name: str) -> None:
    created = create(client, name)
    assert created.json is not None
    assert created.json["name"] == name
    assert client.get(created.headers["Location"]).json == created.json
    found = client.get("/api/data", query_string={"name": name}).json
    assert found is not None
    assert created.json in found["data"]


@each_example_cleans_up
@given(
    body=st.one_of(
        st.none(),
        st.integers(),
        st.lists(names, max_size=2),
        st.just({}),
        st.fixed_dictionaries({"name": st.one_of(st.none(), st.integers(), st.just(""), st.just("a\0"))}),
        st.fixed_dictionaries({"name": st.text(st.characters(codec="utf-8"), min_size=201, max_size=250)}),
        st.fixed_dictionaries({"name": names, "id": st.integers()}),
    )
)
def test_any_other_body_is_refused(client: FlaskClient, body: object) -> None:
    data = json.dumps(body)
    response = client.post("/api/data", data=data, content_type="application/json", headers=AUTHORIZATION)
    assert response.status_code == 422


def pages(client: FlaskClient, query: str) -> Iterator[list[dict[str, object]]]:
    path: str | None = f"/api/data?{query}"
    while path:
        response = client.get(path)
        assert response.json is not None
        yield response.json["data"]
        link = response.headers.get("Link")
        if link is None:
            return
        match = re.fullmatch(r'<(/api/data\?[^>]+)>; rel="next"', link)
        assert match is not None
        path = match[1]


@pytest.mark.parametrize("limit", [1, 3, 7, 8])
@pytest.mark.parametrize("order", ["id", "-id"])
def test_pages_give_every_record_once_and_in_order(client: FlaskClient, limit: int, order: str) -> None:
    ids = [(create(client, f"record {number}").json or {})["id"] for number in range(7)]
    found = list(pages(client, f"limit={limit}&order={order}"))
    assert [record["id"] for page in found for record in page] == (ids if order == "id" else ids[::-1])
    assert all(len(page) == limit for page in found[:-1])
    assert 1 <= len(found[-1]) <= limit


def test_pages_keep_their_filter(client: FlaskClient) -> None:
    for name in ("apple & pear", "pear", "fig", "Apple pie"):
        create(client, name)
    response = client.get("/api/data", query_string={"contains": "APPLE", "limit": 1})
    query = parse_qs(urlsplit(response.headers["Link"].split(">")[0][1:]).query)
    assert query["contains"] == ["APPLE"]
    found = [record["name"] for page in pages(client, "contains=APPLE&limit=1") for record in page]
    assert found == ["apple & pear", "Apple pie"]
    assert [record["name"] for page in pages(client, "contains=%26") for record in page] == ["apple & pear"]
    assert [record["name"] for page in pages(client, "name=pear") for record in page] == ["pear"]


@pytest.mark.parametrize("text", ["%", "_", "\\", "%_", "\\%", "'"])
def test_a_part_of_a_name_stands_for_itself(client: FlaskClient, text: str) -> None:
    create(client, "without any of them")
    create(client, f"with {text} in it")
    found = client.get("/api/data", query_string={"contains": text}).json
    assert found is not None
    assert [record["name"] for record in found["data"]] == [f"with {text} in it"]


def test_a_part_of_a_name_is_found_by_an_index(app: Flask, server: Server, environ: dict[str, str]) -> None:
    server.execute("INSERT INTO data (name) SELECT md5(i::text) FROM generate_series(1, 20000) i", environ["DB_NAME"])
    # Without it the planner counts what the index has yet to sort in.
    server.execute("VACUUM ANALYZE data", environ["DB_NAME"])
    database: Database = app.extensions["database"]
    asked: list[str] = []

    class Explaining:
        """Has the statement explained in place of run."""

        execute = database.execute

        def read(self, sql: str, parameters: list[object], **options: bool) -> list[tuple[str]]:
            asked.extend(line for (line,) in database.execute(f"EXPLAIN {sql}", parameters, **options))
            return []

    Records(Explaining()).page(101, contains="XYZ")  # type: ignore[arg-type]
    assert any("data_name_trigrams" in line for line in asked), asked


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=x",
        "limit=",
        "after=-1",
        f"after={MAX_ID + 1}",
        "order=name",
        "name=",
        "name=%00",
    ],
)
def test_a_wrong_query_is_refused_by_name(client: FlaskClient, query: str) -> None:
    response = client.get(f"/api/data?{query}")
    assert response.status_code == 422
    assert response.json is not None
    [error] = response.json["errors"]
    assert (error["in"], error["name"]) == ("query", query.split("=")[0])


def test_conditional_reads(client: FlaskClient) -> None:
    location = create(client, "first").headers["Location"]
    for path in ("/api/data", location):
        etag = client.get(path).headers["ETag"]
        unchanged = client.get(path, headers={"If-None-Match": etag})
        assert (unchanged.status_code, unchanged.data, unchanged.headers["ETag"]) == (304, b"", etag)
        client.put(location, json={"name": f"after {path}"}, headers=AUTHORIZATION)
        assert client.get(path, headers={"If-None-Match": etag}).status_code == 200


def test_conditional_writes(client: FlaskClient) -> None:
    created = create(client, "first")
    location, etag = created.headers["Location"], created.headers["ETag"]
    current = {**AUTHORIZATION, "If-Match": etag}
    assert client.patch(location, json={}, headers=current).status_code == 200
    assert client.put(location, json={"name": "second"}, headers=current).status_code == 200
    for method, body in (("PUT", {"name": "x"}), ("PATCH", {"name": "x"}), ("PATCH", {}), ("DELETE", None)):
        assert client.open(location, method=method, json=body, headers=current).status_code == 412
    assert (client.get(location).json or {})["name"] == "second"
    assert client.delete(location, headers={**AUTHORIZATION, "If-Match": "*"}).status_code == 204
    assert client.delete(location, headers={**AUTHORIZATION, "If-Match": "*"}).status_code == 404


def test_of_many_conditional_writes_one_wins(app: Flask, client: FlaskClient) -> None:
    created = create(client, "first")
    headers = {**AUTHORIZATION, "If-Match": created.headers["ETag"]}

    def rename(number: int) -> int:
        body = {"name": f"by {number}"}
        return app.test_client().put(created.headers["Location"], json=body, headers=headers).status_code

    with ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(rename, range(20)))
    assert sorted(set(statuses)) == [200, 412]
    assert statuses.count(200) == 1


def test_a_write_for_any_version_does_not_fail_on_a_change_meanwhile(environ: dict[str, str], server: Server) -> None:
    waiting = f"SELECT 1 FROM pg_stat_activity WHERE datname = '{environ['DB_NAME']}' AND wait_event_type = 'Lock'"
    with run_app(settings_of(environ, **PATIENT)) as app, ThreadPoolExecutor(1) as pool:
        location = create(app.test_client(), "first").headers["Location"]
        other = server.connect(environ["DB_NAME"])
        try:
            with other.cursor() as cursor:
                cursor.execute("UPDATE data SET name = 'other', version = version + 1")
            answer = pool.submit(
                app.test_client().put, location, json={"name": "last"}, headers={**AUTHORIZATION, "If-Match": "*"}
            )
            until(lambda: server.execute(waiting))
            other.commit()
        finally:
            other.close()
        assert (answer.result().status_code, (answer.result().json or {})["name"]) == (200, "last")


def test_readiness_names_pending_migrations(empty_environ: dict[str, str]) -> None:
    with run_app(settings_of(empty_environ)) as app:
        client = app.test_client()
        response = client.get("/readyz")
        assert response.status_code == 503
        assert response.json is not None
        assert response.json["status"] == "not ready"
        assert response.json["checks"]["database"]["status"] == "ok"
        assert response.json["checks"]["migrations"] == {"status": "failed", "pending": ["0001", "0002"]}
        response = client.get("/api/data")
        assert response.status_code == 503
        assert (response.json or {})["detail"] == "The database has not been migrated."


def test_readiness(client: FlaskClient) -> None:
    response = client.get("/readyz")
    assert response.status_code == 200
    assert response.json is not None
    assert response.json["status"] == "ready"
    assert response.json["checks"]["migrations"] == {"status": "ok", "pending": []}


def test_readiness_with_a_newer_schema(client: FlaskClient, server: Server, environ: dict[str, str]) -> None:
    server.execute("UPDATE alembic_version SET version_num = 'newer'", environ["DB_NAME"])
    assert client.get("/readyz").status_code == 200


def test_version(environ: dict[str, str]) -> None:
    with run_app(settings_of(environ, app_version="1.2.3")) as app:
        response = app.test_client().get("/version")
    assert response.json == {"name": "flask-postgres-app", "version": "1.2.3"}


def test_openapi_describes_every_route(app: Flask, client: FlaskClient) -> None:
    document = client.get("/api/openapi.json").json
    assert document is not None
    assert document["openapi"] == "3.1.0"
    routes = {
        (re.sub(r"<(?:[^:>]+:)?([^>]+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
        if method not in {"HEAD", "OPTIONS"} and (rule.endpoint.split(".")[0] not in {"docs", "errors"})
    }
    described = {
        (path, method) for path, item in document["paths"].items() for method in item if method != "parameters"
    }
    assert described == routes
    assert document["paths"]["/api/setup"]["get"]["deprecated"] is True
    parameters = {parameter["name"] for parameter in document["paths"]["/api/data"]["get"]["parameters"]}
    assert parameters == {"limit", "after", "order", "name", "contains", "If-None-Match"}


def test_openapi_describes_errors_as_problem_documents(client: FlaskClient) -> None:
    document = client.get("/api/openapi.json").json
    assert document is not None
    responses = document["components"]["responses"]
    assert responses["REQUEST_TIMEOUT"]["description"] == "The request has not come in time."
    assert {media for response in responses.values() for media in response["content"]} == {"application/problem+json"}
    used = {
        response.get("$ref")
        for item in document["paths"].values()
        for operation in item.values()
        if isinstance(operation, dict)
        for status, response in operation["responses"].items()
        if int(status) >= 400 and "$ref" in response
    }
    assert used == {f"#/components/responses/{name}" for name in responses}


def test_openapi_has_no_schema_that_nothing_refers_to(client: FlaskClient) -> None:
    text = client.get("/api/openapi.json").text
    document = json.loads(text)
    unused = [name for name in document["components"]["schemas"] if f'"#/components/schemas/{name}"' not in text]
    assert unused == []


def test_openapi_has_the_conditions_of_each_operation(client: FlaskClient) -> None:
    document = client.get("/api/openapi.json").json
    assert document is not None
    conditions = {
        (path, method): {
            parameter["name"] for parameter in operation.get("parameters", []) if parameter["in"] == "header"
        }
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if isinstance(operation, dict)
    }
    found = {operation: names for operation, names in conditions.items() if names}
    assert found == {
        ("/api/data", "get"): {"If-None-Match"},
        ("/api/data/{record_id}", "get"): {"If-None-Match"},
        ("/api/data/{record_id}", "put"): {"If-Match"},
        ("/api/data/{record_id}", "patch"): {"If-Match"},
        ("/api/data/{record_id}", "delete"): {"If-Match"},
    }


def test_no_view_is_a_coroutine_function(app: Flask) -> None:
    """The application calls views as they are, so such a one would never run."""
    views = [view for view in app.view_functions.values() if not hasattr(view, "view_class")]
    methods = [
        getattr(view.view_class, method.lower())
        for view in app.view_functions.values()
        if hasattr(view, "view_class")
        for method in view.methods or ()
    ]
    hooks = [
        hook
        for found in (app.before_request_funcs, app.after_request_funcs, app.teardown_request_funcs)
        for functions in found.values()
        for hook in functions
    ]
    handlers = [handler for codes in app.error_handler_spec[None].values() for handler in codes.values()]
    functions = [*views, *methods, *hooks, *handlers]
    assert len(functions) > 15
    assert [found for found in functions if inspect.iscoroutinefunction(inspect.unwrap(found))] == []


def test_documentation_page_needs_nothing_from_elsewhere(client: FlaskClient) -> None:
    with client.get("/api/docs") as response:
        assert response.mimetype == "text/html"
        policy = response.headers["Content-Security-Policy"]
        page = response.text
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    references = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(references) == 6
    for reference in references:
        assert not urlsplit(reference).netloc
        with client.get(f"/api/{reference}") as response:
            assert response.status_code == 200
    assert "<script>" not in page
    assert client.get("/api/docs/LICENSE").status_code == 404


BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "application/json, text/html;q=0.9", "image/png"])
def test_the_front_page_is_json_for_programs(client: FlaskClient, accept: str | None) -> None:
    response = client.get("/", headers={"Accept": accept} if accept else {})
    assert response.mimetype == "application/json"
    assert response.headers["Vary"] == "Accept"
    assert response.json is not None
    for name in ("documentation", "openapi", "data"):
        with client.get(response.json[name]) as target:
            assert target.status_code == 200


@pytest.mark.parametrize("accept", [BROWSER, "text/html", "text/*"])
def test_the_front_page_is_a_page_for_browsers(environ: dict[str, str], accept: str) -> None:
    with run_app(settings_of(environ, app_version="<b>1</b>")) as app:
        client = app.test_client()
        response = client.get("/", headers={"Accept": accept})
        assert response.mimetype == "text/html"
        assert response.headers["Vary"] == "Accept"
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "script-src" not in policy
        assert "unsafe" not in policy
        assert "&lt;b&gt;1&lt;/b&gt;" in response.text
        assert "<script" not in response.text
        references = re.findall(r'(?:src|href)="([^"]+)"', response.text)
        assert {"api/docs", "api/docs/index.css", "api/openapi.json"} <= set(references)
        for reference in references:
            assert not urlsplit(reference).netloc
            with client.get(f"/{reference}") as target:
                assert target.status_code == 200
