"""What each role refuses of its settings, by name."""

from __future__ import annotations

from typing import Any

import pytest
from role_settings import complaints, defaults

from stack.validation import flask_app, monitoring, pgadmin

# What is computed of other settings, as a run has it.
MORE: dict[str, dict[str, Any]] = {
    "namespace": {},
    "tls": {"tls_hosts": ["app.example.com", "pgadmin.example.com"], "tls_ca_common_name": "flask-postgres CA"},
    "flask_app": {
        "flask_app_gateway": {},
        "flask_app_base_image": "localhost/library/python:3.13",
        "flask_app_has_recipe": True,
    },
    "pgadmin": {"pgadmin_gateway": {}, "pgadmin_image": "localhost/dpage/pgadmin4:9.18"},
    "monitoring": {"monitoring_alert_names": ["NoPrimary", "HighLatency"]},
    "vault": {"vault_url": "https://vault.example.com:8200", "vault_path": "flask-postgres"},
    "offline": {"offline_home": "/home/me", "offline_cache_dir": "/home/me/.cache/stack"},
    "image": {
        "image_reference": "shop:1",
        "image_context": "/shop",
        "image_dockerfile": "/shop/Dockerfile",
        "image_build_network": "host",
        "image_builder": "engine",
        "image_delivery": "registry",
        "image_has_dockerfile": True,
    },
}
# By role: the setting, a value that it takes, and values that it does not.
CASES: dict[str, list[tuple[str, list[Any], list[Any]]]] = {
    "namespace": [
        (
            "namespace_name",
            ["4711", "true", "1e3", "shop", "a" * 63],
            ["Not_A_Name", "", "a" * 64, "a.b", "default", "kube-system", "kube-x", "-a", 4711],
        ),
        (
            "namespace_labels",
            [{}, {"team": "shop"}],
            [{"a b": "c"}, {"a": 1}, {"app": "x"}, {"app.kubernetes.io/name": "x"}],
        ),
        ("namespace_annotations", [{}, {"a.com/b": "any text"}], [{"a b": "c"}, {"a": 1}]),
        ("namespace_image_pull_secrets", [[], ["registry"]], [["Registry"], [""]]),
        ("namespace_node_selector", [{}, {"disk": "ssd"}], [{"disk": 1}]),
        (
            "namespace_tolerations",
            [
                [],
                [{"operator": "Exists"}],
                [{"key": "dedicated", "value": "shop", "effect": "NoSchedule"}],
                [{"key": "slow", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30}],
            ],
            [
                [{}],
                [{"keys": "dedicated"}],
                [{"key": "dedicated", "operator": "In"}],
                [{"key": "dedicated", "operator": "Exists", "value": "x"}],
                [{"key": "dedicated", "effect": "Never"}],
                [{"key": "dedicated", "tolerationSeconds": 3}],
            ],
        ),
        ("namespace_priority_class", ["", "high"], ["High"]),
        ("namespace_api_server", [[{"ipBlock": {"cidr": "0.0.0.0/0"}}]], [[{}], [{"ipBlock": {"cidr": "10.0.0.1"}}]]),
        ("namespace_api_server_ports", [[443]], [[0], [65536]]),
        ("namespace_bucket_ports", [[9000]], [[-1]]),
        ("namespace_dns", [[]], [[{"podSelector": 1}]]),
        ("namespace_ingress", [[]], [["ingress"]]),
        ("namespace_monitoring", [[]], [[{"pods": {}}]]),
        (
            "namespace_flows",
            [[], [{"from": "flask-app", "to": [{"ipBlock": {"cidr": "203.0.113.7/32"}}], "ports": [443]}]],
            [
                [{"from": "flask-app", "to": [], "ports": [443]}],
                [{"from": "flask-app", "to": "postgres", "ports": []}],
                [{"from": "flask-app", "to": "postgres", "ports": [70000]}],
                [{"from": "flask-app", "to": "Shop", "ports": [443]}],
                [{"from": "default-deny", "to": "shop", "ports": [443]}],
                [{"from": "flask-app", "to": ["shop"], "ports": [443]}],
                [{"from": "flask-app", "ports": [443]}],
            ],
        ),
    ],
    "tls": [
        (
            "tls_hosts",
            [["*.example.com"], ["a" * 63 + ".b" * 60]],
            [[], ["App.example.com"], ["https://a.example.com"], ["203.0.113.7"], ["a", "a" * 64], [""], ["a" * 254]],
        ),
        ("tls_issuer", ["", "letsencrypt.prod"], ["Let's Encrypt", "A"]),
        ("tls_issuer_timeout", [1], [0]),
        ("tls_ca_common_name", ["Ünser CA", "a" * 64], ["", "a" * 65, "a\nb"]),
        ("tls_certificate_days", [90], [0, 400_000]),
        ("tls_renew_days", [0], [-1, 365, 400]),
        ("tls_ca_days", [396], [365, 395, 400_000]),
        ("tls_cluster_domain", ["cluster.local"], ["Cluster.local", "", "cluster.local.", "a." * 110 + "b"]),
        ("tls_clients_app_user", ["flask_app"], ["", "a" * 63]),
        ("tls_clients_console_user", ["pgadmin"], ["", "a" * 65]),
    ],
    "flask_app": [
        ("flask_app_replicas", [1], [0, -1, 2**31]),
        ("flask_app_autoscaling_cpu_percent", [1], [0]),
        ("flask_app_autoscaling_window", [0, 3600], [-1, 3601]),
        ("flask_app_replica_max_age", [0, 300, 86_400], [-1, 86_401]),
        (
            "flask_app_host",
            ["a" * 63 + ".example.com"],
            ["App.example.com", "203.0.113.7", "*.example.com", "", "a_b.example"],
        ),
        ("flask_app_gateway", [{"name": "a", "listener": "b"}], [{"listener": "b"}, {"name": "a", "listener": "B"}]),
        ("flask_app_ingress_class", ["nginx", ""], ["Nginx", "a b"]),
        ("flask_app_tls_secret", ["tls-secret"], ["", "TLS"]),
        ("flask_app_image", ["", "shop:1"], ["No Image", "shop:"]),
        ("flask_app_base_image", ["python:3"], ["", "Python"]),
        ("flask_app_image_repository", ["", "registry.example.com/team"], ["https://registry.example.com"]),
        ("flask_app_migrate_command", [[], ["flask", "migrate"]], [[""], ["a", "b\x00"]]),
        (
            "flask_app_workers",
            [
                [],
                [
                    {"name": "mail", "command": ["python", "mail.py"]},
                    {"name": "sync", "command": ["sync"], "replicas": 3},
                ],
                [{"name": "a" * 30, "command": ["a"], "resources": {"limits": {"memory": "64Mi"}}}],
            ],
            [
                [{"command": ["a"]}],
                [{"name": "mail"}],
                [{"name": "mail", "command": []}],
                [{"name": "mail", "command": "python mail.py"}],
                [{"name": "mail", "command": ["a", 1]}],
                [{"name": "Mail", "command": ["a"]}],
                [{"name": "a" * 31, "command": ["a"]}],
                [{"name": 1, "command": ["a"]}],
                [{"name": "mail", "command": ["a"], "replicas": 0}],
                [{"name": "mail", "command": ["a"], "replica": 1}],
                [{"name": "mail", "command": ["a"], "resources": {"limits": {"memory": "1 GB"}}}],
                [{"name": "mail", "command": ["a"]}, {"name": "mail", "command": ["b"]}],
            ],
        ),
        (
            "flask_app_cronjobs",
            [
                [],
                [{"name": "digest", "command": ["flask", "digest"], "schedule": "0 6 * * *"}],
                [
                    {"name": "a", "command": ["a"], "schedule": "@daily", "time_zone": "Europe/Berlin", "retries": 2},
                    {"name": "b", "command": ["b"], "schedule": "*/5 * * * *", "concurrency": "Replace", "timeout": 60},
                    {"name": "c", "command": ["c"], "schedule": "@hourly", "keep_failed": 0, "start_deadline": 10},
                ],
            ],
            [
                [{"name": "a", "command": ["a"]}],
                *(
                    [{"name": "a", "command": ["a"], "schedule": "0 6 * * *", **wrong}]
                    for wrong in (
                        {"schedule": "0 6 * *"},
                        {"schedule": "61 * * * *"},
                        {"schedule": 6},
                        {"time_zone": "Mars/Olympus"},
                        {"time_zone": "Local"},
                        {"concurrency": "forbid"},
                        {"timeout": 0},
                        {"start_deadline": 9},
                        {"retries": -1},
                        {"keep_succeeded": "all"},
                        {"suspend": True},
                    )
                ),
            ],
        ),
        ("flask_app_resources", [{}], [{"limits": {"memory": "1 GB"}}, {"requests": {"cpu": 2}, "limits": {"cpu": 1}}]),
        ("flask_app_paths", [["/api", "/docs/"]], [[], ["api"], ["/a b"], ["/a//b"], ["/../a"], ["/api", "/api/"]]),
        (
            "flask_app_other_paths",
            [[], [{"path": "/other", "service": "other", "port": 80}]],
            [
                [{"path": "/", "service": "other", "port": 80}],
                [{"path": "x", "service": "other", "port": 80}],
                [{"path": "/x", "service": "Other", "port": 80}],
                [{"path": "/x", "service": "other", "port": 0}],
                [{"path": "/x", "service": "a", "port": 1}, {"path": "/x/", "service": "b", "port": 1}],
            ],
        ),
        ("flask_app_rate_limit", [0], [-1]),
        ("flask_app_body_limit_kb", [1], [0]),
        ("flask_app_error_pages", [[], [400, 499]], [[399], [429, 503]]),
        ("flask_app_otlp_endpoint", [""], ["collector:4318", "http://collector:99999", "ftp://collector"]),
        ("flask_app_environment", [{"LOG_LEVEL": "DEBUG"}], [{"DB_HOST": "elsewhere"}, {"1A": "x"}, {"A": [1]}]),
        ("flask_app_api_token", ["", "a" * 16, "a" * 20 + "=="], ["too short", "a" * 15, "with spaces in it for sure"]),
        ("flask_app_rollout_timeout", [1], [0]),
    ],
    "pgadmin": [
        (
            "pgadmin_email",
            ["admin@example.com", "a.b+c@corp.local", "a@xn--bcher-kva.example"],
            [
                "",
                "admin",
                "admin@localhost",
                "admin@Example.com",
                ".a@example.com",
                "a b@example.com",
                "a@b@example.com",
                "a@203.0.113.7",
                "a@ab--cd.example.com",
                "a" * 60 + "@example.com",
                "ä@example.com",
            ],
        ),
        (
            "pgadmin_host",
            ["pgadmin.example.com"],
            ["https://pgadmin.example.com", "PGADMIN.example.com", "pgadmin.example.com."],
        ),
        ("pgadmin_gateway", [{}], [{"name": "shared"}]),
        ("pgadmin_path", ["/", "/pgadmin", "/a/b/"], ["console", "/a//b", "/a b", "/..", "/a?b", ""]),
        ("pgadmin_tls_secret", ["tls-secret"], [""]),
        ("pgadmin_image", ["dpage/pgadmin4:9"], ["pgAdmin"]),
        ("pgadmin_ingress_class", ["traefik", ""], ["a b"]),
        (
            "pgadmin_resources",
            [{}, {"limits": {"memory": "256Mi"}}, {"limits": {"memory": "1G"}}],
            [{"limit": {}}, {"limits": {"memory": "255Mi"}}, {"limits": {"memory": "250M"}}],
        ),
        ("pgadmin_storage_class", ["", "fast"], ["Fast"]),
        ("pgadmin_storage_size", ["1Gi", "1.5Gi", "500M"], ["1 GB", "0", "-1Gi", "1g"]),
        ("pgadmin_password", ["", "a'b\"c\\d{{ü", "a" * 128], ["two\nlines", "a" * 129, "a\x7f"]),
        ("pgadmin_upload_limit_mb", [1], [0]),
        ("pgadmin_login_attempts", [0], [-1]),
        ("pgadmin_session_days", [1], [0]),
        ("pgadmin_inactivity_minutes", [0], [-1]),
        ("pgadmin_config", [{"CONSOLE_LOG_LEVEL": 10}], [{"SERVER_MODE": False}, {"console_log_level": 10}, {1: 2}]),
        ("pgadmin_rollout_timeout", [1], [0]),
    ],
    "monitoring": [
        ("monitoring_interval", [1, 120], [0, 121]),
        ("monitoring_retention_days", [1], [0, 40_000]),
        ("monitoring_storage_size", ["2Gi", "1Ti"], ["500Mi", "0Gi", "1.5Gi", "2G", "2 Gi"]),
        ("monitoring_storage_class", ["", "fast"], ["Fast"]),
        ("monitoring_resources", [{}], ["large", {"limits": {"memory": "100m"}}]),
        ("monitoring_exporter_resources", [{}], [{"limits": {"gpu": 1}}]),
        ("monitoring_prometheus_image", ["prom/prometheus:v2"], [""]),
        ("monitoring_exporter_image", ["a/b:1"], ["a b"]),
        (
            "monitoring_alerts",
            [{"NoPrimary": False}, {"NoPrimary": {"for": "1m"}}],
            [{"NoSuchAlert": {}}, {"NoPrimary": "1m"}],
        ),
        (
            "monitoring_ingress_targets",
            [["203.0.113.7:8083"], ["metrics.ingress-nginx.svc:10254"], ["a.b.svc.cluster.local:1"]],
            [["203.0.113.7"], ["ingress.example.com:9113"], ["300.0.0.1:80"], ["203.0.113.7:0"], ["a.b.svc:70000"]],
        ),
        ("monitoring_nodes", [["203.0.113.0/24"]], [["node-1.example.com"], ["203.0.113.7"], ["203.0.113.0/33"]]),
        (
            "monitoring_rule_groups",
            [[{"name": "a", "rules": []}]],
            [[{"rules": []}], [{"name": "a"}], [{"name": "a", "rules": []}, {"name": "a", "rules": []}]],
        ),
        (
            "monitoring_scrape_configs",
            [[{"job_name": "a"}]],
            [[{"job_name": "patroni"}], [{}], [{"job_name": "a"}, {"job_name": "a"}]],
        ),
        (
            "monitoring_alertmanagers",
            [["alertmanager.monitoring.svc:9093"]],
            [["https://a.example.com"], ["a:0"], ["a b:1"]],
        ),
        ("monitoring_dashboards_labels", [{"grafana_dashboard": "1"}], [{"grafana_dashboard": 1}, {"a": "b c"}]),
        ("monitoring_rollout_timeout", [1], [0]),
    ],
    "vault": [
        (
            "vault_url",
            ["https://vault.example.com/v"],
            ["http://vault.example.com", "https://", "https://a b", "vault.example.com"],
        ),
        ("vault_mount", ["secret", "kv/team"], ["", "/secret", "a b", "a//b"]),
        ("vault_path", ["a/b"], ["", "/a", "a/"]),
    ],
    "offline": [
        ("offline_disk_gb", [0, 25], [-1]),
        ("offline_cache_dir", ["/var/cache"], ["/", "/root", "/home/me", "/home", "cache", "/home/me/../../var"]),
    ],
    "image": [
        ("image_reference", ["localhost/shop:1"], ["", "No Image"]),
        ("image_build_network", ["default"], [""]),
        ("image_buildargs", [{}, {"BASE_IMAGE": "python:3"}], [{"A": None}, {"A=B": "x"}]),
        ("image_builder", ["engine"], ["node"]),
        ("image_has_dockerfile", [True], []),
    ],
}
TAKEN = [(role, name, value) for role, cases in CASES.items() for name, values, _ in cases for value in values]
REFUSED = [(role, name, value) for role, cases in CASES.items() for name, _, values in cases for value in values]
SECRETS = {
    "image_buildargs",
    "flask_app_api_token",
    "flask_app_environment",
    "pgadmin_password",
    "pgadmin_config",
    "monitoring_scrape_configs",
}


