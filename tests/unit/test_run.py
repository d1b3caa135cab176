"""What a user types after ``make`` reaches the command, and what the user's shell is set to does not."""

from __future__ import annotations

import http.server
import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from ansible.parsing.splitter import parse_kv

from stack import proxies
from stack.run import exact, words

ROOT = Path(__file__).parents[2]
# Every target that takes ARGS, with the program that it runs.
TARGETS = {
    "deploy": "ansible-playbook",
    "rotate": "ansible-playbook",
    "status": "ansible-playbook",
    "report": "ansible-playbook",
    "backup": "ansible-playbook",
    "restore": "ansible-playbook",
    "drill": "ansible-playbook",
    "destroy": "ansible-playbook",
    "psql": "kubectl",
    "logs": "kubectl",
    "shell": "kubectl",
    "secrets": "kubectl",
    "open": "python",
    "dev": "python",
    "test-unit": "pytest",
    "test-policy": "pytest",
    "test-app": "python",
    "test-role-tls": "molecule",
    "test-e2e": "pytest",
    "test-issuer": "pytest",
    "fuzz": "pytest",
    "bench": "python",
}
# One word each, which nobody may change.
PLAIN = [
    "S3cr$et9xyz",
    "$$",
    "$HOME-${HOME}-$(HOME)-$(info,id)",
    "`id`$(id)",
    r"back\slash\\es\n\\",
    "#hash#",
    'a"b',
    "it's",
    "*?[a]{b,c}~",
    "a;b&c|d<e>f!g",
    "Grüße-日本-🔑",
    "{{curly}}%s%%",
    "a=b=c",
    "--",
]
STUB = """#!/bin/sh
exec "$PYTHON" -c 'import json, os, sys
with open(os.environ["CALLS"], "a") as calls:
    print(json.dumps({"argv": sys.argv[1:], "env": dict(os.environ)}), file=calls)' "$(basename "$0")" "$@"
"""


@dataclass(frozen=True)
class Call:
    argv: list[str]
    env: dict[str, str]


