"""Read the state of a running stack: what runs, its database, certificates, requests, volumes, backups and alerts."""

from __future__ import annotations

import base64
import contextlib
import datetime
import json
import re
import time
from collections.abc import Iterator
from typing import Any

from cryptography import x509

from stack.cluster import READ_ERRORS, Cluster, reason

# The time between the two readings of the service's counters, at the least.
SAMPLE_S = 1.0
METRICS_PORT = 9464
PATRONI_PORT = 8008
PROMETHEUS_PORT = 9090
REQUESTS = re.compile(r"^http_request_duration_seconds_count\{(?P<labels>[^}]*)\} (?P<count>\S+)$", re.MULTILINE)
# The annotation that playbooks/restore.yml leaves.
RESTORED = "flask-postgres-stack/restored"
STATUS_5XX = re.compile(r'\bstatus="5\d\d"')
PRIMARY = """
SELECT json_build_object(
  'archiving', (SELECT coalesce(last_failed_time < last_archived_time, last_failed_time IS NULL) FROM pg_stat_archiver),
  'connections', (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
  'connections_limit', current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
  'damaged_pages', (SELECT coalesce(sum(checksum_failures), 0) FROM pg_stat_database)
)"""


def workload(found: dict[str, Any], kind: str, pods: list[dict[str, Any]]) -> dict[str, Any]:
    selector = found["spec"]["selector"].get("matchLabels", {})
    own = [pod for pod in pods if selector.items() <= pod["labels"].items()]
    status = found.get("status", {})
    return {
        "name": f"{kind}/{found['metadata']['name']}",
        "selector": ",".join(f"{key}={value}" for key, value in selector.items()),
        "wanted": found["spec"].get("replicas", 1),
        "ready": status.get("readyReplicas", 0),
        "updated": status.get("updatedReplicas", 0),
        "images": [container["image"] for container in found["spec"]["template"]["spec"]["containers"]],
        "restarts": sum(pod["restarts"] for pod in own),
        "pods": [pod["name"] for pod in own],
        # Why there are no pods to ask, such as a quota.
        "refused": next(
            (
                condition.get("message", "")
                for condition in status.get("conditions", [])
                if condition["type"] == "ReplicaFailure" and condition["status"] == "True"
            ),
            None,
        ),
    }


def pod_state(found: dict[str, Any]) -> dict[str, Any]:
    status = found.get("status", {})
    containers = status.get("initContainerStatuses", []) + status.get("containerStatuses", [])
    waiting = [container["state"]["waiting"] for container in containers if "waiting" in container.get("state", {})]
    ended = [end for container in containers if (end := container.get("lastState", {}).get("terminated"))]
    unscheduled = [
        condition.get("message", "")
        for condition in status.get("conditions", [])
        if condition["type"] == "PodScheduled" and condition["status"] != "True"
    ]
    last: dict[str, Any] = max(ended, key=lambda end: end.get("finishedAt") or "", default={})
    return {
        "name": found["metadata"]["name"],
        "labels": found["metadata"].get("labels", {}),
        "app": found["metadata"].get("labels", {}).get("app"),
        "created": found["metadata"]["creationTimestamp"],
        "phase": status.get("phase", "Unknown"),
        "leaving": "deletionTimestamp" in found["metadata"],
        "ready": any(
            condition["type"] == "Ready" and condition["status"] == "True" for condition in status.get("conditions", [])
        ),
        "reason": next(
            filter(None, [*unscheduled, *(f"{w.get('reason', '')} {w.get('message', '')}".strip() for w in waiting)]),
            status.get("reason") or status.get("message") or "",
        ),
        "looping": any(state.get("reason") == "CrashLoopBackOff" for state in waiting),
        "restarts": sum(container.get("restartCount", 0) for container in containers),
        "last_restart": last.get("finishedAt"),
        "last_restart_reason": last.get("reason"),
    }


