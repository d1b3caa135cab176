"""The stack on a Minikube with the Docker driver, as a user of the group docker has it, who is not root.

The tests marked `short` are a quick part of it; where they run alone, the stack is small.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from browser import PgAdmin, open_page
from conftest import Run, until
from docker_driver import NAMESPACE, USER, Machine, cluster, plain_user, unavailable
from playwright.sync_api import expect

from stack.docker_minikube.shell import PROFILE

# A first start, the build of its images and a rollout are one test's setup.
pytestmark = [pytest.mark.skipif(bool(unavailable()), reason=unavailable()), pytest.mark.timeout(1200)]

SMALL = {"postgres_instances": 1, "postgres_backup_enabled": False, "monitoring_enabled": False}


@pytest.fixture(scope="module")
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    cluster("down")
    try:
        with plain_user() as tree:
            # The first start is the role's.
            cluster("prepare", f"--owner={USER}")
            yield Machine(USER, tree, SMALL if request.config.getoption("markexpr") == "short" else {})
    finally:
        cluster("down")


@pytest.fixture(scope="module")
def deployed(machine: Machine) -> Run:
    return machine.make("deploy").succeeded()


@pytest.fixture(scope="module")
def row(deployed: Run, machine: Machine) -> str:
    """The name of a row that is written as users do."""
    del deployed
    machine.write("kept")
    return "kept"


@pytest.mark.short
def test_a_run_ends_with_what_its_users_see(deployed: Run, machine: Machine) -> None:
    assert f"add to /etc/hosts: {machine.address} app.example.com" in deployed.output
    assert machine.rows() == set()


@pytest.mark.short
def test_the_cluster_gets_what_the_engine_has(deployed: Run, machine: Machine) -> None:
    cpus = int(machine.call("docker", "info", "--format", "{{.NCPU}}"))
    limit = int(machine.call("docker", "inspect", "--format", "{{.HostConfig.NanoCpus}}", PROFILE)) // 10**9
    assert limit == min(cpus, 4)
    assert ("minikube_cpus is 4" in deployed.output) is (cpus < 4)


@pytest.mark.short
def test_a_second_run_changes_nothing(deployed: Run, machine: Machine) -> None:
    del deployed
    assert machine.make("deploy").succeeded().changed == 0


def test_policies_are_enforced(deployed: Run, machine: Machine) -> None:
    del deployed
    machine.probe("probe")
    try:
        until(lambda: machine.connects("probe", "kube-dns.kube-system.svc.cluster.local", 53), 30)
        for service in ("postgres", "pgadmin", "flask-app"):
            # One that does not exist is refused as well.
            path = "jsonpath={.spec.ports[0].port}"
            port = machine.kubectl("-n", NAMESPACE, "get", f"service/{service}", "-o", path)
            host = f"{service}.{NAMESPACE}.svc.cluster.local"
            assert not machine.connects("probe", host, int(port)), f"{service} takes connections of anybody"
    finally:
        machine.kubectl("-n", "default", "delete", "pod/probe", "--grace-period=0", "--force")


def test_pgadmin_in_a_browser(row: str, machine: Machine) -> None:
    url = "https://pgadmin.example.com"
    account = [machine.secret("pgadmin-secret", f"PGADMIN_DEFAULT_{key}") for key in ("EMAIL", "PASSWORD")]
    with open_page(url, machine.authority, machine.address) as page:
        console = PgAdmin(page, url)
        console.login(*account)
        with console.query("SELECT name FROM data;", "Servers", "postgres", "Databases", "app") as result:
            expect(result.get_by_role("gridcell", name=row)).to_be_visible()
        console.screenshot("docker-driver")


@pytest.mark.parametrize("tag", ["minikube", "tls", "postgres", "pgadmin", "flask_app", "monitoring"])
def test_a_tag_alone_changes_nothing(deployed: Run, machine: Machine, tag: str) -> None:
    del deployed
    assert machine.make("deploy", "--tags", tag).succeeded().changed == 0


def test_status_says_that_all_is_well(deployed: Run, machine: Machine) -> None:
    del deployed
    until(lambda: machine.make("status").code == 0, 90, "make status does not say that all is well")


@pytest.mark.short
def test_an_edit_of_the_service_is_live(row: str, deployed: Run, machine: Machine) -> None:
    file = machine.tree / "app/src/flask_postgres_app/api/front.py"
    before = file.read_text()
    edited = before.replace("Flask service over PostgreSQL", "Edited")
    assert edited != before
    file.write_text(edited)
    try:
        run = machine.make("deploy").succeeded()
        assert machine.api("/api/openapi.json")["info"]["title"] == "Edited"
        # In less than a minute on a machine at rest, which `make bench-docker-driver` measures.
        assert run.seconds < deployed.seconds / 2
        assert row in machine.rows()
    finally:
        file.write_text(before)


def test_rows_are_restored_from_a_backup(row: str, machine: Machine) -> None:
    machine.make("backup").succeeded()
    psql = ["exec", "service/postgres", "-c", "postgres", "--", "psql", "-XAtq", "-U", "postgres", "-d", "app", "-c"]
    moment = machine.kubectl("-n", NAMESPACE, *psql, "SELECT clock_timestamp() AT TIME ZONE 'UTC'").strip()
    machine.kubectl("-n", NAMESPACE, *psql, "TRUNCATE data")
    assert machine.rows() == set()
    machine.make("restore", restore_time=f"{moment.replace(' ', 'T')}Z").succeeded()
    assert machine.rows() == {row}


def test_a_drill_loses_nothing(row: str, machine: Machine) -> None:
    faults = ["switchover", "force-delete", "kill"]
    run = machine.make("drill", drill_rounds=1, drill_faults=faults, drill_strict=False).succeeded()
    assert run.output.count(" 0 lost, ") == len(faults)
    assert machine.rows() == {row}


@pytest.mark.parametrize(
    "down",
    [
        pytest.param(["minikube", "--profile", PROFILE, "stop"], id="stopped"),
        pytest.param(["docker", "kill", PROFILE], id="killed", marks=pytest.mark.short),
    ],
)
def test_a_run_brings_a_cluster_up_again(down: list[str], row: str, machine: Machine) -> None:
    machine.call(*down)
    machine.make("deploy").succeeded()
    assert machine.rows() == {row}


@pytest.mark.short
def test_the_cluster_is_removed_with_its_volumes(deployed: Run, machine: Machine) -> None:
    del deployed
    machine.make("destroy", destroy_volumes=True).succeeded()
    assert machine.call("docker", "ps", "--all", "--quiet") == ""
    assert machine.call("docker", "volume", "ls", "--quiet") == ""