class Checkout:
    """A copy of the Makefile whose programs write down what they are given."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls = folder / "calls"
        for name in ("Makefile", "ansible.cfg", *(path.name for path in ROOT.glob("requirements*.txt"))):
            shutil.copy(ROOT / name, folder)
        (folder / "src").symlink_to(ROOT / "src")
        programs = folder / ".venv" / "bin"
        for path in (
            programs,
            folder / ".venv-app" / "bin",
            folder / ".venv-bench",
            folder / ".venv-checkov",
            folder / "app" / "bench" / "peers",
        ):
            path.mkdir(parents=True)
        for name in (
            "requirements-dev.txt",
            "requirements-build.txt",
            "pyproject.toml",
            "bench/peers/requirements.txt",
        ):
            (folder / "app" / name).touch()
        for name in ("ansible-playbook", "kubectl", "pytest", "molecule", "python", "../../.venv-app/bin/python"):
            (programs / name).write_text(STUB)
            (programs / name).chmod(0o755)
        (programs / "python3").write_text('#!/bin/sh\nexec "$PYTHON" "$@"\n')
        (programs / "python3").chmod(0o755)
        for stamp in ("bin/uv", "deploy.stamp", "dev.stamp", "tools.stamp"):
            (folder / ".venv" / stamp).touch()
        (folder / ".venv-app" / "dev.stamp").touch()
        for environment in (".venv-bench", ".venv-checkov"):
            (folder / environment / "stamp").touch()

    def make(self, *arguments: str, **environment: str) -> list[Call]:
        """The calls of programs that a `make` has led to, in an environment with nothing but a path and a home."""
        self.calls.unlink(missing_ok=True)
        path, home = os.environ["PATH"], str(self.folder)
        base = {"PATH": path, "HOME": home, "CALLS": str(self.calls), "PYTHON": sys.executable}
        result = subprocess.run(
            ["make", *arguments],
            cwd=self.folder,
            env={**base, **environment},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        assert result.stderr == ""
        return [Call(**json.loads(line)) for line in self.calls.read_text().splitlines()]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_what_is_typed_arrives_at_every_target(checkout: Checkout) -> None:
    typed = checkout.make(*TARGETS, "ARGS=" + " ".join(PLAIN))
    # What a target runs beside its program takes no arguments.
    calls = [call for call in typed if call.argv[-len(PLAIN) :] == PLAIN]
    assert [call.argv[0] for call in calls] == list(TARGETS.values())


def test_it_arrives_from_the_environment_and_through_a_second_make(checkout: Checkout) -> None:
    text = " ".join(PLAIN)
    assert checkout.make("deploy", ARGS=text)[-1].argv[-len(PLAIN) :] == PLAIN
    (checkout.folder / "molecule" / "tls").mkdir(parents=True)
    tests = [call for call in checkout.make("test-roles", f"ARGS={text}") if call.argv[1] == "test"]
    assert {call.argv[3] for call in tests} == {"postgres", "tls"}
    assert all(call.argv[-len(PLAIN) :] == PLAIN for call in tests)


def test_a_make_of_a_test_takes_nothing_of_the_first_one(checkout: Checkout) -> None:
    environment = checkout.make("test-e2e", "ARGS=-m backup", "INVENTORY=inventory/existing")[-1].env
    assert not {"ARGS", "MAKEFLAGS", "MFLAGS"} & environment.keys()
    assert environment["INVENTORY"] == "inventory/existing"


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("", []),
        ("  -e a=b\n\t--check ", ["-e", "a=b", "--check"]),
        ("-e '{drill_faults: [kill, freeze], n: 8}'", ["-e", "{drill_faults: [kill, freeze], n: 8}"]),
        ('-xc "SELECT * FROM pg_stat_archiver"', ["-xc", "SELECT * FROM pg_stat_archiver"]),
        (r'-e "{\"a\": \"b\\c $d\"}"', ["-e", r'{"a": "b\c $d"}']),
        ("""-e '{"a": "it is"}' -v""", ["-e", '{"a": "it is"}', "-v"]),
        ('-e restore_time="2026-03-01 18:00:00"', ["-e", "restore_time=2026-03-01 18:00:00"]),
        ("--extra-vars='a b' ''", ["--extra-vars=a b", ""]),
        ("-k 'a or b'", ["-k", "a or b"]),
        ("it's -e don't", ["it's", "-e", "don't"]),
        ('-e "never closed', ["-e", '"never', "closed"]),
        (r"-e 'x=it'\''s' y", ["-e", "x=it's", "y"]),
    ],
)
def test_quotes_hold_blanks(text: str, arguments: list[str]) -> None:
    assert words(text) == arguments


@pytest.mark.parametrize(
    "word",
    [*PLAIN, "", " ", "'", "' '", "a' b'", '"', "x'\\''y", "two\nlines", " '\"'\"' ", "a ' b \" c \\ d $e"],
)
def test_what_a_program_quotes_is_read_back(word: str) -> None:
    argv = ["-e", word, "--check", word]
    assert words(shlex.join(argv)) == argv


@pytest.mark.parametrize(
    "value",
    [
        *PLAIN,
        "a'b",
        'a"b',
        r"a\b\\n",
        "a{{b",
        "a{%b",
        "a{#b",
        "two words",
        "{{ lookup('env', 'HOME') }}",
        "x'",
        "12345",
        "true",
        "ü",
    ],
)
@pytest.mark.parametrize("option", ["-e ", "--extra-vars ", "--extra-vars=", "-e"])
def test_a_setting_arrives_at_ansible_as_it_is_typed(option: str, value: str) -> None:
    """Read as Ansible does: as JSON, or as name=value where that has nothing that it would change."""
    setting = f"name={value}"
    given = exact([option.strip(), setting] if option.endswith(" ") else [option + setting])
    text = given[-1].removeprefix("--extra-vars=").removeprefix("-e")
    found = json.loads(text) if text.startswith("{") else parse_kv(text)
    assert found == {"name": value}


@pytest.mark.parametrize("text", ["@file.yml", "{a: 1}", "a=1 b=2", "a='x y'", 'a="x y"', "a", "=b", "a b", ""])
def test_what_ansible_reads_in_other_ways_is_left_alone(text: str) -> None:
    assert exact(["-e", text, text]) == ["-e", text, text]


def test_what_and_inventory_arrive(checkout: Checkout) -> None:
    call = checkout.make("rotate", "WHAT=$(info a)`id`$x", "INVENTORY=my $inventory `id`")[-1]
    assert call.argv[1:] == ["-i", "my $inventory `id`", "playbooks/rotate.yml", "-e", "rotate=$(info a)`id`$x"]
    call = checkout.make("rotate", "WHAT=", "INVENTORY=")[-1]
    assert call.argv[1:] == ["-i", "inventory/minikube", "playbooks/rotate.yml", "-e", "rotate=all"]


@pytest.mark.parametrize(
    "locale",
    [
        {"LC_ALL": "de_DE.UTF-8"},
        {"LC_ALL": "C"},
        {"LANG": "de_DE.UTF-8"},
        {"LC_ALL": "", "LC_CTYPE": "POSIX", "LC_MESSAGES": "xx_XX"},
    ],
    ids=str,
)
def test_ansible_starts_in_any_locale(checkout: Checkout, locale: dict[str, str]) -> None:
    """The real one, in the environment that `make` gives it; `make` says nothing of the locale either."""
    environment = checkout.make("deploy", **locale)[-1].env
    result = subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", "--version"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def test_ansible_reads_this_checkouts_settings(checkout: Checkout) -> None:
    """In a folder that others may write to, and where a user has those of another project."""
    checkout.folder.chmod(0o777)
    names = ("ANSIBLE_CONFIG", "ANSIBLE_ROLES_PATH", "ANSIBLE_ACTION_PLUGINS", "ANSIBLE_INVENTORY")
    others = dict.fromkeys(names, "/elsewhere")
    environment = checkout.make("deploy", **others)[-1].env
    result = subprocess.run(
        [Path(sys.executable).parent / "ansible-config", "dump", "--only-changed", "--format", "json"],
        cwd=checkout.folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    found = {setting["name"]: setting["value"] for setting in json.loads(result.stdout) if "name" in setting}
    assert found["CONFIG_FILE"] == str(checkout.folder / "ansible.cfg")
    assert found["DEFAULT_ROLES_PATH"] == [str(checkout.folder / "roles")]
    assert found["DEFAULT_ACTION_PLUGIN_PATH"] == [str(checkout.folder / "plugins" / "action")]


KUBECONFIG = """
apiVersion: v1
clusters:
- {name: one, cluster: {server: "https://10.20.30.40:8443"}}
- name: two
  cluster:
    server: https://203.0.113.9.nip.example:6443
