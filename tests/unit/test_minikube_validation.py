"""What keeps a cluster from being started is said before, by minikube's own rules, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest

from stack.minikube import arguments, machine
from stack.validation import lines, minikube

SETTINGS = {
    "minikube_provider": "installed", "minikube_profile": "minikube", "minikube_driver": "", "minikube_cpus": 4,
    "minikube_memory_mb": 4096, "minikube_disk_gb": 20, "minikube_ingress_controller": "traefik",
    "minikube_addons": ["metrics-server"],
    "minikube_encryption_at_rest": False, "minikube_cni": "calico", "minikube_kubernetes_version": "",
}  # fmt: skip
ENGINE = {"complaint": None, "cpus": 8, "memory_mb": 16000}
VERSIONS: dict[str, str | None] = {"minikube": "1.38.1", "kubectl": "1.34.4", "docker": "28.1.0"}
MACHINE: dict[str, Any] = {
    "cpus": 8, "memory_mb": 16000, "disk_gb": 100, "root": False, "driver": "", "drivers": [], "docker": ENGINE,
    "versions": VERSIONS, "taken_ports": [], "force": False,
}  # fmt: skip
NEW: dict[str, Any] = {"exists": False, "driver": None, "cpus": None, "memory_mb": None, "cni": None, "addons": []}
OLD = {"exists": True, "driver": "docker", "cpus": 2, "memory_mb": 3072, "cni": "calico", "addons": []}


REPLACE = "`minikube --profile minikube addons disable ingress` and a run with traefik, the default then, replace it"


def said(
    settings: dict[str, Any] | None = None,
    found: dict[str, Any] | None = None,
    profile: dict[str, Any] | None = None,
    starting: bool = False,
    context: str = "minikube",
) -> list[str]:
    facts = {"machine": MACHINE | (found or {}), "profile": profile or NEW, "starting": starting, "context": context}
    return list(lines(minikube.problems(SETTINGS | (settings or {}) | facts)))


def engine(**values: Any) -> dict[str, Any]:
    return {"docker": ENGINE | values}


def test_a_machine_that_has_all() -> None:
    assert said() == []
    assert said({"minikube_ingress_controller": "addon"}, profile=OLD | {"addons": ["ingress"]}) == []
    assert said({"minikube_driver": "docker"}, {"driver": "docker"}) == []
    offline = {
        "minikube_provider": "offline",
        "minikube_ingress_controller": "traefik",
        "minikube_encryption_at_rest": True,
    }
    assert said(offline, {"root": True}) == []


@pytest.mark.parametrize(
    ("cpus", "memory_mb", "expected"),
    [
        (2, 3072, []),
        (2, 2900, []),
        (1, 3072, ["Docker's engine has 1 CPU: Kubernetes needs 2: give the engine more"]),
        (2, 1987, ["Docker's engine has 1987 MB of memory: the stack needs 3072 MB: give the engine more"]),
        (
            1,
            900,
            [
                "Docker's engine has 1 CPU: Kubernetes needs 2: give the engine more",
                "Docker's engine has 900 MB of memory: the stack needs 3072 MB: give the engine more",
            ],
        ),
    ],
)
def test_docker_is_taken_down_to_2_cpus_and_3_gb(cpus: int, memory_mb: int, expected: list[str]) -> None:
    found = engine(cpus=cpus, memory_mb=memory_mb)
    assert said(found=found | {"driver": "docker"}) == expected
    assert said(found=found) == expected, "without a driver minikube takes Docker"


def test_a_cluster_that_runs_is_taken_as_it_is() -> None:
    found = {**engine(cpus=1, memory_mb=900), "driver": "docker", "root": True}
    assert said(found=found, profile=OLD) == []
    assert len(said(found=found, profile=OLD, starting=True)) == 3


def test_the_machine_counts_where_docker_does_not() -> None:
    small = {"memory_mb": 2000, "driver": "kvm2", "docker": None}
    (line,) = said(found=small)
    assert line == "minikube_memory_mb is 4096: the machine has 2000 MB: add memory, or set it lower at your own risk"
    assert said(found={"memory_mb": 2000, "driver": "docker"}) == [], "the engine of another machine has enough"
    assert said(found={"memory_mb": 0, "driver": "kvm2", "docker": None}) == [], "what is not known is no complaint"


@pytest.mark.parametrize(
    ("found", "is_told"),
    [
        ({"root": True}, True),
        ({"root": True, "driver": "docker"}, True),
        ({"root": True, "force": True}, False),
        ({"root": True, "driver": "kvm2", "docker": None}, False),
        ({"root": True, "drivers": ["podman"]}, False),
        ({"root": False, "driver": "docker"}, False),
    ],
)
def test_root_with_docker(found: dict[str, Any], is_told: bool) -> None:
    told = said(found=found)
    assert bool(told) == is_told, told
    if is_told:
        assert "DRV_AS_ROOT" in told[0]
        assert "run as a user of the group docker" in told[0]


@pytest.mark.parametrize(
    ("version", "driver", "drivers", "expected"),
    [
        (None, "", [], ["docker is not installed: 20.10 or newer is needed"]),
        (None, "docker", ["podman"], ["docker is not installed: 20.10 or newer is needed"]),
        (None, "", ["podman"], []),
        (None, "", ["kvm2", "qemu2"], []),
        (None, "podman", [], []),
        (None, "virtualbox", [], []),
        ("19.3.1", "docker", [], ["docker is 19.3.1: 20.10 or newer is needed"]),
        ("19.3.1", "kvm2", [], []),
        ("20.10", "docker", [], []),
        ("100.1", "docker", [], []),
    ],
)
def test_docker_is_missed_by_those_who_need_it(
    version: str | None, driver: str, drivers: list[str], expected: list[str]
) -> None:
    docker = {"complaint": None, "cpus": None, "memory_mb": None} if version is None else ENGINE
    found = {
        "versions": VERSIONS | {"docker": version},
        "driver": driver,
        "drivers": drivers,
        "docker": docker if driver in ("", "docker") else None,
    }
    assert said(found=found) == expected


@pytest.mark.parametrize(
    ("settings", "found", "profile", "context", "expected"),
    [
        ({"minikube_disk_gb": 200}, {}, NEW, "minikube", "minikube_disk_gb is 200: the home folder has 100 GB free"),
        ({"minikube_encryption_at_rest": True}, {}, NEW, "minikube", "minikube_encryption_at_rest is true: "),
        ({}, {"cpus": 1}, NEW, "minikube", "the machine has 1 CPU: Kubernetes needs 2"),
        (
            {},
            {},
            NEW,
            "other",
            "minikube_profile is minikube: minikube names the context by its profile",
        ),
        (
            {"minikube_driver": "kvm2"},
            {"driver": "docker"},
            OLD,
            "minikube",
            "minikube_driver is kvm2: the cluster of",
        ),
        ({"minikube_cpus": 1}, {"driver": "docker"}, NEW, "minikube", "minikube_cpus is 1: it takes 2 or more"),
        ({"minikube_memory_mb": 1024}, {}, NEW, "minikube", "minikube_memory_mb is 1024: it takes 3072 or more"),
        (
            {},
            {},
            NEW | {"addons": ["ingress"]},
            "minikube",
            "minikube_ingress_controller is traefik: the cluster has the addon ingress for the same ports: run ",
        ),
        (
            {"minikube_addons": ["dashboard", "ingress"]},
            {},
            NEW,
            "minikube",
            "minikube_addons is dashboard, ingress: Traefik has the same ports",
        ),
        (
            {},
            engine(complaint="Docker does not run: start it", cpus=None, memory_mb=None),
            NEW,
            "minikube",
            "Docker does not",
        ),
        ({}, {"versions": VERSIONS | {"kubectl": None}}, NEW, "minikube", "kubectl is not installed"),
        (
            {},
            {"versions": VERSIONS | {"minikube": "1.9"}},
            NEW,
            "minikube",
            "minikube is 1.9: 1.23",
        ),
    ],
)
def test_installed(
    settings: dict[str, Any], found: dict[str, Any], profile: dict[str, Any], context: str, expected: str
) -> None:
    (line,) = said(settings, found, profile, context=context)
    assert line.startswith(expected)


@pytest.mark.parametrize(
    ("settings", "found", "expected"),
    [
        ({"minikube_driver": "docker"}, {}, "minikube_driver is docker: the offline build has only the none driver"),
        ({"minikube_ingress_controller": "addon"}, {}, "minikube_ingress_controller is addon: "),
        ({}, {"root": False}, "minikube_provider is offline: it needs root"),
        ({}, {"taken_ports": [(443, "nginx")]}, "port 443 is taken by nginx: the ingress needs it, stop nginx"),
    ],
)
def test_offline(settings: dict[str, Any], found: dict[str, Any], expected: str) -> None:
    offline = {"minikube_provider": "offline", "minikube_ingress_controller": "traefik"}
    (line,) = said(offline | settings, {"root": True, "docker": None} | found)
    assert line.startswith(expected)


@pytest.mark.parametrize("provider", ["installed", "offline"])
def test_the_disk_of_a_cluster_that_is_there_is_not_asked_for_room_for_another(provider: str) -> None:
    settings = {"minikube_provider": provider, "minikube_disk_gb": 20}
    found = {"root": provider == "offline", "disk_gb": 19}
    assert said(settings, found, OLD, starting=True) == []
    (line,) = said(settings, found, NEW)
    assert line.startswith("minikube_disk_gb is 20: the home folder has 19 GB free")


def test_all_that_is_wrong_is_said_at_once() -> None:
    found = {"cpus": 1, "memory_mb": 100, "disk_gb": 1, "root": False, "taken_ports": [(80, "nginx"), (443, "nginx")]}
    settings = {"minikube_provider": "offline", "minikube_driver": "docker", "minikube_ingress_controller": "addon"}
    assert len(said(settings, found, context="other")) == 9


def test_the_first_start_has_what_belongs_to_it() -> None:
    started = arguments.installed(SETTINGS | {"minikube_driver": "docker"}, NEW, MACHINE)
    assert {"--cpus=4", "--memory=4096", "--cni=calico", "--driver=docker", arguments.WAIT} == set(started)


@pytest.mark.parametrize(
    ("docker", "cpus", "memory"),
    [((2, 3072), 2, 3072), ((3, 3500), 3, 3500), ((8, 3900), 4, 3900), ((64, 64000), 4, 4096), (None, 4, 4096)],
)
def test_no_more_than_the_engine_has(docker: tuple[int, int] | None, cpus: int, memory: int) -> None:
    has = {"complaint": None, "cpus": docker[0], "memory_mb": docker[1]} if docker else None
    started = arguments.installed(SETTINGS, NEW, MACHINE | {"docker": has})
    assert {f"--cpus={cpus}", f"--memory={memory}"} <= set(started)


@pytest.mark.parametrize("docker", [None, {"complaint": None, "cpus": None, "memory_mb": None}])
@pytest.mark.parametrize(("has", "cpus"), [(2, 2), (3, 3), (8, 4), (0, 4)])
def test_other_drivers_get_no_more_than_the_machine_has(docker: dict[str, Any] | None, has: int, cpus: int) -> None:
    """minikube refuses it as it does with Docker."""
    found = MACHINE | {"cpus": has, "docker": docker, "driver": "kvm2"}
    assert f"--cpus={cpus}" in arguments.installed(SETTINGS, NEW, found)
    told = arguments.notes(SETTINGS, NEW, found)
    assert told == ([f"minikube_cpus is 4, the machine has {cpus} CPUs: the cluster gets {cpus}"] if cpus < 4 else [])


def test_a_later_start_repeats_none_of_it() -> None:
    """With four CPUs on the command line minikube refuses to start a cluster of two on a machine of two."""
    settings = SETTINGS | {"minikube_driver": "docker", "minikube_kubernetes_version": "v1.34.4"}
    assert arguments.installed(settings, OLD, MACHINE) == [arguments.WAIT, "--kubernetes-version=v1.34.4"]


@pytest.mark.parametrize(
    ("settings", "found", "profile", "expected"),
    [
        ({}, {}, NEW, []),
        ({"minikube_cpus": 2, "minikube_memory_mb": 3072}, {}, OLD, []),
        (
            {"minikube_cni": "flannel"},
            {},
            OLD,
            [
                "minikube_cpus is 4, the cluster has 2: it counts at the first start alone",
                "minikube_memory_mb is 4096, the cluster has 3072: it counts at the first start alone",
                "minikube_cni is flannel, the cluster has calico: it counts at the first start alone",
            ],
        ),
        ({"minikube_cni": ""}, {}, OLD | {"cpus": 4, "memory_mb": 4096, "cni": None}, []),
        (
            {},
            engine(cpus=2, memory_mb=3900),
            NEW,
            [
                "minikube_cpus is 4, Docker's engine has 2 CPUs: the cluster gets 2",
                "minikube_memory_mb is 4096, Docker's engine has 3900 MB of memory: the cluster gets 3900",
            ],
        ),
        (
            {"minikube_provider": "offline"},
            {"cpus": 2},
            NEW,
            ["the machine has 2 CPUs, minikube_cpus asks for 4: all fits, and is slower"],
        ),
        ({"minikube_provider": "offline"}, {"cpus": 4}, NEW, []),
        (
            {"minikube_ingress_controller": "addon"},
            {},
            NEW,
            [f"minikube_ingress_controller is addon: {arguments.RETIRED}; traefik is the default"],
        ),
        (
            {"minikube_ingress_controller": "addon", "minikube_cpus": 2, "minikube_memory_mb": 3072},
            {},
            OLD | {"addons": ["ingress"]},
            [f"minikube_ingress_controller is addon: {arguments.RETIRED}; {REPLACE}"],
        ),
    ],
)
def test_what_settings_do_not_change_is_said(
    settings: dict[str, Any], found: dict[str, Any], profile: dict[str, Any], expected: list[str]
) -> None:
    assert arguments.notes(SETTINGS | settings, profile, MACHINE | found) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((0, '{"NCPU": 2, "MemTotal": 3221225472, "ServerErrors": null}'), (2, 3072)),
        ((0, 'WARNING: a word\n{"NCPU": 8, "MemTotal": 8589934592}'), (8, 8192)),
        ((127, ""), (None, None)),
    ],
)
def test_what_the_engine_says(answer: tuple[int, str], expected: tuple[int | None, int | None]) -> None:
    cpus, memory_mb = expected
    assert machine.engine(lambda *_: answer) == {"complaint": None, "cpus": cpus, "memory_mb": memory_mb}


@pytest.mark.parametrize(
    ("code", "output", "expected"),
    [
        (
            1,
            "permission denied while trying to connect to the Docker daemon socket at unix:///run/docker.sock",
            "group docker",
        ),
        (1, '{"ServerErrors": ["Got permission denied while trying"], "NCPU": 0}', "group docker"),
        (0, '{"ServerErrors": ["Cannot connect to the Docker daemon at unix:///run/docker.sock"]}', "does not run"),
        (
            1,
            "Cannot connect to the Docker daemon at tcp://192.0.2.1:2375. Is it running?",
            "does not run",
        ),
        (124, "docker has not answered within 20 s", "docker has not answered within 20 s"),
        (1, "", "it said nothing"),
        (0, "{}", "see `docker info`"),
        (0, '{"NCPU": 0, "MemTotal": 0}', "see `docker info`"),
    ],
)
def test_what_keeps_a_user_from_the_engine(code: int, output: str, expected: str) -> None:
    found = machine.engine(lambda *_: (code, output))
    assert expected in str(found["complaint"])
    assert found["cpus"] is None


@pytest.mark.parametrize(
    ("wanted", "noted", "environment", "config", "expected"),
    [
        ("", None, {}, {}, ""),
        ("kvm2", None, {"MINIKUBE_DRIVER": "docker"}, {"driver": "podman"}, "kvm2"),
        ("", None, {"MINIKUBE_DRIVER": "docker"}, {"driver": "podman"}, "docker"),
        ("", None, {}, {"driver": "podman"}, "podman"),
        ("", None, {}, {"vm-driver": "kvm2"}, "kvm2"),
        ("kvm2", "docker", {}, {}, "docker"),
    ],
)
def test_the_driver_that_minikube_takes(
    wanted: str, noted: str | None, environment: dict[str, str], config: dict[str, str], expected: str
) -> None:
    assert machine.driver(wanted, noted, environment, config) == expected


def test_ports_that_others_hold() -> None:
    listing = """
LISTEN 0 4096 *:443 *:* users:(("traefik",pid=1,fd=3))
LISTEN 0 511 0.0.0.0:80 0.0.0.0:* users:(("nginx",pid=7,fd=6),("nginx",pid=6,fd=6))
LISTEN 0 511 [::]:80 [::]:* users:(("nginx",pid=7,fd=7))
LISTEN 0 5 127.0.0.1:8083 0.0.0.0:* users:(("python3",pid=9,fd=3))
LISTEN 0 5 127.0.0.1:8080 0.0.0.0:* users:(("other",pid=9,fd=3))
LISTEN 0 5 127.0.0.1:8443 0.0.0.0:*
"""
    assert machine.taken_ports(listing) == [(80, "nginx"), (8083, "python3")]


def test_a_program_that_is_not_there() -> None:
    assert machine.run("no-such-program-of-anybody") == (127, "")
    assert machine.run("sh", "-c", "echo out; echo err >&2; exit 3") == (3, "out\nerr\n")