def given(role: str, **settings: Any) -> dict[str, Any]:
    return {**defaults(role), **MORE[role], **settings}


@pytest.mark.parametrize("role", CASES)
def test_the_defaults_are_taken(role: str) -> None:
    assert complaints(role, given(role)) == {}


@pytest.mark.parametrize(("role", "name", "value"), TAKEN)
def test_it_is_taken(role: str, name: str, value: Any) -> None:
    assert complaints(role, given(role, **{name: value})) == {}


@pytest.mark.parametrize(("role", "name", "value"), REFUSED)
def test_it_is_refused_by_name_and_nothing_else_is(role: str, name: str, value: Any) -> None:
    found = complaints(role, given(role, **{name: value}))
    assert list(found) == [name]
    if name in SECRETS:
        assert f" is {value}:" not in found[name]


def test_all_that_is_wrong_is_said_at_once() -> None:
    wrong = {name: values[0] for name, _, values in CASES["monitoring"]}
    assert set(complaints("monitoring", given("monitoring", **wrong))) == set(wrong)


def test_the_name_that_people_set_is_said() -> None:
    said = complaints("flask_app", given("flask_app", flask_app_host="203.0.113.7"))["flask_app_host"]
    assert said.startswith("flask_app_host (stack_app_host) is 203.0.113.7: ")


