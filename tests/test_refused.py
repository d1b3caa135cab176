"""Wrong settings end a run before anything is touched, and the message names the setting."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Run, Stack

# What a machine of the inventory sets wrongly; the setting is the name up to the dot.
WRONG: dict[str, dict[str, Any]] = {
    "minikube_driver": {"minikube_provider": "offline", "minikube_driver": "docker"},
    "minikube_memory_mb": {"minikube_memory_mb": 100_000_000},
    "minikube_provider": {"minikube_provider": "cloud"},
    "stack_namespace": {"stack_namespace": "Not_A_Name"},
    "tls_hosts": {"stack_app_host": "App.example.com"},
    "tls_certificate_days": {"tls_certificate_days": "a year"},
    "postgres_storage_size": {"postgres_storage_size": "five"},
    "postgres_instances": {"postgres_instances": 0},
    "postgres_backup_full_schedule": {"postgres_backup_full_schedule": "every night"},
    "postgres_backup_s3_endpoint": {
        "postgres_backup_repository": "s3",
        "postgres_backup_s3_endpoint": "127.0.0.1:1",
        "postgres_backup_s3_bucket": "backups",
        "postgres_backup_s3_region": "here",
        "postgres_backup_s3_key": "someone",
        "postgres_backup_s3_key_secret": "something",
    },
    "postgres_password": {"postgres_password": "two\nlines"},
    "pgadmin_email": {"pgadmin_email": "nobody"},
    "pgadmin_storage_size": {"pgadmin_storage_size": "1 GB"},
    "flask_app_replicas": {"flask_app_replicas": 0},
    "flask_app_replicas.text": {"flask_app_replicas": "two"},
    "flask_app_paths": {"flask_app_paths": ["api"]},
    "flask_app_other_paths": {"flask_app_other_paths": [{"path": "/", "service": "other", "port": 80}]},
    "flask_app_source": {"flask_app_source": "/nonexistent"},
    "flask_app_environment": {"flask_app_environment": {"DB_HOST": "elsewhere"}},
    "flask_app_api_token": {"flask_app_api_token": "too short"},
    "monitoring_interval": {"monitoring_interval": 0},
}


@pytest.fixture(scope="module")
def refusals(site: Callable[..., Run], stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The messages of one run over as many machines as there are wrong settings, by machine."""
    folder = tmp_path_factory.mktemp("refused")
    inventory = folder / "hosts.json"
    local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    inventory.write_text(
        json.dumps({"stack": {"children": {"refused": {"hosts": WRONG, "vars": local}}}}), encoding="utf-8"
    )
    before = stack.versions()
    run = site(
        "-i",
        str(inventory),
        "--limit",
        "refused",
        env={
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
            "ANSIBLE_JSON_INDENT": "0",
            "ANSIBLE_CALLBACKS_ENABLED": "ansible.posix.json",
        },
    )
    assert run.code == 2, run.output[-3000:]
    assert stack.versions() == before, "something was touched"
    document = json.loads(run.output[run.output.index("{") : run.output.rindex("}") + 1])
    messages: dict[str, list[str]] = {}
    for play in document["plays"]:
        for task in play["tasks"]:
            for host, result in task["hosts"].items():
                if result.get("failed"):
                    failed = [result, *(item for item in result.get("results", []) if item.get("failed"))]
                    messages.setdefault(host, []).extend(str(item.get("msg")) for item in failed)
    return messages


@pytest.mark.parametrize("machine", WRONG)
def test_refused_by_name(refusals: dict[str, list[str]], machine: str) -> None:
    assert machine in refusals, "it was not refused"
    assert machine.split(".")[0] in " ".join(refusals[machine])


def test_secret_values_are_not_repeated(refusals: dict[str, list[str]]) -> None:
    for name in ("postgres_password", "flask_app_api_token"):
        (value,) = WRONG[name].values()
        assert value not in " ".join(refusals[name])


def test_as_typed(site: Callable[..., Run]) -> None:
    """The way a person meets it."""
    run = site("-e", "flask_app_replicas=0")
    assert run.code == 2
    assert "flask_app_replicas is 0" in run.output
