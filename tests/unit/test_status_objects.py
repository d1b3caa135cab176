"""What counts of objects as the API server has them."""

from __future__ import annotations

import base64
import datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from stack.status import objects

NOW = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)


def meta(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "creationTimestamp": "2026-03-01T08:00:00Z", **more}


POD = {
    "initContainers": [{"name": "first", "envFrom": [{"configMapRef": {"name": "init"}}]}],
    "containers": [
        {
            "name": "shop",
            "envFrom": [{"secretRef": {"name": "shop-db"}}, {"secretRef": {"name": "maybe", "optional": True}}],
            "env": [
                {"name": "A", "value": "1"},
                {"name": "B", "valueFrom": {"secretKeyRef": {"name": "shop-secret", "key": "b"}}},
                {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "shop-config", "key": "c", "optional": True}}},
                {"name": "D", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            ],
        }
    ],
    "volumes": [
        {"name": "tmp", "emptyDir": {}},
        {"name": "ca", "configMap": {"name": "ca-certificates"}},
        {"name": "tls", "secret": {"secretName": "shop-tls"}},
        {"name": "data", "persistentVolumeClaim": {"claimName": "shop-data"}},
        {"name": "all", "projected": {"sources": [{"secret": {"name": "token"}}, {"downwardAPI": {}}]}},
    ],
}


def test_what_a_pod_cannot_start_without() -> None:
    assert objects.needs(POD) == {
        ("ConfigMap", "init"), ("ConfigMap", "ca-certificates"), ("Secret", "shop-db"), ("Secret", "shop-secret"),
        ("Secret", "shop-tls"), ("Secret", "token"), ("PersistentVolumeClaim", "shop-data"),
    }  # fmt: skip


def test_a_pod_that_needs_nothing() -> None:
    assert objects.needs({"containers": [{"name": "alone"}], "volumes": None}) == set()


def test_what_is_missing_is_named_with_who_needs_it() -> None:
    there = {"Secret": {"shop-db", "shop-tls", "token"}, "ConfigMap": {"init", "ca-certificates"}}
    assert list(objects.missing({"deployment/shop": POD}, there)) == [
        {"kind": "Secret", "name": "shop-secret", "by": "deployment/shop"}
    ]


@pytest.mark.parametrize(
    ("endpoints", "alone"),
    [
        (None, ["shop"]),
        ([], ["shop"]),
        ([{"conditions": {"ready": False}}], ["shop"]),
        ([{"conditions": {"ready": True}}], []),
        # Unknown counts as ready (https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#conditions).
        ([{"conditions": {}}], []),
        ([{"conditions": {"ready": False}}, {"conditions": {"ready": True}}], []),
    ],
)
def test_a_service_that_leads_nowhere(endpoints: Any, alone: list[str]) -> None:
    services = [
        {"metadata": meta("shop"), "spec": {"selector": {"app": "shop"}, "clusterIP": "10.0.0.1"}},
        {"metadata": meta("shop-pods"), "spec": {"selector": {"app": "shop"}, "clusterIP": "None"}},
        {"metadata": meta("elsewhere"), "spec": {"clusterIP": "10.0.0.2"}},
    ]
    slices = [{"metadata": meta("shop-1", labels={"kubernetes.io/service-name": "shop"}), "endpoints": endpoints}]
    assert objects.without_pods(services, slices) == alone
    assert objects.without_pods(services, []) == ["shop"]


def test_a_job_that_ran_out_of_time() -> None:
    """Its pods are gone, so that it alone tells."""
    found = objects.job(
        {
            "metadata": meta("b-1", labels={"app": "b"}, ownerReferences=[{"kind": "CronJob", "name": "b"}]),
            "status": {"failed": 1, "conditions": [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}]},
        }
    )
    assert (found["failed"], found["complete"], found["cronjob"], found["app"]) == ("DeadlineExceeded", False, "b", "b")


@pytest.mark.parametrize(
    ("status", "complete", "failed"),
    [
        ({}, False, None),
        ({"conditions": [{"type": "Complete", "status": "True"}], "succeeded": 1}, True, None),
        ({"conditions": [{"type": "Failed", "status": "False"}]}, False, None),
        ({"conditions": None, "failed": 2}, False, None),
    ],
)
def test_other_jobs(status: dict[str, Any], complete: bool, failed: str | None) -> None:
    found = objects.job({"metadata": meta("by-hand"), "status": status})
    assert (found["complete"], found["failed"], found["cronjob"]) == (complete, failed, None)