def certificates(secrets: list[dict[str, Any]], now: datetime.datetime) -> Iterator[dict[str, Any]]:
    """The certificates in Secrets of type kubernetes.io/tls; `own` are those of the stack's authority."""
    authority = None
    # The authority's comes first, to know what it has issued.
    for secret in sorted(secrets, key=lambda secret: secret["metadata"]["name"] != "stack-ca"):
        name = secret["metadata"]["name"]
        try:
            found = x509.load_pem_x509_certificate(base64.b64decode(secret["data"]["tls.crt"]))
        except (ValueError, KeyError):
            yield {"secret": name, "names": [], "ends": None, "days": None, "own": False}
            continue
        if name == "stack-ca":
            authority = found.subject
        try:
            names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            hosts = names.get_values_for_type(x509.DNSName)
        except x509.ExtensionNotFound:
            hosts = []
        ends = found.not_valid_after_utc
        yield {
            "secret": name,
            "names": hosts,
            "ends": ends.isoformat(),
            "days": (ends - now).days,
            "own": found.issuer == authority,
        }


def count_requests(texts: list[str]) -> tuple[float, float]:
    """Requests, and those of them that ended with a status of 500 or more, over all pods' metrics."""
    total = errors = 0.0
    for text in texts:
        for found in REQUESTS.finditer(text):
            total += float(found["count"])
            errors += float(found["count"]) if STATUS_5XX.search(found["labels"]) else 0.0
    return total, errors