def test_a_kubeconfig_without_a_current_context_is_named() -> None:
    settings = given("namespace", namespace_kubeconfig="/nonexistent/config", namespace_context="")
    said = complaints("namespace", settings)["namespace_kubeconfig"]
    assert said.startswith("namespace_kubeconfig (stack_kubeconfig) is /nonexistent/config: it takes a file")
    assert complaints("namespace", {**settings, "namespace_context": "minikube"}) == {}


def test_autoscaling_needs_room() -> None:
    room = {"flask_app_replicas": 3, "flask_app_autoscaling_max": 2}
    assert complaints("flask_app", given("flask_app", **room)) == {}
    found = complaints("flask_app", given("flask_app", **room, flask_app_autoscaling_enabled=True))
    assert list(found) == ["flask_app_autoscaling_max"]


def test_the_source_folder_needs_a_recipe_unless_there_is_an_image() -> None:
    without = {"flask_app_source": "/nonexistent", "flask_app_has_recipe": False}
    assert list(complaints("flask_app", given("flask_app", **without))) == ["flask_app_source"]
    assert complaints("flask_app", given("flask_app", **without, flask_app_image="shop:1")) == {}


@pytest.mark.parametrize(
    ("url", "port"), [("http://collector:4318", 4318), ("https://collector/v1", 443), ("http://collector", 80)]
)
def test_traces_need_a_flow(url: str, port: int) -> None:
    settings = given("flask_app", flask_app_otlp_endpoint=url, namespace_policies=True, namespace_flows=[])
    assert f"ports: [{port}]" in complaints("flask_app", settings)["flask_app_otlp_endpoint"]
    settings["namespace_flows"] = [{"from": "flask-app", "to": [{"namespaceSelector": {}}], "ports": [port]}]
    assert complaints("flask_app", settings) == {}
    assert complaints("flask_app", {**settings, "namespace_flows": [], "namespace_policies": False}) == {}


