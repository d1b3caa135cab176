"""``python -m stack.developer``: run the service of a folder beside its tests, or open the stack in a browser."""

from __future__ import annotations

import argparse
import base64
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import webbrowser
from pathlib import Path
from typing import Any

from kubernetes.config import ConfigException

from stack.cluster import READ_ERRORS, Cluster, reason
from stack.inventory import ROOT, read_settings

from .local import environment, files, sources
from .processes import free_port, running, tunnel

STACK = ("stack_kubeconfig", "stack_context", "stack_namespace")
PROGRAMS = ROOT / ".venv-app" / "bin"
# Where the settings of other roles are put together for those who ask the stack as its users do.
FRONT_DOOR = "@playbooks/vars/front_door.yml"


def say(text: str) -> None:
    """Print a line at once."""
    print(f"make: {text}", file=sys.stderr, flush=True)


def read(cluster: Cluster, deployment: dict[str, Any]) -> dict[tuple[str, str], dict[str, str]]:
    """What the ConfigMaps and Secrets of a Deployment hold."""
    found = {}
    for kind, name in sources(deployment):
        path = f"/api/v1/namespaces/{cluster.namespace}/{kind.lower()}s/{name}"
        data = json.loads(cluster.get(path)).get("data") or {}
        if kind == "Secret":
            data = {key: base64.b64decode(value).decode() for key, value in data.items()}
        found[kind, name] = data
    return found


def dev(arguments: argparse.Namespace) -> int:
    """Run the service with the stack's database, and its tests, until one of them ends."""
    settings = read_settings(arguments.inventory, STACK, arguments.extra)
    cluster = Cluster(settings["stack_kubeconfig"], settings["stack_context"], settings["stack_namespace"])
    deployment = json.loads(cluster.get(f"/apis/apps/v1/namespaces/{cluster.namespace}/deployments/flask-app"))
    data = read(cluster, deployment)
    port = free_port()
    forward = ["kubectl", "--kubeconfig", settings["stack_kubeconfig"], "--context", settings["stack_context"]]
    forward += ["--namespace", cluster.namespace, "port-forward", "service/postgres", f"{port}:5432"]
    folder = ROOT / "app"
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    inherited["PATH"] = f"{PROGRAMS}:{inherited['PATH']}"
    inherited.setdefault("FLASK_APP", "flask_postgres_app")
    with tempfile.TemporaryDirectory(prefix="flask-postgres-dev-") as kept, tunnel(forward, port, say):
        for file, content in files(deployment, data, Path(kept)).items():
            file.parent.mkdir(exist_ok=True)
            # libpq takes no key that others can read.
            file.touch(mode=0o600)
            file.write_text(content)
        of_service = {**inherited, **environment(deployment, data, port, Path(kept))}
        say(f"http://127.0.0.1:{arguments.port} is the service, on the database of {cluster.namespace}; Ctrl+C ends it")
        serve = ["flask", "run", "--debug", f"--port={arguments.port}"]
        with running(serve, folder, of_service) as service:
            if not arguments.tests:
                return service.wait()
            # Without the stack's environment, for the tests start a database of their own.
            test = ["watchfiles", "--filter=python", f"pytest -q -x --ff --no-cov {arguments.tests}", "src", "tests"]
            with running(test, folder, inherited):
                return service.wait()


def open_both(arguments: argparse.Namespace) -> int:
    """Open the service and pgAdmin in a browser, and print their addresses."""
    door = read_settings(arguments.inventory, ["front_door"], ["-e", FRONT_DOOR, *arguments.extra])["front_door"]
    for host, path in ((door["app_host"], door["app_paths"][0]), (door["pgadmin_host"], door["pgadmin_path"])):
        url = f"https://{host}{path}"
        try:
            socket.getaddrinfo(host, 443)
        except OSError:
            print(f"{url}  {host} has no address on this machine; add to /etc/hosts: {door['address']} {host}")
            continue
        print(url if webbrowser.open(url) else f"{url}  there is no browser on this machine")
    return 0


def stop(*_: object) -> None:
    """End as Ctrl+C does."""
    raise KeyboardInterrupt


def main() -> None:
    """Do what the arguments ask for."""
    parser = argparse.ArgumentParser(prog="python -m stack.developer", description=__doc__)
    parser.add_argument("command", choices=["dev", "open"])
    parser.add_argument("--inventory", required=True, help="the inventory of the stack")
    parser.add_argument("--port", type=int, default=5000, help="the port of the service on this machine")
    parser.add_argument("--tests", default="tests", help="the tests to run on each save; empty for none")
    parser.add_argument(
        "-e", "--extra-vars", action="append", default=[], help="settings, as ansible-playbook has them"
    )
    arguments = parser.parse_args()
    arguments.extra = [word for value in arguments.extra_vars for word in ("-e", value)]
    signal.signal(signal.SIGTERM, stop)
    try:
        sys.exit(dev(arguments) if arguments.command == "dev" else open_both(arguments))
    except KeyboardInterrupt:
        sys.exit(130)
    except subprocess.CalledProcessError as error:
        sys.exit(f"make: the settings cannot be read: {(error.stderr or error.stdout).strip()}")
    except ConfigException as error:
        sys.exit(f"make: {reason(error)}")
    except (*READ_ERRORS, TimeoutError) as error:
        sys.exit(f"make: the stack does not answer: {reason(error)}")


if __name__ == "__main__":
    main()
