"""What is wrong with a state that stack_state has read, each with the next command to run."""

from __future__ import annotations

import datetime
import re
import shlex
from collections.abc import Collection, Iterator
from typing import Any

from stack.clock import difference

# Transactions that an old row may be behind before PostgreSQL takes no more of them: some 2.1 billion.
WRAPAROUND = 1_500_000_000
# Seconds that a pod may take to end, beyond what it was granted.
LEAVING_S = 300
# Which of the stack's Services somebody depends on.
SERVICES = ("flask-app", "pgadmin", "postgres", "postgres-backup", "postgres-pooler")

State = dict[str, Any]

# Who deploys some parts alone has no use for these; a volume tells one that has gone from one that never was.
OWN_CLAIMS = {"deployment/pgadmin": "pgadmin-data", "statefulset/prometheus": "data-prometheus-0"}


class Judge:
    """Finds what is wrong, the part that others depend on first."""

    def __init__(self, state: State, limits: dict[str, Any], deploy: str, wanted: Collection[str]) -> None:
        self.state = state
        self.limits = {name: float(value) for name, value in limits.items()}
        self.deploy = deploy
        self.wanted = wanted
        self.kubectl = f"kubectl -n {state['namespace']}"
        # As the cluster has it.
        self.now = datetime.datetime.fromisoformat(state["time"]) if "time" in state else None

    def problems(self) -> list[dict[str, Any]]:
        if "unreachable" in self.state:
            at = f" at {self.state['server']}" if "server" in self.state else ""
            what = f"the cluster of context {self.state['context']}{at} cannot be read: {self.state['unreachable']}"
            return [problem(what, self.deploy)]
        if not self.state["workloads"]:
            return [problem(f"there is no stack in namespace {self.state['namespace']}", self.deploy)]
        parts = (
            self.front_door, self.nodes, self.workloads, self.missing, self.pods, self.budgets, self.jobs,
            self.autoscalers, self.database, self.connections, self.collations, self.requests, self.volumes,
            self.certificates, self.backups, self.restore_test, self.alerts, self.clock, self.unread,
        )  # fmt: skip
        return sorted((found for part in parts for found in part()), key=lambda found: not found["urgent"])

    def is_seen(self) -> bool:
        """Whether the stack has answered as its users ask it, and nothing was left unread."""
        front = self.state.get("front_door")
        return bool(
            front
            and front["answers"]
            and not any(answer["unasked"] for answer in front["answers"])
            and not self.state["unread"]
        )

    def minutes_since(self, time: str) -> float:
        assert self.now is not None
        return (self.now - datetime.datetime.fromisoformat(time)).total_seconds() / 60

    def front_door(self) -> Iterator[dict[str, Any]]:
        """What users meet."""
        front = self.state["front_door"]
        if front is None:
            return
        apps = {"app": "flask-app", "pgadmin": "pgadmin"}
        where = f" at {front['address']}" if front["address"] else ""
        for answer in front["answers"]:
            app = apps[answer["part"]]
            host = answer["url"].split("/")[2]
            resolve = f" --resolve {host}:{front['port']}:{front['address']}" if front["address"] else ""
            call = f"curl -v{resolve} {answer['url']}"
            if answer["unasked"]:
                yield notice(f"{answer['url']}{where} could not be asked: {answer['unasked']}", call)
            elif answer["wrong"]:
                what = f"users get no answer of {answer['url']}{where}: {answer['wrong']}"
                if answer["status"] is None:
                    yield problem(what, call)
                elif answer["status"] == 404:
                    yield problem(what, f"{self.kubectl} describe {front['routes']} -l app={app}")
                else:
                    yield problem(what, f"{self.kubectl} logs -l app={app} --tail=20")
            elif answer["issuer_unknown"]:
                yield notice(
                    f"{host} shows the certificate in tls-secret, whose issuer this machine does not trust", call
                )

    def workloads(self) -> Iterator[dict[str, Any]]:
        there = {workload["name"] for workload in self.state["workloads"]}
        claims = {volume["claim"] for volume in self.state["volumes"] or []}
        for name in self.wanted:
            if name in there:
                continue
            if name in OWN_CLAIMS and OWN_CLAIMS[name] not in claims:
                yield notice(f"{name} was not deployed", self.deploy)
            else:
                yield problem(f"there is no {name}", self.deploy)
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
            if workload["paused"]:
                yield notice(f"{name} is paused: no change is rolled out", f"{self.kubectl} rollout resume {name}")
        full = [workload["name"].partition("/")[2] for workload in self.state["workloads"] if workload["ready"]]
        for name in self.state["services_without_pods"]:
            if name in SERVICES and name in full:
                look = f"{self.kubectl} describe service {name}"
                yield problem(f"service {name} leads to none of the pods that are ready", look)

    def missing(self) -> Iterator[dict[str, Any]]:
        """What pods that run have taken up and those that start next do not find."""
        for found in self.state["missing"]:
            what = f"{found['kind']} {found['name']} is missing: no new pod of {found['by']} starts without it"
            yield problem(what, self.deploy)

    def nodes(self) -> Iterator[dict[str, Any]]:
        """Lost nodes, each with what ran there and does not come up elsewhere."""
        for node in self.state["nodes"]:
            look = f"kubectl describe node {node['name']}"
            there = [pod for pod in self.state["pods"] if pod["node"] == node["name"] and pod["phase"] == "Running"]
            if not node["ready"] and there:
                names = ", ".join(pod["name"] for pod in there)
                yield problem(f"node {node['name']} is not ready, and so are its pods: {names}", look)
                if bound := [pod["name"] for pod in there if pod["bound"]]:
                    what = f"no other node takes over from {node['name']}: {', '.join(bound)}; if it is lost for good"
                    again = self.deploy.replace("make deploy", f"make replace-node NODE={node['name']}", 1)
                    yield notice(what, again)
            elif not node["ready"]:
                yield notice(f"node {node['name']} is not ready", look)
            for pressure in node["pressure"]:
                yield problem(f"node {node['name']} has {pressure}: its pods may be ended", look)
            if node["cordoned"]:
                what = f"node {node['name']} is cordoned: no pod starts on it"
                yield notice(what, f"kubectl uncordon {node['name']}")

    def budgets(self) -> Iterator[dict[str, Any]]:
        """What holds a drain up."""
        for found in self.state["budgets"]:
            if found["pods"] and not found["may_move"] and found["ready"] < found["pods"]:
                what = (
                    f"{found['ready']} of {found['pods']} pods of {found['name']} are ready, and none of these may be"
                    " moved: a drain of their nodes waits until the others are back"
                )
                yield notice(what, f"{self.kubectl} describe poddisruptionbudget {found['name']}")

    def jobs(self) -> Iterator[dict[str, Any]]:
        for found in self.state["cronjobs"]:
            if found["suspended"]:
                resume = f'{self.kubectl} patch cronjob {found["name"]} -p \'{{"spec": {{"suspend": false}}}}\''
                yield problem(f"cronjob {found['name']} is suspended: it starts nothing", resume)
        for found in self.state["jobs"]:
            look = f"{self.kubectl} logs job/{found['name']}"
            if found["failed"] and not any(self._supersedes(later, found) for later in self.state["jobs"]):
                yield problem(f"job {found['name']} has failed ({found['failed']}), and none after it has not", look)
            elif found["failed"]:
                yield notice(f"job {found['name']} has failed ({found['failed']}); one after it has not", look)
            elif found["failed_pods"] and not found["complete"]:
                yield notice(f"job {found['name']} goes on after {found['failed_pods']} failed pods", look)

    @staticmethod
    def _supersedes(later: dict[str, Any], failed: dict[str, Any]) -> bool:
        """Whether a Job has done what one before it had failed at; a full backup does what an incremental one does."""
        if not later["complete"] or later["created"] <= failed["created"] or later["app"] != failed["app"]:
            return False
        return bool(later["cronjob"] == failed["cronjob"] or failed["cronjob"] == "postgres-backup-incr")

    def autoscalers(self) -> Iterator[dict[str, Any]]:
        for found in self.state["autoscalers"]:
            look = f"{self.kubectl} describe horizontalpodautoscaler {found['name']}"
            if found["blind"]:
                what = (
                    f"the autoscaler of {found['name']} cannot tell how many pods it takes: {shortened(found['blind'])}"
                )
                yield notice(what, look)
            elif found["limited"]:
                yield notice(
                    f"{found['name']} has all {found['most']} pods that it may have, and would take more", look
                )

    def pods(self) -> Iterator[dict[str, Any]]:
        jobs = {job["name"] for job in self.state["jobs"]}
        for pod in self.state["pods"]:
            if pod["phase"] == "Failed" and pod["job"] not in jobs:
                why = f": {pod['reason']}" if pod["reason"] else ""
                yield problem(f"pod {pod['name']} has failed{why}", f"{self.kubectl} logs {pod['name']}")
            elif pod["leaving"] and self.minutes_since(pod["leaving_since"]) * 60 > LEAVING_S:
                minutes = self.minutes_since(pod["leaving_since"])
                what = f"pod {pod['name']} should have ended {minutes:.0f} min ago"
                yield notice(what, f"{self.kubectl} describe pod {pod['name']}")
            elif (
                pod["last_restart"]
                and (ago := self.minutes_since(pod["last_restart"])) < self.limits["restart_minutes"]
            ):
                what = f"pod {pod['name']} restarted {ago:.0f} min ago ({pod['last_restart_reason']})"
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
        if len(members) < wanted["ready"]:
            what = f"Patroni knows {len(members)} of {wanted['ready']} instances that are ready"
            yield problem(what, look)
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
            for tag in member["tags"]:
                if tag in ("nofailover", "nosync"):
                    yield notice(f"{member['name']} has the tag {tag}: it cannot stand in for the primary", look)

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
        if primary.get("recovering"):
            yield problem(
                "the pod that has the label of the primary is a replica: nothing can be written",
                f"{self.kubectl} exec statefulset/postgres -- patronictl list",
            )
        for place in primary.get("read_only") or []:
            ask = "SELECT setdatabase, setrole::regrole, setconfig FROM pg_db_role_setting"
            yield problem(f"default_transaction_read_only is on for {place}: nothing can be written", f'{psql} "{ask}"')
        if primary.get("oldest_transaction", 0) > WRAPAROUND:
            ask = "SELECT datname, age(datfrozenxid) FROM pg_database ORDER BY 2 DESC"
            age = primary["oldest_transaction"] / 1e6
            what = f"the oldest transaction is {age:.0f} million ago, and at 2,147 million nothing can be written"
            yield problem(what, f'{psql} "{ask}"')

    def connections(self) -> Iterator[dict[str, Any]]:
        """Whether what is set for each login still opens the database, which open connections do not tell."""
        who = {"pgadmin": "pgAdmin", "flask-app": "the service"}
        for app, why in self.state["connections"].items():
            # Where all are in use, that is a line of its own.
            if why and "connection slots" not in why and "too many" not in why:
                yield problem(f"{who[app]} gets no new connection to the database: {shortened(why)}", self.deploy)

    def collations(self) -> Iterator[dict[str, Any]]:
        """Collations of another version than the system's, whose order an index may no longer have.

        https://www.postgresql.org/docs/current/sql-altercollation.html
        """
        for found in self.state["collations"] or []:
            name = found["database"]
            # In double quotes of the shell that runs in the pod.
            escaped = re.sub(r'(["$`\\])', r"\\\1", name)
            plain = re.fullmatch(r"[a-z_][a-z0-9_]*", name)
            quoted = name if plain else '\\"' + escaped.replace('\\"', '\\"\\"') + '\\"'
            psql = "psql -U $POSTGRES_USER -d " + (name if plain else f'"{escaped}"')
            run = f"{self.kubectl} exec service/postgres -- sh -c"
            if found["recorded"] is not None and found["actual"] is None:
                # Such as C, whose order never changes; PostgreSQL warns of it at each connection.
                what = f"database {name} has noted collation version {found['recorded']}, and its collation has none"
                text = escaped.replace("'", "''")
                # For people to read before they run it.
                forget = " ".join(("UPDATE pg_database", f"SET datcollversion = NULL WHERE datname = '{text}'"))
                again = f'psql -U $POSTGRES_USER -d postgres -c "{forget}"'
                yield notice(what, f"{run} {shlex.quote(again)}")
            elif found["recorded"] is not None and found["recorded"] != found["actual"]:
                what = (
                    f"database {name} is sorted by collation version {found['recorded']},"
                    f" and the system has {found['actual']}"
                )
                again = f'-c "REINDEX DATABASE {quoted}" -c "ALTER DATABASE {quoted} REFRESH COLLATION VERSION"'
                yield problem(what, f"{run} {shlex.quote(f'{psql} {again}')}")
            if found["collations"]:
                count = found["collations"]
                many = "1 collation" if count == 1 else f"{count} collations"
                verb = "is" if count == 1 else "are"
                what = f"{many} in database {name} {verb} of another version than the system's"
                each = (
                    "SELECT format(\\$\\$ALTER COLLATION %s REFRESH VERSION;\\$\\$, oid::regcollation)"
                    " FROM pg_collation WHERE collversion <> pg_collation_actual_version(oid)"
                )
                again = f'{psql} -c "REINDEX DATABASE {quoted}" && {psql} -XAtc "{each}" | {psql}'
                said = problem if found["collations_used"] else notice
                yield said(what, f"{run} {shlex.quote(again)}")

    def clock(self) -> Iterator[dict[str, Any]]:
        if said := difference(self.state["clock_seconds_ahead"] or 0.0):
            yield notice(f"{said}: what it dates is wrong by that much", "date -u")

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
            rotate = "make rotate WHAT=certificates" if found["own"] else replace
            if found["days"] is None:
                yield problem(f"the certificate in {name} cannot be read", replace)
            elif self.minutes_since(found["begins"]) < 0:
                later = -self.minutes_since(found["begins"])
                yield problem(f"the certificate in {name} is not valid yet: it begins in {later:.0f} min", rotate)
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
            hours = self.minutes_since(backups["last"]["time"]) / 60
            if hours > self.limits["backup_hours"]:
                yield problem(f"the last backup is {hours:.0f} h old", "make backup")
            if backups["last"]["damaged"]:
                yield problem(f"the last backup, {backups['last']['label']}, has damaged pages", look)
        if backups["archiving"] is False:
            yield problem(
                "WAL does not reach the repository of backups", f"{self.kubectl} logs -l app=postgres --tail=20"
            )

    def restore_test(self) -> Iterator[dict[str, Any]]:
        """Whether the backups can be restored, as far as it was tried."""
        if not (found := self.state["restore_test"]):
            return
        last = found["last"]
        if last and not last["ok"]:
            yield problem(f"the last backup could not be restored: {shortened(last['reason'])}", "make restore-test")
            return
        days = self.minutes_since(last["succeeded"] if last else found["since"]) / (24 * 60)
        if days > self.limits["restore_test_days"]:
            yield notice(f"for {days:.0f} days no restore was tested", "make restore-test")

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


def shortened(text: str, most: int = 100) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def judged(state: State, limits: dict[str, Any], deploy: str, wanted: Collection[str]) -> dict[str, Any]:
    """The state with what is wrong in it.

    Args:
        state: What stack_state has read.
        limits: What is still good, by name.
        deploy: The command that brings the stack to what the settings say.
        wanted: The workloads that the settings make, such as ``deployment/flask-app``.

    Returns:
        The state, and `problems`, each with `what`, `command` and `urgent`; `verdict`: `well`, `wrong`, or `unseen`
        where nothing is wrong in what could be asked and something could not; and `healthy`, true for `well`.
    """
    judge = Judge(state, limits, deploy, wanted)
    problems = judge.problems()
    wrong = any(found["urgent"] for found in problems)
    verdict = "wrong" if wrong else "well" if judge.is_seen() else "unseen"
    return {**state, "healthy": verdict == "well", "verdict": verdict, "problems": problems}