def test_a_secrets_manager_that_is_not_used_needs_nothing() -> None:
    assert complaints("vault", given("vault", vault_url="", vault_mount="", vault_path="/")) == {}


def test_the_file_of_an_authority_has_to_be_there() -> None:
    settings = given("vault", vault_ca_file="/nonexistent", vault_has_ca_file=False)
    assert list(complaints("vault", settings)) == ["vault_ca_file"]


SAME = {
    "flask_app_namespace": "shop",
    "flask_app_gateway": {},
    "flask_app_ingress_class": "nginx",
    "flask_app_host": "a.example.com",
    "pgadmin_namespace": "shop",
    "pgadmin_gateway": {},
    "pgadmin_ingress_class": "nginx",
    "pgadmin_host": "a.example.com",
    "flask_app_paths": ["/"],
    "flask_app_other_paths": [],
    "pgadmin_path": "/",
}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"flask_app_paths": ["/api", "/"]},
        {"flask_app_paths": ["/pgadmin/"], "pgadmin_path": "/pgadmin"},
        {
            "flask_app_paths": ["/a"],
            "flask_app_other_paths": [{"path": "/db", "service": "x", "port": 1}],
            "pgadmin_path": "/db/",
        },
        {"flask_app_gateway": {"name": "a", "listener": "b"}, "pgadmin_gateway": {"name": "a", "listener": "b"}},
    ],
)
@pytest.mark.parametrize("role", [flask_app, pgadmin])
def test_two_routes_that_hide_each_other_are_refused(role: Any, settings: dict[str, Any]) -> None:
    (problem,) = role.problems({**SAME, **settings})
    assert problem.name == "pgadmin_path"
    assert "stack_pgadmin_host" in str(problem)


