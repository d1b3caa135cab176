"""No message shows a secret, whatever its value is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from stack.validation import secrets, specs

ROOT = Path(__file__).parents[2]
# In every wrong value below.
MARK = "hunter2"
# What a machine of the inventory sets, as it stands in a file; the setting is the name up to the dot.
WRONG = {
    "postgres_password.expression": "'hunter2{{b'",
    "postgres_password.statement": "'hunter2{%b'",
    "postgres_password.comment": "'hunter2{#b'",
    "postgres_password.closed_comment": "'hunter2{#b#}c'",
    "postgres_app_password.undefined": "'hunter2{{ b }}c'",
    "postgres_backup_passphrase.after_a_template": "\"{{ lookup('env', 'HOME') }}hunter2{{\"",
    "pgadmin_password.through_another": "'{{ another }}'",
    "pgadmin_password.list": "[hunter2]",
    "pgadmin_config.inside": "{OAUTH2: [{SECRET: 'hunter2{{'}]}",
    "flask_app_environment.inside": "{KEY: 'hunter2{{'}",
    "flask_app_environment.text": "hunter2",
    "flask_app_api_token.number": "12345",
    "flask_app_api_token.octal": "007",
    "postgres_password.truth": "true",
    "postgres_password.nothing": "",
    "postgres_password.fraction": "1.10",
}
RIGHT = {
    "postgres_password.unsafe": "!unsafe 'a{{b{%c{#d'",
    "postgres_password.template": "\"{{ lookup('env', 'HOME') }}\"",
    "postgres_password.empty": "''",
    "postgres_password.exponent": "1e9",
    "postgres_password.quoted": "'007'",
    "postgres_password.odd": r"""'"a''b\c$d`e`ü🔑'""",
    "postgres_password.closing": "'a}}b%}c#}'",
    "flask_app_environment.mapping": "{KEY: 1}",
}
PLAYBOOK = [{"hosts": "all", "gather_facts": False, "tasks": [{"name": "Validate", "validate_secrets": None}]}]


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a run prints, as verbose as it gets, with a machine for each value."""
    folder = tmp_path_factory.mktemp("secrets")
    hosts = "".join(
        f"    {host}: {{ansible_connection: local, another: 'hunter2{{{{b', {host.split('.')[0]}: {value}}}\n"
        for host, value in {**WRONG, **RIGHT}.items()
    )
    (folder / "hosts.yml").write_text(f"all:\n  hosts:\n{hosts}")
    (folder / "play.yml").write_text(yaml.safe_dump(PLAYBOOK))
    result = subprocess.run(
        [
            str(Path(sys.executable).with_name("ansible-playbook")),
            "-vvvv",
            "--forks",
            "4",
            "-i",
            str(folder / "hosts.yml"),
            str(folder / "play.yml"),
        ],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    return result.stdout + result.stderr


def test_a_value_that_cannot_be_read_is_refused_by_name_and_never_shown(output: str) -> None:
    failed = dict(re.findall(r"^fatal: \[(.*?)\]: FAILED! =>(.*?)(?=^\S)", output, re.MULTILINE | re.DOTALL))
    assert set(failed) == set(WRONG)
    assert {host for host, text in failed.items() if host.split(".")[0] not in text} == set()
    assert MARK not in output


def test_what_can_be_read_is_taken(output: str) -> None:
    assert set(re.findall(r"^ok: \[(.*?)\]", output, re.MULTILINE)) == set(RIGHT)


def test_secrets_are_those_that_the_roles_describe_as_such() -> None:
    found = secrets.secret_options(specs.all_options())
    assert {"postgres_password", "pgadmin_password", "flask_app_api_token"} <= set(found)
    assert "flask_app_replicas" not in found


@pytest.mark.parametrize(
    ("value", "taken"),
    [("a", True), ("", True), (12345, False), (True, False), (None, False), (1.5, False), ({"a": 1}, False)],
)
def test_a_secret_is_text(value: object, taken: bool) -> None:
    found = secrets.problem("postgres_password", {"type": "str", "no_log": True}, value, value, False)
    assert (found is None) == taken


@pytest.fixture
def handed_on(tmp_path: Path) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Run a playbook that does nothing with one ``-e``; ``@`` stands before what a file has."""
    (tmp_path / "play.yml").write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": []}]))

    def run(text: str) -> subprocess.CompletedProcess[str]:
        if text.startswith("@"):
            (tmp_path / "vars.yml").write_text(text[1:])
            text = f"@{tmp_path / 'vars.yml'}"
        return subprocess.run(
            [
                str(Path(sys.executable).with_name("ansible-playbook")),
                "-vvvv",
                "-i",
                "localhost,",
                str(tmp_path / "play.yml"),
                "-e",
                text,
            ],
            cwd=ROOT,
            env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "0"},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("postgres_password=hunter2{{b", "postgres_password"),
        ("postgres_password=hunter2'b", "postgres_password"),
        ('{"postgres_password": "hunter2', "postgres_password"),
        ("@a: 1\npostgres_password: hunter2: b\n", "vars.yml, line 2"),
        ('@postgres_password: "hunter2\n', "vars.yml, line"),
    ],
)
def test_what_ansible_itself_cannot_read_is_not_shown_either(
    handed_on: Callable[[str], subprocess.CompletedProcess[str]], text: str, name: str
) -> None:
    result = handed_on(text)
    assert result.returncode == 1
    assert name in result.stderr
    assert MARK not in result.stdout + result.stderr


@pytest.mark.parametrize("text", ["a=1 b=2", "{a: !unsafe 'b{{'}", "@a: !unsafe 'b{{'\nc: [1]\n"])
def test_what_ansible_can_read_goes_on(handed_on: Callable[[str], subprocess.CompletedProcess[str]], text: str) -> None:
    assert handed_on(text).returncode == 0
