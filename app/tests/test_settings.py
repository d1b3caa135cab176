"""Settings from the environment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import APP
from flask_postgres_app.settings import DatabaseSettings, Settings, SettingsError
from postgres import free_port

GOOD = {"DB_HOST": "db", "DB_NAME": "app", "DB_USER": "app", "DB_PASSWORD": "secret-pw", "API_TOKEN": "secret-token"}


def test_defaults() -> None:
    settings = Settings.from_environ(GOOD)
    assert (settings.db_port, settings.port, settings.metrics_port) == (5432, 5000, 9464)
    assert (settings.db_sslmode, settings.log_level, settings.trusted_proxies) == ("prefer", "INFO", 0)
    assert (settings.web_concurrency, settings.app_version) == (2, "unknown")


def test_all_that_is_missing_is_named_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ({"DB_HOST": ""})
    message = caught.value.message
    assert "\n" not in message
    for name in GOOD:
        assert f"{name} is not set: it must be" in message


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("DB_PORT", "abc", "an integer from 1 to 65535"),
        ("DB_PORT", "70000", "an integer from 1 to 65535"),
        ("PORT", "0", "an integer from 1 to 65535"),
        ("DB_SSLMODE", "maybe", "one of disable, allow, prefer, require, verify-ca, verify-full"),
        ("DB_SSLROOTCERT", "/does/not/exist", "the path of a readable file"),
        ("DB_POOL_SIZE", "0", "an integer from 1 to 100 connections for each worker"),
        ("DB_STATEMENT_TIMEOUT_MS", "1.5", "an integer from 1 to 600000 milliseconds"),
        ("DB_DEADLINE_MS", "1000", "more than DB_STATEMENT_TIMEOUT_MS"),
        ("LOG_LEVEL", "loud", "one of DEBUG, INFO, WARNING, ERROR, CRITICAL"),
        ("MAX_CONTENT_LENGTH", "-1", "an integer from 1 to 1073741824 bytes"),
        ("WEB_THREADS", "many", "an integer from 1 to 256 threads for each worker"),
        ("WEB_REQUEST_TIMEOUT_S", "0", "an integer from 1 to 600 seconds"),
        ("WEB_REQUEST_TIMEOUT_S", "30s", "an integer from 1 to 600 seconds"),
        ("WEB_RESPONSE_TIMEOUT_S", "601", "an integer from 1 to 600 seconds"),
        ("DB_COMMENTS", "yes", "true or false"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", "the URL of a collector"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "grpc://collector:4317", "such as http://collector:4318"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "one of http/protobuf"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/does/not/exist", "the path of a readable file"),
        ("OTEL_TRACES_SAMPLER", "sometimes", "one of always_on, always_off, traceidratio, parentbased_always_on"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.5", "from 0 to 1"),
        ("OTEL_TRACES_SAMPLER_ARG", "nan", "from 0 to 1"),
    ],
)
def test_a_wrong_value_is_named_with_what_would_do(name: str, value: str, expected: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ({**GOOD, name: value})
    assert f"{name}={value!r} must be" in caught.value.message
    assert expected in caught.value.message


def test_a_deadline_shorter_than_the_statement_timeout_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"DB_DEADLINE_MS must be .* more than DB_STATEMENT_TIMEOUT_MS"):
        Settings.from_environ({**GOOD, "DB_STATEMENT_TIMEOUT_MS": "5000"})


def test_a_wrong_secret_is_not_shown() -> None:
    with pytest.raises(SettingsError, match="API_TOKEN must be the bearer token") as caught:
        Settings.from_environ({**GOOD, "API_TOKEN": "two words"})
    assert "two words" not in caught.value.message


def test_headers_for_the_collector_are_a_secret() -> None:
    assert Settings.from_environ({**GOOD, "OTEL_EXPORTER_OTLP_HEADERS": "a=b c==,d=e"}).otel_headers == "a=b c==,d=e"
    with pytest.raises(SettingsError, match="OTEL_EXPORTER_OTLP_HEADERS must be name=value") as caught:
        Settings.from_environ({**GOOD, "OTEL_EXPORTER_OTLP_HEADERS": "secret"})
    assert "secret" not in caught.value.message


def test_secrets_from_files(tmp_path: Path) -> None:
    environ = {name: value for name, value in GOOD.items() if name not in {"DB_PASSWORD", "API_TOKEN"}}
    for name in ("DB_PASSWORD", "API_TOKEN"):
        path = tmp_path / name
        path.write_text(GOOD[name] + "\n")
        environ[f"{name}_FILE"] = str(path)
    settings = Settings.from_environ(environ)
    assert (settings.db_password, settings.api_token) == ("secret-pw", "secret-token")


def test_a_secret_and_its_file_are_refused() -> None:
    with pytest.raises(SettingsError, match="API_TOKEN and API_TOKEN_FILE are both set"):
        Settings.from_environ({**GOOD, "API_TOKEN_FILE": "/run/token"})


def test_an_unreadable_file_is_named() -> None:
    environ = {name: value for name, value in GOOD.items() if name != "DB_PASSWORD"}
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ({**environ, "DB_PASSWORD_FILE": "/does/not/exist"})
    message = "invalid settings: DB_PASSWORD_FILE='/does/not/exist' cannot be read (No such file or directory)"
    assert caught.value.message == message


def test_migrations_need_the_database_only() -> None:
    environ = {name: value for name, value in GOOD.items() if name != "API_TOKEN"}
    assert DatabaseSettings.from_environ({**environ, "API_TOKEN_FILE": "/does/not/exist"}).db_name == "app"


# What an environment can hold.
values = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([*GOOD, "DB_PORT", "DB_SSLMODE", "API_TOKEN_FILE", "LOG_LEVEL"]), values))
def test_any_environment_is_taken_or_refused_in_one_line(environ: dict[str, str]) -> None:
    message = ""
    try:
        Settings.from_environ(environ)
    except SettingsError as error:
        message = error.message
    assert "\n" not in message


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "gunicorn"],
        ["-m", "flask", "--app", "flask_postgres_app", "run", "--port", "0"],
        ["-c", "from flask_postgres_app.cli import main; main(['migrate'])"],
    ],
    ids=["gunicorn", "flask", "migrate"],
)
def test_a_start_without_settings_ends_in_one_line(command: list[str], tmp_path: Path) -> None:
    environ = {
        "PATH": "",
        "PORT": str(free_port()),
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "metrics"),
        "PYTHONPATH": str(APP / "src"),
    }
    result = subprocess.run(
        [sys.executable, *command], cwd=APP, env=environ, capture_output=True, text=True, timeout=30, check=False
    )
    assert result.returncode == 1
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1
    assert "DB_HOST is not set" in lines[0]