class Reader:
    """Reads one part after the other; a part that cannot be read is noted and leaves the others alone."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.unread: dict[str, str] = {}
        self.pods: list[dict[str, Any]] = []
        self.specs: dict[str, dict[str, Any]] = {}
        self.primary: dict[str, Any] | None = None

    def read(self) -> dict[str, Any]:
        now = datetime.datetime.now(datetime.UTC)
        state: dict[str, Any] = {"time": now.isoformat(timespec="seconds")}
        state["kubernetes"] = json.loads(self.cluster.get("/version"))["gitVersion"]
        found = self.cluster.items("api/v1", "pods")
        self.pods = [pod_state(pod) for pod in found]
        self.specs = {pod["metadata"]["name"]: pod["spec"] for pod in found}
        before, began = self._metrics(), time.monotonic()
        state["workloads"] = [
            workload(item, kind, self.pods)
            for kind in ("deployment", "statefulset")
            for item in self.cluster.items("apis/apps/v1", f"{kind}s")
        ]
        state["pods"] = [{key: pod[key] for key in pod if key != "labels"} for pod in self.pods]
        state["database"] = self._part("database", self._database)
        self.primary = self._part("primary", self._primary)
        if state["database"]:
            state["database"]["primary"] = self.primary
        state["certificates"] = self._part(
            "certificates",
            lambda: list(
                certificates(self.cluster.items("api/v1", "secrets", "?fieldSelector=type%3Dkubernetes.io/tls"), now)
            ),
        )
        state["backups"] = self._part("backups", self._backups)
        state["alerts"] = self._part("alerts", self._alerts)
        state["volumes"] = self._part("volumes", lambda: list(self._volumes()))
        state["requests"] = None
        if before:
            time.sleep(max(0.0, SAMPLE_S - (time.monotonic() - began)))
            state["requests"] = self._requests(before, began)
        state["unread"] = self.unread
        return state

    def _part(self, name: str, read: Any) -> Any:
        try:
            return read()
        except READ_ERRORS as error:
            self.unread[name] = reason(error)
            return None

    def _running(self, label: str, value: str) -> list[str]:
        return [
            pod["name"]
            for pod in self.pods
            if pod["labels"].get(label) == value and pod["phase"] == "Running" and not pod["leaving"]
        ]

    def _metrics(self) -> dict[str, str]:
        """What each pod of the service says of itself; a service need not have metrics, so it may say nothing."""
        texts = {}
        for pod in self._running("app", "flask-app"):
            with contextlib.suppress(*READ_ERRORS):
                texts[pod] = self.cluster.ask(pod, METRICS_PORT, "/metrics")
        return texts

    def _requests(self, before: dict[str, str], began: float) -> dict[str, Any] | None:
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
        instances = self._running("app", "postgres")
        for pod in instances:
            try:
                own = json.loads(self.cluster.ask(pod, PATRONI_PORT, "/patroni"))
                cluster = json.loads(self.cluster.ask(pod, PATRONI_PORT, "/cluster"))
                settings = json.loads(self.cluster.ask(pod, PATRONI_PORT, "/config"))
            except READ_ERRORS as error:
                self.unread["database"] = reason(error)
                continue
            self.unread.pop("database", None)
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
                    }
                    for member in cluster["members"]
                ],
            }
        return None

    def _backups(self) -> dict[str, Any] | None:
        """What the repository of pgBackRest holds, and whether WAL reaches it."""
        if not any(pod["labels"].get("app") == "postgres-backup" for pod in self.pods):
            return None
        pod = next(iter(self._running("app", "postgres-backup")), None)
        if pod is None:
            raise OSError("the repository does not run")
        container = self.specs[pod]["containers"][0]["name"]
        info = self.cluster.run(pod, container, "pgbackrest", "--log-level-console=off", "info", "--output=json")
        (stanza, *_) = json.loads(info)
        backups = sorted(stanza.get("backup", []), key=lambda backup: int(backup["timestamp"]["stop"]))
        last = backups[-1] if backups else None
        (settings,) = self.cluster.items("api/v1", "configmaps", "?fieldSelector=metadata.name%3Dpostgres-backup")
        primary = self.primary
        return {
            "status": stanza["status"]["message"],
            "ok": stanza["status"]["code"] == 0,
            "count": len(backups),
            "last": last and {
                "label": last["label"],
                "type": last["type"],
                "time": datetime.datetime.fromtimestamp(last["timestamp"]["stop"], datetime.UTC).isoformat(),
                "bytes": last["info"]["size"],
            },
            # When one of them was last restored by playbooks/restore.yml, and answered.
            "restored": settings["metadata"].get("annotations", {}).get(RESTORED),
            # Whether the last WAL segment that was archived came after the last that could not be.
            "archiving": primary and primary["archiving"],
        }  # fmt: skip

    def _alerts(self) -> list[dict[str, Any]] | None:
        """The alerts that are firing, by Prometheus, where there is one."""
        if not any(pod["labels"].get("app") == "prometheus" for pod in self.pods):
            return None
        pod = next(iter(self._running("app", "prometheus")), None)
        if pod is None:
            raise OSError("Prometheus does not run")
        found = json.loads(self.cluster.ask(pod, PROMETHEUS_PORT, "/api/v1/alerts"))["data"]["alerts"]
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
            if alert["state"] == "firing"
        ]

    def _primary(self) -> dict[str, Any] | None:
        """What only the primary knows, which has a connection left for the superuser when all others are in use."""
        primaries = self._running("role", "primary")
        if not primaries:
            return None
        psql = 'exec psql -U "$POSTGRES_USER" -d postgres -XAtc "$0"'
        answer = self.cluster.run(primaries[0], "postgres", "sh", "-c", psql, PRIMARY)
        found: dict[str, Any] = json.loads(answer)
        return found

    def _volumes(self) -> Iterator[dict[str, Any]]:
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
                    if mount["name"] in claims and pod["phase"] == "Running":
                        place = (pod["name"], container["name"], mount["mountPath"])
                        mounts[claims[mount["name"]]] = place
        for claim in self.cluster.items("api/v1", "persistentvolumeclaims"):
            name = claim["metadata"]["name"]
            fill = self._part(f"volume {name}", lambda name=name: self._fill(*mounts[name])) if name in mounts else None
            yield {
                "claim": name,
                "phase": claim["status"]["phase"],
                "size": claim["status"].get("capacity", {}).get("storage"),
                **(fill or {"filesystem_bytes": None, "used_bytes": None, "fill": None}),
                "mounted_by": mounts[name][0] if name in mounts else None,
            }

    def _fill(self, pod: str, container: str, path: str) -> dict[str, Any]:
        """How full the file system of a volume is; what a folder of the node's disk has is that disk's."""
        size, used, free = (int(word) * 1024 for word in self.cluster.run(pod, container, "df", "-Pk", path)
                            .splitlines()[-1].split()[1:4])  # fmt: skip
        return {"filesystem_bytes": size, "used_bytes": used, "fill": round(used / (used + free), 3)}
