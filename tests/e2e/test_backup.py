"""Backups and what they are for: rows that were destroyed are there again, and what is wrong with a backup is seen."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import INVENTORY, ROOT, Run, Stack, has_synchronous_replica, until
from screen import part, status

pytestmark = pytest.mark.second

Kubectl = Callable[..., str]
Site = Callable[..., Run]
Sql = Callable[..., str]


@pytest.fixture
def play(site: Site) -> Site:
    """Run one of the playbooks, as `make backup` and `make restore` do."""
    return lambda name, *arguments, **values: site(*arguments, playbook=f"playbooks/{name}.yml", seconds=500, **values)


def break_off_a_restore(stack: Stack, moment: str) -> None:
    """Kill one as soon as it has stopped the database."""
    command = ["ansible-playbook", "-i", INVENTORY, "playbooks/restore.yml", "-e", json.dumps({"restore_time": moment})]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True) as restore:
        try:
            until(lambda: stack.get("StatefulSet", "postgres").spec.replicas == 0, 60)
        finally:
            os.killpg(restore.pid, signal.SIGKILL)


CHECKSUM = "SELECT count(*), md5(string_agg(data::text, ';' ORDER BY id)) FROM data"


@pytest.mark.timeout(1800)
def test_rows_are_restored_to_a_moment(stack: Stack, play: Site, site: Site, sql: Sql) -> None:
    """First beside the database, which stays as it is, then in its place, where a first attempt is broken off."""
    rows = {stack.write(f"to be restored {number}"): f"to be restored {number}" for number in range(20)}
    wanted = sql(CHECKSUM)
    moment = sql("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
    sql("TRUNCATE data")
    assert stack.api("/api/data").json()["data"] == []

    play("restore", restore_time=moment, restore_mode="beside").succeeded()
    try:
        assert sql(CHECKSUM, "deployment/postgres-restored") == wanted
        assert stack.api("/api/data").json()["data"] == []
    finally:
        play("restore", restore_mode="remove_clone").succeeded()

    break_off_a_restore(stack, moment)
    refused = site("--tags", "postgres")
    assert refused.code != 0
    assert "was broken off; run it again" in " ".join(refused.output.split())
    run = play("restore", restore_time=moment).succeeded()
    assert sql(CHECKSUM) == wanted
    for identifier, name in rows.items():
        assert stack.api(f"/api/data/{identifier}").json()["name"] == name
    assert stack.write("after the restore") not in rows
    assert "What was there before: -e restore_backup=" in " ".join(run.output.split())
    assert part("backups")["restored"] > moment
    # By what runs, whose migrations may be newer than what was restored.
    jobs = stack.resource("Job").get(namespace=stack.namespace, label_selector="app=flask-app-migrate").items
    assert [job for job in jobs if job.metadata.creationTimestamp > moment and job.status.succeeded == 1]
    assert site("--diff").succeeded().changes == []


def test_a_restore_is_tested_beside_the_stack(stack: Stack, play: Site, kubectl: Kubectl, sql: Sql) -> None:
    """It succeeds, fails where the last backup has lost a file, and succeeds when that is there again."""
    stack.write("to be read by the test of a restore")
    written = sql("SELECT pg_walfile_name(pg_switch_wal())")
    until(lambda: sql("SELECT last_archived_wal FROM pg_stat_archiver") >= written, 60)
    folder = "/var/lib/pgbackrest/backup/postgres"
    shell = "exec postgres-backup-0 -c pgbackrest -- sh -c"

    def tested() -> dict[str, Any]:
        return dict(part("restore_test")["last"])

    play("restore_test").succeeded()
    first = tested()
    assert first["ok"]
    assert first["rows"] >= int(sql("SELECT count(*) FROM data"))
    kubectl(f"{shell} 'mv {folder}/{first['backup']} {folder}/away'")
    try:
        assert play("restore_test").code != 0
        assert not tested()["ok"]
        assert tested()["succeeded"] == first["ended"]
        assert any(
            "could not be restored" in found["what"] for found in status(status_format="json").document["problems"]
        )
    finally:
        kubectl(f"{shell} 'mv {folder}/away {folder}/{first['backup']}'")
    play("restore_test").succeeded()
    assert tested()["ok"]
    # Each has had a volume, which goes with its pod.
    kubectl("delete jobs -l app=postgres-restore-test")
    until(lambda: not stack.resource("PersistentVolumeClaim").get(
        namespace=stack.namespace, label_selector="app=postgres-restore-test").items, 60)  # fmt: skip


def test_a_replica_that_fell_behind_catches_up_from_the_archive(kubectl: Kubectl, sql: Sql) -> None:
    """It has stopped reading, and the primary has removed what it would read next."""
    replica = "pod/" + kubectl("get pods -l cluster-name=postgres,role=replica -o jsonpath={.items[0].metadata.name}")
    receiver = sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'walreceiver'", replica)
    wanted = sql("SELECT pg_walfile_name(pg_current_wal_lsn())")
    kubectl(f"exec {replica} -c postgres -- sh -c 'kill -STOP {receiver}'")
    try:
        until(lambda: sql("SELECT count(*) FROM pg_replication_slots WHERE active") == "0", 60)
        for _ in range(10):
            sql("CREATE TABLE behind (); DROP TABLE behind; SELECT pg_switch_wal()")
        until(lambda: sql(f"SELECT last_archived_wal > '{wanted}' FROM pg_stat_archiver") == "t", 60)
        sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots; CHECKPOINT")
        assert sql(f"SELECT count(*) FROM pg_ls_waldir() WHERE name = '{wanted}'") == "0"
    finally:
        kubectl(f"exec {replica} -c postgres -- sh -c 'kill -CONT {receiver}'")
    position = sql("SELECT pg_current_wal_lsn()")
    until(lambda: sql(f"SELECT pg_last_wal_replay_lsn() >= '{position}'", replica) == "t", 120)
    until(lambda: has_synchronous_replica(sql), 60)


def test_a_broken_repository_is_seen(kubectl: Kubectl, play: Site, sql: Sql) -> None:
    """Both by whoever makes a backup and by PostgreSQL, whose WAL is not taken any more; it goes on all the same."""
    shell = "exec postgres-backup-0 -- sh -c 'cd /var/lib/pgbackrest && {}'"
    healthy = "SELECT coalesce(last_archived_time > last_failed_time, true) FROM pg_stat_archiver"
    kubectl(shell.format("mkdir hidden && mv archive/postgres/*.info* hidden"))
    try:
        run = play("backup")
        assert run.code != 0
        assert "The backup of " in run.output
        sql("CREATE TABLE archived (); DROP TABLE archived; SELECT pg_switch_wal()")
        until(lambda: sql(healthy) == "f", 60)
    finally:
        kubectl(shell.format("mv hidden/* archive/postgres && rmdir hidden"))
    until(lambda: sql(healthy) == "t", 120)
    play("backup").succeeded()


WRONG = {
    "restore_time is 2026-02-30 12:00:00": {"restore_time": "2026-02-30 12:00:00"},
    "restore_time is 2001-01-01T00:00:00Z": {"restore_time": "2001-01-01T00:00:00Z"},
    "restore_time is 2999-01-01": {"restore_time": "2999-01-01 00:00:00+01"},
    "restore_backup is 20010101-000000F": {"restore_backup": "20010101-000000F"},
}


def test_what_cannot_be_restored_is_refused_by_name(stack: Stack, play: Site, tmp_path: Path) -> None:
    """One run over as many machines as there are wrong wishes."""
    local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    hosts = {f"refused{number}": wrong for number, wrong in enumerate(WRONG.values())}
    inventory = tmp_path / "hosts.json"
    inventory.write_text(json.dumps({"stack": {"children": {"refused": {"hosts": hosts, "vars": local}}}}))
    before = stack.versions(), stack.get("Pod", "postgres-0").metadata.uid
    run = play("restore", "-i", str(inventory), "--limit", "refused")
    assert run.code == 2
    output = " ".join(run.output.split())
    for message in WRONG:
        assert message in output
    assert (stack.versions(), stack.get("Pod", "postgres-0").metadata.uid) == before
