"""Read the state of a running stack: what its users meet, what runs, and what it depends on."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from kubernetes.client.exceptions import ApiException

from stack.alerting import WATCHDOG, notifications
from stack.cluster import READ_ERRORS, Cluster, reason
from stack.status import front_door
from stack.status.objects import (
    autoscaler,
    budget,
    certificates,
    count_requests,
    cronjob,
    filesystem,
    images_since,
    job,
    missing,
    node,
    pod_state,
    without_pods,
    workload,
)
from stack.status.parts import DEADLINE_S, Waiting, side_by_side
from stack.updates import ASKED, RECORD

# The time between the two readings of the service's counters, at the least.
SAMPLE_S = 1.0
# A pod that does not answer for so long is given up, so that another one of its kind can still be asked.
POD_S = 2.0
# Seconds for what users meet where a node is lost, by which they may be led.
LOST_S = 3.0
# Seconds for each part that a pod tells where all nodes are ready: one that is late is on a busy machine.
PATIENT_S = 10.0
METRICS_PORT = 9464
PATRONI_PORT = 8008
PROMETHEUS_PORT = 9090
ALERTMANAGER_PORT = 9093
# The annotation that playbooks/restore.yml leaves.
RESTORED = "flask-postgres-stack/restored"
# The CronJob that tests restores, and the ConfigMap of its results.
RESTORE_TEST = "postgres-restore-test"
PSQL = 'psql -U "$POSTGRES_USER" -XAt'
PRIMARY = """
SELECT json_build_object(
  'archiving', (SELECT coalesce(last_failed_time < last_archived_time, last_failed_time IS NULL) FROM pg_stat_archiver),
  'connections', (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
  'connections_limit', current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
  'damaged_pages', (SELECT coalesce(sum(checksum_failures), 0) FROM pg_stat_database),
  'recovering', pg_is_in_recovery(),
  'oldest_transaction', (SELECT max(age(datfrozenxid)) FROM pg_database),
  'read_only', (
    SELECT coalesce(json_agg(place ORDER BY place), '[]') FROM (
      SELECT CASE WHEN d.datname IS NULL AND r.rolname IS NULL THEN 'every session'
        ELSE concat_ws(' of ', 'login ' || r.rolname, 'database ' || d.datname) END AS place
      FROM pg_db_role_setting s
      LEFT JOIN pg_database d ON d.oid = s.setdatabase LEFT JOIN pg_roles r ON r.oid = s.setrole
      WHERE s.setconfig && ARRAY['default_transaction_read_only=on', 'default_transaction_read_only=true']
      UNION ALL
      SELECT 'every session' FROM pg_settings
      WHERE name = 'default_transaction_read_only' AND reset_val = 'on'
        AND source IN ('configuration file', 'command line')
    ) AS places)
)"""
# Of each database: the version of the collation that it was made with, and that of the system now; NULL for one without
# versions, such as C, whose order never changes.
COLLATIONS = """
WITH others AS (
  SELECT c.oid FROM pg_collation c
  WHERE c.collversion <> pg_collation_actual_version(c.oid))
SELECT json_build_object(
  'database', d.datname, 'recorded', d.datcollversion, 'actual', pg_database_collation_actual_version(d.oid),
  'collations', (SELECT count(*) FROM others),
  -- What is made after the system's own begins with this number.
  'collations_used', (SELECT count(*) FROM others WHERE EXISTS (
    SELECT FROM pg_attribute a WHERE a.attcollation = others.oid AND a.attrelid >= 16384)))
FROM pg_database d WHERE d.datname = current_database()"""
DATABASES = "SELECT datname FROM pg_database WHERE datallowconn"
EACH_DATABASE = (
    f'{PSQL} -d postgres -c "{DATABASES}" | while IFS= read -r name;'
    f' do PGDATABASE="$name" {PSQL} -c "$0" < /dev/null; done'
)
# As pgAdmin connects (roles/pgadmin/files/gunicorn.conf.py), and as the service's pods do, where they have psql.
CONSOLE_CONNECTS = """
cd /run/secrets/pgadmin-db && exec "$(ls -d /usr/local/pgsql-*/psql | tail -n 1)" -XAtc 'SELECT 1' \
  "service=postgres host=$(cat DB_HOST) user=$(cat DB_USER) dbname=$(cat DB_NAME) connect_timeout=4"
"""
SERVICE_CONNECTS = """
command -v psql > /dev/null || exit 0
PGPASSWORD=$DB_PASSWORD exec psql -XAtc 'SELECT 1' \
  "host=$DB_HOST port=${DB_PORT:-5432} user=$DB_USER dbname=$DB_NAME connect_timeout=4"
"""
NAMES_ONLY = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"


class Reader:
    """Reads all parts at once; a part that cannot be read is noted and leaves the others alone.

    Args:
        cluster: The cluster, with the namespace of the stack.
        door: Where users reach the stack, as playbooks/vars/front_door.yml has it.
    """

    def __init__(self, cluster: Cluster, door: Mapping[str, Any]) -> None:
        self.cluster = cluster
        self.door = door
        self.unread: dict[str, str] = {}
        self.pods: list[dict[str, Any]] = []
        self.specs: dict[str, dict[str, Any]] = {}
        self.lost: set[str] = set()
        self.leader = ""

    def read(self) -> dict[str, Any]:
        """The state as a document.

        Raises:
            Exception: One of READ_ERRORS, where the cluster does not even say which pods there are.
        """
        get = self.cluster.items
        first: dict[str, Callable[[], Any]] = {
            "version": lambda: json.loads(self.cluster.get("/version"))["gitVersion"],
            "clock": self.cluster.seconds_ahead,
            "pods": lambda: get("api/v1", "pods"),
            "deployments": lambda: get("apis/apps/v1", "deployments"),
            "statefulsets": lambda: get("apis/apps/v1", "statefulsets"),
            "jobs": lambda: get("apis/batch/v1", "jobs"),
            "cronjobs": lambda: get("apis/batch/v1", "cronjobs"),
            "autoscalers": lambda: get("apis/autoscaling/v2", "horizontalpodautoscalers"),
            "claims": lambda: get("api/v1", "persistentvolumeclaims"),
            "certificates": lambda: get("api/v1", "secrets", "?fieldSelector=type%3Dkubernetes.io/tls"),
            "secrets": lambda: self._names("secrets"),
            "configmaps": lambda: self._names("configmaps"),
            "replicasets": lambda: get("apis/apps/v1", "replicasets"),
            "controllerrevisions": lambda: get("apis/apps/v1", "controllerrevisions"),
            "budgets": lambda: get("apis/policy/v1", "poddisruptionbudgets"),
            "services": lambda: get("api/v1", "services"),
            # Not everybody may read these.
            "endpoints": lambda: self._if_allowed(lambda: get("apis/discovery.k8s.io/v1", "endpointslices")),
            "nodes": lambda: self._if_allowed(lambda: json.loads(self.cluster.get("/api/v1/nodes"))["items"]),
        }
        users = Waiting({"front door": lambda: front_door.look(self.cluster, self.door, list(front_door.CONCERNS))})
        found, errors = side_by_side(first, READ_ERRORS)
        for essential in ("pods", "deployments", "statefulsets"):
            if essential in errors:
                raise errors[essential]
        self.unread = {name: reason(error) for name, error in errors.items()}
        nodes = [node(item) for item in found.get("nodes") or []]
        self.lost = {each["name"] for each in nodes if not each["ready"]}
        self.leader = found.get("configmaps", {}).get("postgres-leader", {}).get("leader", "")
        ahead = found.get("clock", 0.0)
        # As the cluster has it: what counts is who accepts a certificate there.
        now = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=ahead)
        self.pods = [pod_state(pod) for pod in found["pods"]]
        self.specs = {pod["metadata"]["name"]: pod["spec"] for pod in found["pods"]}
        templates = {
            f"{kind}/{item['metadata']['name']}": item
            for kind in ("deployment", "statefulset")
            for item in found[f"{kind}s"]
        }
        backups_annotations = found.get("configmaps", {}).get("postgres-backup", {})
        second: dict[str, Callable[[], Any]] = {
            "requests": self._requests,
            "database": self._database,
            "primary": self._primary,
            "collations": self._collations,
            "backups": lambda: self._backups(backups_annotations.get(RESTORED)),
            "restore test": lambda: self._restore_test(found.get("cronjobs", [])),
            "alerts": self._alerts,
            "delivery of alerts": self._delivery,
            "pgAdmin's connection": lambda: self._connects("pgadmin", CONSOLE_CONNECTS),
            "the service's connection": lambda: self._connects("flask-app", SERVICE_CONNECTS),
        }
        mounts = self._mounts()
        for claim in found.get("claims", []):
            if (name := claim["metadata"]["name"]) in mounts:
                second[f"volume {name}"] = partial(self._fill, *mounts[name])
        later, errors = side_by_side(second, READ_ERRORS, self._seconds)
        # It has a deadline of its own, the same one, and reads from the cluster before.
        seen, unseen = users.results(READ_ERRORS, LOST_S if self.lost else front_door.DEADLINE_S + 1)
        errors |= unseen
        self.unread.update({name: reason(error) for name, error in errors.items() if name not in self.unread})
        database, primary = later.get("database"), later.get("primary")
        if database:
            database["primary"] = primary
        backups = later.get("backups")
        if backups:
            # Whether the last WAL segment that was archived came after the last that could not be.
            backups["archiving"] = primary and primary["archiving"]
        names = {kind: found[key] for kind, key in (("Secret", "secrets"), ("ConfigMap", "configmaps")) if key in found}
        if "claims" in found:
            names["PersistentVolumeClaim"] = {claim["metadata"]["name"] for claim in found["claims"]}
        pods_of = {name: item["spec"]["template"]["spec"] for name, item in templates.items()}
        for item in found.get("cronjobs", []):
            pods_of[f"cronjob/{item['metadata']['name']}"] = item["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        return {
            "time": now.isoformat(timespec="seconds"),
            "clock_seconds_ahead": round(ahead, 1) if "clock" in found else None,
            "kubernetes": found.get("version"),
            "front_door": seen.get("front door"),
            "workloads": [workload(item, name.partition("/")[0], self.pods) for name, item in templates.items()],
            "pods": [{key: pod[key] for key in pod if key != "labels"} for pod in self.pods],
            "jobs": [job(item) for item in found.get("jobs", [])],
            "cronjobs": [cronjob(item) for item in found.get("cronjobs", [])],
            "images": self._images(found, pods_of),
            "autoscalers": [autoscaler(item) for item in found.get("autoscalers", [])],
            "nodes": nodes,
            "budgets": [budget(item) for item in found.get("budgets", [])],
            "missing": list(missing(pods_of, names)),
            "services_without_pods": (
                without_pods(found["services"], found["endpoints"])
                if "services" in found and found.get("endpoints") is not None
                else []
            ),
            "database": database,
            "collations": later.get("collations"),
            "connections": {
                "pgadmin": later.get("pgAdmin's connection"),
                "flask-app": later.get("the service's connection"),
            },
            "certificates": list(certificates(found["certificates"], now)) if "certificates" in found else None,
            "backups": backups,
            "restore_test": later.get("restore test"),
            "alerts": later.get("alerts"),
            "delivery": later.get("delivery of alerts"),
            "volumes": self._volumes(found["claims"], mounts, later) if "claims" in found else None,
            "requests": later.get("requests"),
            "unread": self.unread,
        }

    @staticmethod
    def _images(found: Mapping[str, Any], pods_of: Mapping[str, Any]) -> dict[str, Any]:
        """Since when the images run, and when it was last asked whether there are newer ones."""
        used = {
            container["image"]
            for pod in pods_of.values()
            for container in [*(pod.get("initContainers") or []), *pod["containers"]]
        }
        # What is in a list does not say its kind.
        revisions = [
            {**item, "kind": kind}
            for kind in ("ReplicaSet", "ControllerRevision")
            for item in found.get(f"{kind.lower()}s", [])
        ]
        record = found.get("configmaps", {}).get(RECORD.partition("/")[2], {})
        return {"since": images_since(revisions, used), "asked": record.get(ASKED)}

    def _names(self, kind: str) -> dict[str, dict[str, str]]:
        """The annotations of all objects of a kind by their name, and nothing of their values."""
        path = f"/api/v1/namespaces/{self.cluster.namespace}/{kind}"
        found = json.loads(self.cluster.get(path, accept=NAMES_ONLY))["items"] or []
        return {item["metadata"]["name"]: item["metadata"].get("annotations") or {} for item in found}

    @staticmethod
    def _if_allowed(read: Callable[[], Any]) -> Any:
        """None where the account has no right to it, or the cluster no such kind."""
        try:
            return read()
        except ApiException as error:
            if error.status in (403, 404):
                return None
            raise

    @property
    def _seconds(self) -> float:
        return DEADLINE_S if self.lost else PATIENT_S

    def _running(self, label: str, value: str) -> list[str]:
        """The pods with a label that run on a node that is not lost, those that are ready first."""
        found = [
            pod
            for pod in self.pods
            if pod["labels"].get(label) == value and pod["phase"] == "Running" and not pod["leaving"]
            and pod["node"] not in self.lost
        ]  # fmt: skip
        return [pod["name"] for pod in sorted(found, key=lambda pod: not pod["ready"])]

    def _metrics(self) -> dict[str, str]:
        """What each pod of the service says of itself; a service need not have metrics, so it may say nothing."""
        asked: dict[str, Callable[[], Any]] = {
            pod: partial(self.cluster.ask, pod, METRICS_PORT, "/metrics", POD_S)
            for pod in self._running("app", "flask-app")
        }
        return side_by_side(asked, READ_ERRORS, POD_S)[0]

    def _requests(self) -> dict[str, Any] | None:
        began = time.monotonic()
        before = self._metrics()
        if not before:
            return None
        time.sleep(max(0.0, SAMPLE_S - (time.monotonic() - began)))
        after = {pod: text for pod, text in self._metrics().items() if pod in before}
        seconds = time.monotonic() - began
        total, errors = count_requests(list(after.values()))
        total_before, errors_before = count_requests([before[pod] for pod in after])
        return {
            "total": int(total),
            "errors": int(errors),
            "error_share": errors / total if total else 0.0,
            "seconds": round(seconds, 1),
            "per_second": round((total - total_before) / seconds, 1),
            "errors_now": int(errors - errors_before),
        }

    def _database(self) -> dict[str, Any] | None:
        failed: Exception | None = None
        for pod in self._running("app", "postgres"):
            try:
                own, cluster, settings = (
                    json.loads(self.cluster.ask(pod, PATRONI_PORT, path, POD_S))
                    for path in ("/patroni", "/cluster", "/config")
                )
            except READ_ERRORS as error:
                failed = error
                continue
            version = own.get("server_version", 0)
            return {
                "postgresql": f"{version // 10000}.{version % 10000}" if version else None,
                "patroni": own["patroni"]["version"],
                "synchronous": bool(settings.get("synchronous_mode")),
                "paused": bool(cluster.get("pause")),
                "members": [
                    {
                        "name": member["name"],
                        "role": {"leader": "primary", "sync_standby": "replica", "quorum_standby": "replica"}.get(
                            member["role"], member["role"]
                        ),
                        "synchronous": member["role"] in ("sync_standby", "quorum_standby"),
                        "state": member["state"],
                        "timeline": member.get("timeline"),
                        "lag_bytes": member["lag"] if isinstance(member.get("lag"), int) else None,
                        "restart_pending": bool(member.get("pending_restart")),
                        "tags": sorted(name for name, value in (member.get("tags") or {}).items() if value),
                    }
                    for member in cluster["members"]
                ],
            }
        if failed:
            raise failed
        return None

    def _backups(self, restored: str | None) -> dict[str, Any] | None:
        """What the repository of pgBackRest holds; `restored` is when playbooks/restore.yml last restored one of it."""
        if not any(pod["labels"].get("app") == "postgres-backup" for pod in self.pods):
            return None
        pod = next(iter(self._running("app", "postgres-backup")), None)
        if pod is None:
            raise OSError("the repository does not run")
        container = self.specs[pod]["containers"][0]["name"]
        info = self.cluster.run(
            pod, container, "pgbackrest", "--log-level-console=off", "info", "--output=json", seconds=self._seconds
        )
        (stanza, *_) = json.loads(info)
        backups = sorted(stanza.get("backup", []), key=lambda backup: int(backup["timestamp"]["stop"]))
        last = backups[-1] if backups else None
        return {
            "status": stanza["status"]["message"],
            "ok": stanza["status"]["code"] == 0,
            "count": len(backups),
            "last": last and {
                "label": last["label"],
                "type": last["type"],
                "time": datetime.datetime.fromtimestamp(last["timestamp"]["stop"], datetime.UTC).isoformat(),
                "bytes": last["info"]["size"],
                "damaged": bool(last.get("error")),
            },
            "restored": restored,
        }  # fmt: skip

    def _restore_test(self, cronjobs: list[dict[str, Any]]) -> dict[str, Any] | None:
        """The last test of a restore, and since when there are any; None where there are none."""
        found = next((item for item in cronjobs if item["metadata"]["name"] == RESTORE_TEST), None)
        if found is None:
            return None
        path = f"/api/v1/namespaces/{self.cluster.namespace}/configmaps/{RESTORE_TEST}"
        data = json.loads(self.cluster.get(path)).get("data") or {}
        last = json.loads(data["result.json"]) if "result.json" in data else None
        return {"since": found["metadata"]["creationTimestamp"], "last": last}

    def _alerts(self) -> list[dict[str, Any]] | None:
        """The alerts that are firing, by Prometheus, where there is one."""
        if not any(pod["labels"].get("app") == "prometheus" for pod in self.pods):
            return None
        pod = next(iter(self._running("app", "prometheus")), None)
        if pod is None:
            raise OSError("Prometheus does not run")
        found = json.loads(self.cluster.ask(pod, PROMETHEUS_PORT, "/api/v1/alerts", self._seconds))["data"]["alerts"]
        return [
            {
                "name": alert["labels"]["alertname"],
                "severity": alert["labels"].get("severity"),
                "since": alert["activeAt"],
                "summary": alert["annotations"].get("summary", alert["labels"]["alertname"]),
                "command": alert["annotations"].get("command"),
                "runbook": alert["annotations"].get("runbook_url"),
            }
            for alert in found
            if alert["state"] == "firing" and alert["labels"]["alertname"] != WATCHDOG
        ]

    def _delivery(self) -> dict[str, Any] | None:
        """What Alertmanager has sent since it started, where there is one."""
        if not any(pod["labels"].get("app") == "alertmanager" for pod in self.pods):
            return None
        pod = next(iter(self._running("app", "alertmanager")), None)
        if pod is None:
            raise OSError("Alertmanager does not run")
        found = json.loads(self.cluster.ask(pod, ALERTMANAGER_PORT, "/api/v2/silences", self._seconds))
        active = [silence["comment"] for silence in found if silence["status"]["state"] == "active"]
        metrics = self.cluster.ask(pod, ALERTMANAGER_PORT, "/metrics", self._seconds)
        return {**notifications(metrics), "silenced": list(dict.fromkeys(active))}

    def _leader(self) -> str | None:
        """The pod of the primary, by Patroni's own record: a pod that nobody can reach keeps its label."""
        return self.leader if self.leader in self._running("app", "postgres") else None

    def _primary(self) -> dict[str, Any] | None:
        """What only the primary knows, which has a connection left for the superuser when all others are in use."""
        if (primary := self._leader()) is None:
            return None
        answer = self.cluster.run(
            primary, "postgres", "sh", "-c", f'exec {PSQL} -d postgres -c "$0"', PRIMARY, seconds=self._seconds
        )
        found: dict[str, Any] = json.loads(answer)
        return found

    def _collations(self) -> list[dict[str, Any]] | None:
        """The versions of each database's collations."""
        if (primary := self._leader()) is None:
            return None
        answer = self.cluster.run(primary, "postgres", "sh", "-c", EACH_DATABASE, COLLATIONS, seconds=self._seconds)
        return [json.loads(line) for line in answer.splitlines()]

    def _connects(self, app: str, script: str) -> str | None:
        """Why a pod's own login gets no new connection to the database, empty for nothing; None where no pod tells."""
        running = self._running("app", app)
        ready = [pod["name"] for pod in self.pods if pod["name"] in running and pod["ready"]]
        if not ready:
            return None
        container = self.specs[ready[0]]["containers"][0]["name"]
        code, _, errors = self.cluster.execute(ready[0], container, "sh", "-c", script, seconds=self._seconds)
        if code == 0:
            return ""
        # 126 and 127 are an image without the programs, which says nothing of the database.
        if code is None or code in (126, 127):
            return None
        return " ".join(errors.split()) or f"psql ended with {code}"

    def _mounts(self) -> dict[str, tuple[str, str, str]]:
        """The pod, container and path where each claim is mounted."""
        mounts = {}
        for pod in self.pods:
            spec = self.specs[pod["name"]]
            claims = {
                volume["name"]: volume["persistentVolumeClaim"]["claimName"]
                for volume in spec.get("volumes", [])
                if "persistentVolumeClaim" in volume
            }
            for container in spec["containers"]:
                for mount in container.get("volumeMounts", []):
                    if mount["name"] in claims and pod["phase"] == "Running" and pod["node"] not in self.lost:
                        place = (pod["name"], container["name"], mount["mountPath"])
                        mounts[claims[mount["name"]]] = place
        return mounts

    @staticmethod
    def _volumes(
        claims: list[dict[str, Any]], mounts: dict[str, tuple[str, str, str]], fills: dict[str, Any]
    ) -> list[dict[str, Any]]:
        unknown = {"filesystem_bytes": None, "used_bytes": None, "fill": None}
        return [
            {
                "claim": name,
                "phase": claim["status"]["phase"],
                "size": claim["status"].get("capacity", {}).get("storage"),
                **fills.get(f"volume {name}", unknown),
                "mounted_by": mounts[name][0] if name in mounts else None,
            }
            for claim in claims
            for name in [claim["metadata"]["name"]]
        ]

    def _fill(self, pod: str, container: str, path: str) -> dict[str, Any]:
        """How full the file system of a volume is; what a folder of the node's disk has is that disk's."""
        size, used, free = filesystem(self.cluster.run(pod, container, "df", "-Pk", path, seconds=self._seconds))
        return {"filesystem_bytes": size, "used_bytes": used, "fill": round(used / (used + free), 3)}