@pytest.mark.parametrize(
    "settings",
    [
        {"pgadmin_path": "/pgadmin"},
        {"flask_app_paths": ["/api"]},
        {"flask_app_paths": ["/tools"], "pgadmin_path": "/tools/pgadmin"},
        {"flask_app_paths": ["/pgadmin2"], "pgadmin_path": "/pgadmin"},
        {"pgadmin_host": "b.example.com"},
        {"pgadmin_ingress_class": "internal"},
        {"pgadmin_gateway": {"name": "a", "listener": "b"}},
    ],
)
def test_two_routes_of_one_host_are_taken_where_each_is_reached(settings: dict[str, Any]) -> None:
    assert pgadmin.problems({**SAME, **settings}) == []


HOST: dict[str, Any] = {
    "pgadmin_namespace": "flask-postgres",
    "pgadmin_host": "tools.example.com",
    "pgadmin_path": "/pgadmin",
    "pgadmin_ingress_class": "nginx",
    "pgadmin_gateway": {},
}
CLAIM = {"resources": {"requests": {"storage": "2Gi"}}, "storageClassName": "standard"}


@pytest.mark.parametrize(
    ("role", "settings", "names"),
    [
        (monitoring, {"size": "2Gi", "class": "standard"}, []),
        (monitoring, {"size": "2048Mi", "class": "standard"}, []),
        (monitoring, {"size": "3Gi", "class": "standard"}, ["monitoring_storage_size"]),
        (monitoring, {"size": "1Gi", "class": "other"}, ["monitoring_storage_size", "monitoring_storage_class"]),
        (pgadmin, {"size": "2Gi", "class": ""}, []),
        (pgadmin, {"size": "3Gi", "class": "standard"}, ["pgadmin_storage_size"]),
        (pgadmin, {"size": "3Gi", "class": "standard", "grows": True}, []),
        (pgadmin, {"size": "1Gi", "class": "standard", "grows": True}, ["pgadmin_storage_size"]),
        (pgadmin, {"size": "2Gi", "class": "other"}, ["pgadmin_storage_class"]),
    ],
)
def test_what_a_volume_cannot_become_is_refused(role: Any, settings: dict[str, Any], names: list[str]) -> None:
    prefix = role.__name__.rpartition(".")[2]
    wanted = {
        f"{prefix}_storage_size": settings["size"],
        f"{prefix}_storage_class": settings["class"],
        f"{prefix}_volume_grows": settings.get("grows", False),
    }
    if role is pgadmin:
        wanted |= {**HOST, "routes_elsewhere": []}
    assert [problem.name for problem in role.running_problems({**wanted, f"{prefix}_claim": CLAIM})] == names
    assert role.running_problems({**wanted, f"{prefix}_claim": {}}) == []
