"""Render every manifest without a cluster, and check it; a part of `make lint`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from stack import gotools
from stack import render as rendering
from stack.builder import BuildError

ROOT = Path(__file__).parents[2]
CHECKOV = ROOT / ".venv-checkov" / "bin" / "checkov"
KUBERNETES = "1.34"
# The best of kube-score's grades.
FINE = 10
# What is not asked for, under the names that each tool has for it, of all objects or of one.
SKIPPED = {
    # An image's tag is a hash of what it is built from, and no registry needs to be asked for it.
    "CKV_K8S_15": "imagePullPolicy Always",
    "CKV_K8S_43": "images by digest",
    "container-image-pull-policy": "imagePullPolicy Always",
    # The environment is the interface between a service and this deployment, the official postgres image's as well.
    "CKV_K8S_35": "secrets as files only",
    # The users of the official images, 999 and 5050, who own what is on the volumes.
    "CKV_K8S_40": "a user id above 10000",
    "container-security-context-user-group-id": "a user and a group id above 10000",
    # Their volumes have one writer: no second pod, not even for the time of a rollout, nor a name for each of several.
    "deployment-replicas Deployment/pgadmin": "two replicas",
    # Two of them would have to agree on who tells; a dead man's switch says that the one is away.
    "deployment-replicas Deployment/alertmanager": "two replicas",
    "deployment-replicas Deployment/postgres-restored": "two replicas",
    "deployment-strategy Deployment/pgadmin": "RollingUpdate",
    "deployment-strategy Deployment/postgres-restored": "RollingUpdate",
    "statefulset-has-servicename StatefulSet/postgres-backup": "a headless Service",
    # The pods that it is for are the users' own.
    "networkpolicy-targets-pod NetworkPolicy/database-client": "a pod that it selects",
    # Nobody asks a worker anything.
    "CKV_K8S_8 Deployment/flask-app-worker-mail": "a probe for liveness",
    "CKV_K8S_9 Deployment/flask-app-worker-mail": "a probe for readiness",
    # One question and two patiences: a pod that does not answer gets no requests after seconds, and is restarted later.
    "pod-probes-identical": "another liveness than readiness",
}
# Hashes of what others publish, and pictures.
NO_SECRETS = re.compile(r"(^|/)(requirements[^/]*\.txt|go\.sum|[^/]*\.png)$")
# More than a stack by the defaults has: what belongs to a setting, and both ways to restore.
SETTINGS: dict[str, Any] = {
    "postgres_client_certificates": True,
    "monitoring_dashboards_enabled": True,
    "monitoring_nodes": ["192.0.2.2/32"],
    "monitoring_alert_heartbeat_url": "https://heartbeat.example.com/",
    "flask_app_workers": [{"name": "mail", "command": ["work"], "replicas": 2}],
    "flask_app_cronjobs": [{"name": "digest", "command": ["digest"], "schedule": "0 6 * * *"}],
}
CLONE = {"postgres_restore_mode": "clone"}
IN_PLACE = {"postgres_restore_mode": "in_place"}
ROLES = ("namespace", "tls", "postgres_backup", "postgres_pooler", "pgadmin", "flask_app", "monitoring")


def render(folder: Path) -> None:
    """Write the manifests of all roles to a folder."""
    try:
        rendering.render(folder, values={**SETTINGS, "render_roles": [*ROLES, "postgres_restore"], **CLONE})
        with tempfile.TemporaryDirectory() as other:
            rendering.render(Path(other), values={**SETTINGS, "render_roles": ["postgres_restore"], **IN_PLACE})
            (folder / "restore_in_place.yaml").write_text((Path(other) / "postgres_restore.yaml").read_text())
    except rendering.RenderError as error:
        sys.exit(str(error))
    (folder / "patroni.yaml").write_text(yaml.safe_dump_all(labelled(folder / "postgres.yaml")))


def labelled(manifests: Path) -> Iterator[dict[str, Any]]:
    """The pods of PostgreSQL with the label that Patroni gives each, by which the Services find them."""
    documents = yaml.safe_load_all(manifests.read_text())
    found = next(
        document
        for document in documents
        if document and (document["kind"], document["metadata"]["name"]) == ("StatefulSet", "postgres")
    )
    template = found["spec"]["template"]
    for role in ("primary", "replica"):
        metadata = {
            "name": f"postgres-{role}",
            "namespace": found["metadata"]["namespace"],
            "labels": {**template["metadata"]["labels"], "role": role},
        }
        yield {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def misconfigurations(folder: Path) -> list[str]:
    """What is wrong with the manifests of a folder, each with its file: fields that Kubernetes has not, and risks."""
    files = sorted(map(str, folder.glob("*.yaml")))
    schema = run("kubernetes-validate", "--strict", "--no-warn", "--kubernetes-version", KUBERNETES, *files)
    found = [line for line in schema.splitlines() if not line.startswith("INFO")]
    # It gives up at the first file that it cannot read.
    readable = [file for file in files if not any(file in line for line in found)]
    with ThreadPoolExecutor() as pool:
        checks = [pool.submit(risks, folder), pool.submit(scores, readable), pool.submit(secrets, folder, *files)]
        return found + [line for check in checks for line in check.result()]


def risks(folder: Path) -> list[str]:
    """What checkov finds in a folder."""
    checkov = [str(CHECKOV), "--directory", str(folder), "--framework", "kubernetes", "--compact", "--output", "json"]
    report = json.loads(run(*checkov, "--skip-download"))
    found = []
    for check in report["results"]["failed_checks"]:
        kind, *_, name = check["resource"].split(".")
        if not {check["check_id"], f"{check['check_id']} {kind}/{name}"} & SKIPPED.keys():
            file = check["file_path"].lstrip("/")
            found.append(f"{file}: {check['resource']}: {check['check_id']} {check['check_name']}")
    return found


def scores(files: list[str]) -> list[str]:
    """What kube-score finds in files, its warnings as well."""
    try:
        program = str(gotools.build("kube-score"))
    except BuildError as error:
        sys.exit(str(error))
    report = run(program, "score", "--output-format", "json", "--kubernetes-version", f"v{KUBERNETES}", *files)
    found = []
    for scored in json.loads(report):
        name = f"{scored['type_meta']['kind']}/{scored['object_meta']['name']}"
        for check in scored["checks"]:
            identity = check["check"]["id"]
            if not check["skipped"] and check["grade"] < FINE and not {identity, f"{identity} {name}"} & SKIPPED.keys():
                comment = check["comments"][0]["summary"]
                found.append(f"{Path(scored['file_name']).name}: {name}: {identity} {comment}")
    return found


def secrets(folder: Path, *files: str) -> list[str]:
    """What looks like a secret in files."""
    # By what values look like and not by what they are called: settings and Secrets' keys bear such names.
    report = run(
        "detect-secrets",
        "-C",
        str(folder),
        "scan",
        "--disable-plugin",
        "KeywordDetector",
        "--exclude-lines",
        "checksum/|/database-login:",
        *files,
    )
    results = json.loads(report)["results"]
    return [
        f"{Path(name).name}: line {hit['line_number']}: {hit['type']}" for name, hits in results.items() for hit in hits
    ]


def run(*command: str) -> str:
    """What a tool prints; it may end with an error, as that is what it says that something is wrong with."""
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return result.stdout or sys.exit(f"{command[0]}: {result.stderr[-3000:]}")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        render(Path(folder))
        problems = misconfigurations(Path(folder))
    tracked = run("git", "ls-files").splitlines()
    problems += secrets(ROOT, *(name for name in tracked if not NO_SECRETS.search(name)))
    sys.exit("\n".join(problems) or 0)


if __name__ == "__main__":
    main()
