"""A Minikube with the Docker driver, and the stack on it, as somebody has them with `minikube` and `docker` on PATH."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conftest import ROOT, Run

from stack.builder import BuildError
from stack.docker_minikube import shell
from stack.docker_minikube.nodes import archives
from stack.docker_minikube.shell import CLUSTER, PROFILE

NAMESPACE = "flask-postgres"
USER = "flask-postgres-stack"
# What pip and uv need to reach their index from here.
INDEX = re.compile(r"(?i)(pip|uv)_|ssl_cert|.*(_ca_bundle|_proxy)$")


def unavailable() -> str:
    """Why this machine cannot have the cluster; empty where it can."""
    if os.geteuid() != 0:
        return "its engine takes root"
    try:
        archives()
    except BuildError as error:
        return str(error)
    return ""


def cluster(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "stack.docker_minikube", *arguments], check=True, cwd=ROOT)


@contextmanager
def plain_user() -> Iterator[Path]:
    """An account of the group docker, and no more, with a checkout in its home: the folder of that."""
    subprocess.run(["userdel", "--remove", USER], check=False, capture_output=True)
    subprocess.run(["useradd", "--create-home", "--groups", "docker", USER], check=True)
    try:
        tree = Path("/home", USER, "stack")
        listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        files = subprocess.run(listing, check=True, cwd=ROOT, capture_output=True, text=True).stdout
        for name in filter(None, files.split("\0")):
            # One that was removed and not yet committed is listed as well.
            if (ROOT / name).exists():
                (tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, tree / name)
        subprocess.run(["chown", "--recursive", f"{USER}:", str(tree)], check=True)
        yield tree
    finally:
        subprocess.run(["userdel", "--remove", USER], check=False, capture_output=True)


@dataclass(frozen=True)
class Machine:
    """The cluster, and a shell that means it.

    Attributes:
        user: Who runs the commands.
        tree: The checkout in which they are run.
        settings: What `make deploy` gets beside the inventory's.
    """

    user: str
    tree: Path
    settings: dict[str, Any]

    @property
    def environment(self) -> dict[str, str]:
        """Programs are those of the system, and minikube, docker and kubectl."""
        return {
            **{name: value for name, value in os.environ.items() if INDEX.match(name)},
            **shell.read("/usr/sbin:/usr/bin:/sbin:/bin"),
            "HOME": str(Path(f"~{self.user}").expanduser()),
            "LC_ALL": "C.UTF-8",
        }

    def run(self, command: Sequence[str], seconds: float = 120) -> subprocess.CompletedProcess[str]:
        is_root = self.user == "root"
        return subprocess.run(
            command,
            env=self.environment,
            cwd=self.tree,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            user=None if is_root else self.user,
            group=None if is_root else self.user,
            extra_groups=None if is_root else ["docker"],
        )

    def call(self, *command: str, seconds: float = 120) -> str:
        """What a command prints that succeeds."""
        done = self.run(command, seconds)
        assert done.returncode == 0, f"{shlex.join(command)}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout

    def make(self, target: str, *arguments: str, seconds: float = 900, **values: Any) -> Run:
        """Run a target of the Makefile with the settings of this cluster, more arguments and more settings."""
        given = {**self.settings, **values}
        parts = ["-e", f"@{CLUSTER / 'settings.yml'}", *(["-e", json.dumps(given)] if given else []), *arguments]
        began = time.monotonic()
        done = self.run(["make", target, f"ARGS={shlex.join(parts)}"], seconds)
        return Run(done.returncode, done.stdout + done.stderr, time.monotonic() - began)

    def kubectl(self, *arguments: str) -> str:
        return self.call("kubectl", "--context", PROFILE, *arguments)

    @property
    def address(self) -> str:
        return self.call("minikube", "--profile", PROFILE, "ip").strip()

    @property
    def authority(self) -> Path:
        return CLUSTER / "ca.crt"

    def secret(self, name: str, key: str) -> str:
        found = self.kubectl("-n", NAMESPACE, "get", f"secret/{name}", "-o", f"jsonpath={{.data.{key}}}")
        return base64.b64decode(found).decode()

    def api(self, path: str, *arguments: str, address: str = "") -> Any:
        """What the service answers over HTTPS at the node's address, verified by the stack's authority."""
        resolved = f"app.example.com:443:{address or self.address}"
        command = ["curl", "-sSf", "-m", "5", "--cacert", str(self.authority), "--resolve", resolved, *arguments]
        return json.loads(self.call(*command, f"https://app.example.com{path}"))

    def write(self, name: str) -> None:
        """Add a row."""
        token = self.secret("flask-app-secret", "API_TOKEN")
        self.api("/api/data", "--json", json.dumps({"name": name}), "--header", f"Authorization: Bearer {token}")

    def rows(self) -> set[str]:
        """The names of all rows."""
        return {row["name"] for row in self.api("/api/data")["data"]}

    def probe(self, name: str, node: str = "") -> None:
        """Start a pod of the namespace default that has Python, on a node if one is named."""
        path = "jsonpath={.spec.template.spec.containers[0].image}"
        image = self.kubectl("-n", NAMESPACE, "get", "deployment/pgadmin", "-o", path)
        overrides = json.dumps({"spec": {"nodeName": node} if node else {}})
        command = ["--command", "--", "/venv/bin/python3", "-m", "http.server", "8000"]
        self.kubectl("-n", "default", "run", name, f"--image={image}", f"--overrides={overrides}", *command)
        self.kubectl("-n", "default", "wait", f"pod/{name}", "--for=condition=Ready", "--timeout=60s")

    def connects(self, probe: str, host: str, port: int) -> bool:
        """Whether a probe gets a connection."""
        code = f"import socket; socket.create_connection(('{host}', {port}), 4)"
        command = [
            "kubectl",
            "--context",
            PROFILE,
            "-n",
            "default",
            "exec",
            probe,
            "--",
            "/venv/bin/python3",
            "-c",
            code,
        ]
        return self.run(command).returncode == 0