- cluster: {certificate-authority: ca.crt, server: 'https://kind-control-plane:6443'}
- cluster:
    server: https://[fd00::7]:6443
"""


@pytest.mark.parametrize("proxy", ["HTTPS_PROXY", "all_proxy"])
def test_the_cluster_is_asked_directly(checkout: Checkout, proxy: str) -> None:
    folder = checkout.folder / ".kube"
    folder.mkdir()
    (folder / "config").write_text(KUBECONFIG)
    shell = {proxy: "http://127.0.0.1:1", "NO_PROXY": "intern.example, 10.1.0.0/16"}
    environment = checkout.make("deploy", **shell)[-1].env
    assert environment[proxy] == "http://127.0.0.1:1"
    assert environment["NO_PROXY"] == environment["no_proxy"]
    listed = environment["NO_PROXY"].split(",")
    assert listed[:2] == ["intern.example", "10.1.0.0/16"]
    wanted = {"localhost", "127.0.0.1", "10.96.0.0/12", "10.244.0.0/16", "10.20.30.40", "kind-control-plane", "fd00::7"}
    assert wanted <= set(listed)
    # An API server with a public name may be one that only the proxy leads to.
    assert "203.0.113.9.nip.example" not in listed


def test_without_a_proxy_nothing_is_changed(checkout: Checkout) -> None:
    assert "NO_PROXY" not in checkout.make("deploy", HTTPS_PROXY="")[-1].env
    assert checkout.make("deploy", no_proxy="x")[-1].env["no_proxy"] == "x"
    assert proxies.variables({"https_proxy": "http://127.0.0.1:1", "no_proxy": "*"})["NO_PROXY"] == "*"


class Refusal(http.server.BaseHTTPRequestHandler):
    """A proxy that leads nowhere, and a server that answers."""

    asked: list[str]

    def do_CONNECT(self) -> None:
        self.asked.append(self.path)
        self.send_error(403)

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b'{"kind": "APIVersions", "versions": ["v1"]}')

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def servers() -> Iterator[tuple[int, list[str], int, list[str]]]:
    """The ports of a proxy and of an API server, each with what it was asked for."""
    asked: list[list[str]] = [[], []]
    handlers = [type("Handler", (Refusal,), {"asked": found}) for found in asked]
    running = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) for handler in handlers]
    for server in running:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield running[0].server_port, asked[0], running[1].server_port, asked[1]
    for server in running:
        server.shutdown()
        server.server_close()


def test_a_playbook_without_make_asks_the_cluster_directly(
    servers: tuple[int, list[str], int, list[str]], tmp_path: Path
) -> None:
    """A lookup, as roles/namespace reads the cluster."""
    proxy, asked_of_proxy, api, asked_of_api = servers
    kubeconfig = {
        "current-context": "here",
        "clusters": [{"name": "here", "cluster": {"server": f"http://127.0.0.1:{api}"}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        "users": [{"name": "me", "user": {"token": "none"}}],
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(kubeconfig))
    ask = f"{{{{ query('kubernetes.core.k8s', cluster_info='version', kubeconfig='{tmp_path}/kubeconfig') }}}}"
    play = {"hosts": "localhost", "gather_facts": False, "tasks": [{"ansible.builtin.debug": {"msg": ask}}]}
    (tmp_path / "ask.yml").write_text(json.dumps([play]))
    shell = {name: value for name, value in os.environ.items() if name.upper() != "NO_PROXY"}
    shell |= {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "HTTP_PROXY": f"http://127.0.0.1:{proxy}"}
    program = Path(sys.executable).parent / "ansible-playbook"
    subprocess.run([program, tmp_path / "ask.yml"], env=shell, capture_output=True, check=False)
    assert asked_of_api
    assert not asked_of_proxy


def test_builds_use_the_proxy_that_they_can_reach() -> None:
    shell = {"HTTPS_PROXY": "http://proxy.example:3128", "http_proxy": "http://127.0.0.1:3128", "NO_PROXY": "intern"}
    assert proxies.build_arguments({}, "host") == {}
    assert proxies.build_arguments({"http_proxy": "http://localhost:3128"}, "default") == {}
    arguments = proxies.build_arguments(shell, "default")
    assert arguments["HTTPS_PROXY"] == "http://proxy.example:3128"
    assert arguments["NO_PROXY"].startswith("intern,localhost")
    assert "http_proxy" not in arguments
    assert proxies.build_arguments(shell, "host")["http_proxy"] == "http://127.0.0.1:3128"
