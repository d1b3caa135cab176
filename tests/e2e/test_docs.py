"""The documentation: its commands work as typed, and the site is made offline, with links that lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, Stack, has_synchronous_replica, until
from screen import status

PAGES = [
    ROOT / "README.md",
    ROOT / "app" / "README.md",
    *sorted(ROOT.glob("docs/**/*.md")),
    *ROOT.glob("examples/*/README.md"),
]
SITE = ROOT / "site"

# Blocks that are not run here, by their first line, with the reason.
ELSEWHERE = {
    "make deploy": "test_runs.py and the faults run it, and `make test` before all of this",
    "make deploy    # brings everything up, or brings it to what the settings say": "`make test` is what runs this",
    "make deploy ARGS='--tags flask_app'": "test_runs.py rolls out an edit with it",
    "make deploy ARGS='-e @examples/notes/stack.yml'": "test_own_app.py runs it with these settings",
    "make deploy ARGS='-e @examples/orders/stack.yml'": "test_own_app.py deploys that project",
    "make deploy INVENTORY=inventory/existing ARGS='-e stack_image_repository=registry.example.com/team'": (
        "test_existing_cluster.py runs it; that registry is an example"
    ),
    "make deploy INVENTORY=inventory/existing": "test_existing_cluster.py runs it with the settings of that page",
    "make deploy ARGS='-e stack_namespace=next -e stack_app_host=next.example.com"
    " -e stack_pgadmin_host=next-pgadmin.example.com'": "test_upgrade.py loads such a dump",
    "make replace-node NODE=worker-2 ARGS=--check    # what would be removed": (
        "it takes a node that is lost; test_lost_node.py has the cases"
    ),
    "make drill ARGS='-e drill_rounds=3'": "test_drill.py plays the faults",
    "statement=$(kubectl exec service/postgres -- psql -U postgres -Atc \\": (
        "test_own_values.py runs it where statements have comments and are logged"
    ),
    "kubectl exec -it deployment/postgres-restored -- psql -U postgres -d app": "test_backup.py asks such a database",
    "make update": "test_runs.py does this, where it has the machine for itself",
    "kubectl delete configmap image-updates --ignore-not-found": "it may build all images anew, for minutes",
    "kubectl logs deployment/alertmanager --tail=20": (
        "the role's own tests deliver alerts; nobody gets those of this stack"
    ),
    "kubectl get jobs -l app=flask-app-cronjob": "it takes a cron job that has failed; test_own_app.py runs one",
    "make shell": "it takes a terminal, and a Django project in the pod",
    "kubectl delete namespace notes": "test_own_app.py takes its stack away like this",
    "python3 -c 'import json, secrets; print(json.dumps({name: secrets.token_hex(20) for name in (": (
        "test_vault.py does this to a server of its own"
    ),
    "export VAULT_TOKEN=$(bao token create -policy=stack -ttl=1h -field=token)": "test_vault.py logs in like this",
    "openssl rand -hex 20 | tr -d '\\n' | bao kv patch -mount=secret flask-postgres pgadmin_password=-": (
        "test_vault.py changes a value like this"
    ),
    "make dev    # http://127.0.0.1:5000, with reload and the tests on save; Ctrl+C ends it": (
        "test_developer.py edits what it serves; it does not end by itself"
    ),
    "python3 -m venv .venv && . .venv/bin/activate": "app/tests run the service on a database of their own",
}


def blocks() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        if "reference" not in page.parts:
            for block in re.findall(r"^```(?:sh|console|bash)\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
                yield page.relative_to(ROOT), block


BLOCKS = list(blocks())
# The same block on two pages is run once.
RUN_HERE = {block: page for page, block in reversed(BLOCKS) if block.splitlines()[0] not in ELSEWHERE}


def test_nothing_is_excused_that_is_not_there() -> None:
    assert {block.splitlines()[0] for _, block in BLOCKS} >= set(ELSEWHERE)


@pytest.mark.disruptive
@pytest.mark.parametrize(
    "block", RUN_HERE, ids=[f"{RUN_HERE[block]}: {block.splitlines()[0][:40]}" for block in RUN_HERE]
)
def test_commands_work_as_typed(stack: Stack, sql: Callable[..., str], block: str) -> None:
    if (stack.namespace, stack.app_url) != ("flask-postgres", "https://app.example.com"):
        pytest.skip("the pages use the names that a stack has by default")
    # Some blocks restart what the next one looks at.
    until(stack.answers, 60)
    until(lambda: has_synchronous_replica(sql), 60, "no replica is synchronous")
    if "make status" in block:
        until(lambda: status().code == 0, 90, "make status says that something is wrong")
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=ROOT,
        env={**os.environ, "no_proxy": "*"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.strip()


@pytest.fixture(scope="module")
def built() -> Path:
    """The site, made where there is no network; a link that leads nowhere ends it."""
    environments = ["make", "--silent", ".venv-app/dev.stamp", ".venv-docs/docs.stamp"]
    subprocess.run(environments, cwd=ROOT, check=True, timeout=300)
    alone = ["unshare", "--net"] if os.geteuid() == 0 else []
    result = subprocess.run(
        [*alone, "make", "--silent", "docs"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return SITE


def test_nothing_is_loaded_from_elsewhere(built: Path) -> None:
    pages = list(built.rglob("*.html"))
    assert len(pages) > 10
    loading = re.compile(r"<(?:script|link|img)\b[^>]*\b(?:src|href)=[\"']?(?:https?:)?//[^>]*")
    assert [f"{page.name}: {found}" for page in pages for found in loading.findall(page.read_text())] == []


def test_the_reference_has_every_setting_and_command(built: Path) -> None:
    for specs in ROOT.glob("roles/*/meta/argument_specs.yml"):
        text = (built / "reference" / "roles" / f"{specs.parts[-3]}.html").read_text()
        options = yaml.safe_load(specs.read_text())["argument_specs"]["main"].get("options", {})
        assert [name for name in options if f"<code>{name}</code>" not in text] == []
    commands = (built / "reference" / "commands.html").read_text()
    for name in re.findall(r"^([a-z0-9-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE):
        assert f"<code>make {name}</code>" in commands


def test_the_reference_has_the_api_that_runs(built: Path, stack: Stack) -> None:
    page = (built / "reference" / "api.html").read_text()
    for path, methods in stack.api("/api/openapi.json").json()["paths"].items():
        for method in methods.keys() - {"parameters"}:
            assert f">{method.upper()} {path}<" in page