@pytest.mark.parametrize(
    ("conditions", "limited", "blind"),
    [
        (None, False, None),
        ([{"type": "ScalingLimited", "status": "True", "reason": "TooManyReplicas"}], True, None),
        # Fewer pods than the least would do.
        ([{"type": "ScalingLimited", "status": "True", "reason": "TooFewReplicas"}], False, None),
        ([{"type": "ScalingActive", "status": "False", "reason": "Failed", "message": "none"}], False, "none"),
        ([{"type": "ScalingActive", "status": "False", "reason": "ScalingDisabled"}], False, "ScalingDisabled"),
    ],
)
def test_an_autoscaler(conditions: Any, limited: bool, blind: str | None) -> None:
    found = objects.autoscaler(
        {
            "metadata": meta("shop"),
            "spec": {"maxReplicas": 5},
            "status": {"conditions": conditions, "desiredReplicas": 5},
        }
    )
    assert (found["limited"], found["blind"]) == (limited, blind)


def test_a_disruption_budget() -> None:
    status = {"expectedPods": 2, "currentHealthy": 1, "desiredHealthy": 1, "disruptionsAllowed": 0}
    found = objects.budget({"metadata": {"name": "db"}, "status": status})
    assert found == {"name": "db", "pods": 2, "ready": 1, "may_move": 0}
    assert objects.budget({"metadata": {"name": "db"}})["pods"] == 0


DF = "Filesystem 1024-blocks Used Available Capacity Mounted on"


def test_how_full_a_file_system_is() -> None:
    assert objects.filesystem(f"{DF}\n/dev/a 100 20 70 23% /data\n") == (102400, 20480, 71680)


@pytest.mark.parametrize(
    "output", ["", DF, f"{DF}\n", f"{DF}\n/dev/a", f"{DF}\n/dev/a 100 20", f"{DF}\n/dev/a - - - - /data"]
)
def test_an_answer_of_df_that_is_cut_short_is_none(output: str) -> None:
    with pytest.raises(OSError, match="df has not answered"):
        objects.filesystem(output)


def test_a_node() -> None:
    conditions = [{"type": "Ready", "status": "Unknown"}, {"type": "DiskPressure", "status": "True"}]
    found = {"metadata": meta("one"), "spec": {"unschedulable": True}, "status": {"conditions": conditions}}
    assert objects.node(found) == {"name": "one", "ready": False, "cordoned": True, "pressure": ["DiskPressure"]}


def test_a_pod_that_is_leaving() -> None:
    owners = [{"kind": "Job", "name": "b-1"}]
    about = meta("b-1-x", deletionTimestamp="2026-03-01T09:00:00Z", ownerReferences=owners)
    found = objects.pod_state({"metadata": about, "spec": {"nodeName": "one"}, "status": {"phase": "Running"}})
    assert (found["leaving"], found["leaving_since"], found["job"]) == (True, "2026-03-01T09:00:00Z", "b-1")


def secret(name: str, begins: datetime.datetime, ends: datetime.datetime) -> dict[str, Any]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "CA")])
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .sign(key, hashes.SHA256())
    )
    return {
        "metadata": meta(name),
        "data": {"tls.crt": base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()},
    }


def test_when_certificates_begin_and_end() -> None:
    later, much_later = NOW + datetime.timedelta(minutes=10), NOW + datetime.timedelta(days=30, hours=1)
    own, first = objects.certificates([secret("tls-secret", later, much_later), secret("stack-ca", NOW, later)], NOW)
    assert (own["secret"], own["days"]) == ("stack-ca", 0)
    assert (first["begins"], first["days"], first["own"]) == (later.isoformat(), 30, True)


def test_a_certificate_that_is_none() -> None:
    [found] = objects.certificates([{"metadata": meta("odd"), "data": {"tls.crt": "bm9uZQ=="}}], NOW)
    assert (found["days"], found["begins"]) == (None, None)


def test_requests_and_errors_are_counted() -> None:
    text = """
http_request_duration_seconds_count{route="/a",status="200"} 7.0
http_request_duration_seconds_count{route="/b",status="503"} 2.0
http_request_duration_seconds_sum{route="/b",status="503"} 9.0
"""
    assert objects.count_requests([text, text]) == (18.0, 4.0)


def test_since_when_an_image_runs_is_what_its_first_revision_says() -> None:
    def revision(kind: str, made: str, image: str) -> dict[str, Any]:
        spec = {"template": {"spec": {"containers": [{"image": image}]}}}
        body = {"data": {"spec": spec}} if kind == "ControllerRevision" else {"spec": spec}
        return {"kind": kind, "metadata": {"name": "x", "creationTimestamp": made}, **body}

    revisions = [
        revision("ReplicaSet", "2026-02-01T00:00:00Z", "app:1"),
        revision("ReplicaSet", "2026-01-01T00:00:00Z", "app:1"),
        revision("ReplicaSet", "2026-03-01T00:00:00Z", "app:0"),
        revision("ControllerRevision", "2026-02-02T00:00:00Z", "db:1"),
    ]
    assert objects.images_since(revisions, {"app:1", "db:1", "other:1"}) == {
        "app:1": "2026-01-01T00:00:00Z",
        "db:1": "2026-02-02T00:00:00Z",
    }
