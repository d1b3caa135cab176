"""What is wrong with a state that stack_state has read, each with the next command to run."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

State = dict[str, Any]


class Judge:
    """Finds what is wrong, the part that others depend on first."""

    def __init__(self, state: State, limits: dict[str, Any], deploy: str) -> None:
        self.state = state
        self.limits = {name: float(value) for name, value in limits.items()}
        self.deploy = deploy
        self.kubectl = f"kubectl -n {state['namespace']}"
        self.now = datetime.datetime.now(datetime.UTC)

    def problems(self) -> list[dict[str, Any]]:
        if "unreachable" in self.state:
            at = f" at {self.state['server']}" if "server" in self.state else ""
            what = f"the cluster of context {self.state['context']}{at} cannot be read: {self.state['unreachable']}"
            return [problem(what, self.deploy)]
        if not self.state["workloads"]:
            return [problem(f"there is no stack in namespace {self.state['namespace']}", self.deploy)]
        parts = (
            self.workloads, self.pods, self.database, self.requests, self.volumes, self.certificates, self.backups,
            self.alerts, self.unread,
        )  # fmt: skip
        return sorted((found for part in parts for found in part()), key=lambda found: not found["urgent"])

    def workloads(self) -> Iterator[dict[str, Any]]:
        pods = {pod["name"]: pod for pod in self.state["pods"]}
        for workload in self.state["workloads"]:
            name, wanted, ready = workload["name"], workload["wanted"], workload["ready"]
            own = [pods[pod] for pod in workload["pods"] if not pods[pod]["ready"] and not pods[pod]["leaving"]]
            why = next((pod["reason"] for pod in own if pod["reason"]), "")
            if wanted == 0:
                yield problem(f"{name} is scaled to 0", self.deploy)
            elif ready < wanted:
                looping = next((pod["name"] for pod in own if pod["looping"]), None)
                if workload["refused"]:
                    why, look = workload["refused"], f"describe replicasets -l {workload['selector']}"
                elif looping:
                    look = f"logs --previous {looping}"
                else:
                    look = f"describe pods -l {workload['selector']}"
                what = f"{name}: {ready} of {wanted} pods are ready{why and f' ({why})'}"
                yield problem(what, f"{self.kubectl} {look}")
            elif workload["updated"] < wanted:
                yield notice(f"{name} is being rolled out", f"{self.kubectl} rollout status {name}")

    @staticmethod
    def _made_good(pod: dict[str, Any], later: dict[str, Any]) -> bool:
        """Whether a pod, of a Job say, has done what another one failed at before it."""
        return bool(later["phase"] == "Succeeded" and later["app"] == pod["app"] and later["created"] > pod["created"])

    def pods(self) -> Iterator[dict[str, Any]]:
        for pod in self.state["pods"]:
            if pod["phase"] == "Failed":
                why = f": {pod['reason']}" if pod["reason"] else ""
                look = f"{self.kubectl} logs {pod['name']}"
                if any(self._made_good(pod, later) for later in self.state["pods"]):
                    yield notice(f"pod {pod['name']} has failed{why}; one after it has not", look)
                else:
                    yield problem(f"pod {pod['name']} has failed{why}", look)
            elif pod["last_restart"]:
                minutes = (self.now - datetime.datetime.fromisoformat(pod["last_restart"])).total_seconds() / 60
                if minutes < self.limits["restart_minutes"]:
                    what = f"pod {pod['name']} restarted {minutes:.0f} min ago ({pod['last_restart_reason']})"
                    yield notice(what, f"{self.kubectl} logs --previous {pod['name']}")

    def database(self) -> Iterator[dict[str, Any]]:
        wanted = next((found for found in self.state["workloads"] if found["name"] == "statefulset/postgres"), None)
        if wanted is None or wanted["wanted"] == 0:
            return
        look = f"{self.kubectl} exec statefulset/postgres -- patronictl list"
        database = self.state["database"]
        if database is None:
            yield problem("no instance of the database answers", f"{self.kubectl} logs -l app=postgres --tail=20")
            return
        members = database["members"]
        if not any(member["role"] == "primary" and member["state"] == "running" for member in members):
            yield problem("the database has no primary: nothing can be written", look)
        replicas = [member for member in members if member["role"] == "replica"]
        for member in replicas:
            if member["state"] not in ("streaming", "running"):
                yield problem(f"replica {member['name']} is {member['state']}", look)
            elif member["lag_bytes"] is not None and member["lag_bytes"] > self.limits["lag_mb"] * 1e6:
                yield problem(f"replica {member['name']} is {member['lag_bytes'] / 1e6:.0f} MB behind", look)
        if replicas and database["synchronous"] and not any(member["synchronous"] for member in replicas):
            yield problem("no replica is synchronous: a failover would lose what is written", look)
        yield from self.primary(database["primary"] or {})
        if database["paused"]:
            resume = f"{self.kubectl} exec statefulset/postgres -- patronictl resume"
            yield problem("Patroni is paused: no failover would happen", resume)
        for member in members:
            if member["restart_pending"]:
                restart = f"{self.kubectl} exec statefulset/postgres -- patronictl restart postgres --pending --force"
                yield notice(f"{member['name']} has settings that wait for a restart", restart)

    def primary(self, primary: dict[str, Any]) -> Iterator[dict[str, Any]]:
        psql = f"{self.kubectl} exec service/postgres -- sh -c 'psql -U $POSTGRES_USER -d postgres -c \"$0\"'"
        limit = primary.get("connections_limit", 0)
        # The superuser may be in those that are reserved.
        used = min(primary.get("connections", 0), limit)
        if used * 100 > limit * self.limits["connections_percent"]:
            ask = "SELECT usename, state, count(*) FROM pg_stat_activity GROUP BY 1, 2 ORDER BY 3 DESC"
            yield problem(f"{used} of {limit} connections of the database are in use", f'{psql} "{ask}"')
        if primary.get("damaged_pages"):
            ask = "SELECT datname, checksum_failures, checksum_last_failure FROM pg_stat_database"
            yield problem(f"the database has met {primary['damaged_pages']} damaged pages", f'{psql} "{ask}"')

    def requests(self) -> Iterator[dict[str, Any]]:
        requests = self.state["requests"]
        if not requests:
            return
        recent = requests["per_second"] * requests["seconds"]
        look = f"{self.kubectl} logs -l app=flask-app --tail=50"
        if requests["errors_now"] and requests["errors_now"] * 100 > recent * self.limits["error_percent"]:
            what = f"{requests['errors_now']} of the last {recent:.0f} requests ended with an error"
            yield problem(what, look)
        elif requests["error_share"] * 100 > self.limits["error_percent"]:
            share = f"{requests['error_share']:.1%}"
            yield notice(f"{share} of all requests since the pods' start ended with an error, none of the last", look)

    def volumes(self) -> Iterator[dict[str, Any]]:
        for volume in self.state["volumes"] or []:
            if volume["phase"] != "Bound":
                look = f"{self.kubectl} describe persistentvolumeclaim {volume['claim']}"
                yield problem(f"volume {volume['claim']} is {volume['phase']}", look)
            elif volume["fill"] and volume["fill"] * 100 > self.limits["volume_percent"]:
                look = f"{self.kubectl} exec {volume['mounted_by']} -- df -h"
                yield problem(f"the disk of volume {volume['claim']} is {volume['fill']:.0%} full", look)

    def certificates(self) -> Iterator[dict[str, Any]]:
        for found in self.state["certificates"] or []:
            name = found["secret"]
            replace = (
                f"{self.kubectl} create secret tls {name} --cert=FILE --key=FILE --dry-run=client -o yaml"
                f" | {self.kubectl} apply -f -"
            )
            renew = f"{self.deploy} ARGS='--tags tls,postgres'" if found["own"] else replace
            if found["days"] is None:
                yield problem(f"the certificate in {name} cannot be read", replace)
            elif found["days"] < 0:
                yield problem(f"the certificate in {name} ended on {found['ends'][:10]}", renew)
            elif found["days"] < self.limits["certificate_days"]:
                yield problem(f"the certificate in {name} ends in {found['days']} days", renew)

    def backups(self) -> Iterator[dict[str, Any]]:
        backups = self.state["backups"]
        if not backups:
            return
        look = f"{self.kubectl} exec postgres-backup-0 -- pgbackrest info"
        if not backups["last"]:
            yield problem("there is no backup yet", "make backup")
        elif not backups["ok"]:
            yield problem(f"the repository of backups is not well: {backups['status']}", look)
        else:
            hours = (self.now - datetime.datetime.fromisoformat(backups["last"]["time"])).total_seconds() / 3600
            if hours > self.limits["backup_hours"]:
                yield problem(f"the last backup is {hours:.0f} h old", "make backup")
        if backups["archiving"] is False:
            yield problem(
                "WAL does not reach the repository of backups", f"{self.kubectl} logs -l app=postgres --tail=20"
            )

    def alerts(self) -> Iterator[dict[str, Any]]:
        every = "kubectl exec prometheus-0 -- promtool query instant http://localhost:9090 ALERTS"
        for alert in self.state["alerts"] or []:
            what = f"alert {alert['name']} since {alert['since'][11:16]} UTC: {alert['summary']}"
            # Rules know neither the namespace nor the inventory.
            command = (alert["command"] or every).replace("kubectl", self.kubectl, 1)
            command = command.replace("make deploy", self.deploy, 1)
            yield problem(what, command) if alert["severity"] == "critical" else notice(what, command)

    def unread(self) -> Iterator[dict[str, Any]]:
        for part, why in self.state["unread"].items():
            yield notice(f"{part} could not be read: {why}", f"{self.kubectl} auth can-i --list")


def problem(what: str, command: str) -> dict[str, Any]:
    return {"what": what, "command": command, "urgent": True}


def notice(what: str, command: str) -> dict[str, Any]:
    return {"what": what, "command": command, "urgent": False}


def stack_problems(state: State, limits: dict[str, Any], deploy: str) -> list[dict[str, Any]]:
    """See DOCUMENTATION above."""
    return Judge(state, limits, deploy).problems()
