"""minikube's folder and profile are found and read as minikube does."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from stack.minikube import profile

# By localpath.MiniPath of minikube v1.38.1, started in /work.
HOMES: list[tuple[dict[str, str], str]] = [
    ({"HOME": "/home/ann"}, "/home/ann/.minikube"),
    ({"HOME": "/home/ann", "MINIKUBE_HOME": ""}, "/home/ann/.minikube"),
    ({"HOME": "/home/ann/"}, "/home/ann/.minikube"),
    ({"HOME": "/home/ann", "MINIKUBE_HOME": "/big/disk"}, "/big/disk/.minikube"),
    ({"HOME": "/home/ann", "MINIKUBE_HOME": "/big/disk/"}, "/big/disk/.minikube"),
    ({"HOME": "/home/ann", "MINIKUBE_HOME": "/big/.minikube"}, "/big/.minikube"),
    ({"HOME": "/home/ann", "MINIKUBE_HOME": "/big/.minikube/"}, "/big/.minikube"),
    ({"HOME": "/home/ann", "MINIKUBE_HOME": "/big/.minikube//"}, "/big/.minikube"),
    ({"HOME": "/home/ann", "MINIKUBE_HOME": "/big/.minikube/."}, "/big/.minikube/.minikube"),
    ({"HOME": "/home/ann", "MINIKUBE_HOME": "/big/.minikube2"}, "/big/.minikube2/.minikube"),
    ({"HOME": "/home/ann", "MINIKUBE_HOME": "/big/x.minikube"}, "/big/x.minikube/.minikube"),
    ({"HOME": "/home/ann", "MINIKUBE_HOME": ".minikube"}, "/work/.minikube"),
    ({"HOME": "/home/ann", "MINIKUBE_HOME": "here"}, "/work/here/.minikube"),
    ({"HOME": "/home/ann", "MINIKUBE_HOME": "./here/../there"}, "/work/there/.minikube"),
    ({"HOME": "/home/ann", "MINIKUBE_HOME": "."}, "/work/.minikube"),
    ({"HOME": "/home/ann", "MINIKUBE_HOME": "/"}, "/.minikube"),
    ({"HOME": "/home/ann", "MINIKUBE_HOME": "~/clusters"}, "/work/~/clusters/.minikube"),
    ({"HOME": "/home/ann", "XDG_CONFIG_HOME": "/xdg", "XDG_DATA_HOME": "/xdg"}, "/home/ann/.minikube"),
    ({"HOME": ""}, "/work/.minikube"),
    ({}, "/work/.minikube"),
]


@pytest.mark.parametrize(("environment", "expected"), HOMES)
def test_home(environment: dict[str, str], expected: str) -> None:
    assert str(profile.home(environment, "/work")) == expected


def written(folder: Path, text: str) -> Path:
    file = folder / "profiles" / "minikube" / "config.json"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    return folder


def test_no_profile(tmp_path: Path) -> None:
    assert profile.read(tmp_path, "minikube") == {}
    found = profile.described({})
    assert (found["exists"], found["address"], found["port"]) == (False, "127.0.0.1", 8443)


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "[]extra", '"text"', "7"])
def test_what_is_no_profile_is_named_and_never_taken_for_a_missing_one(tmp_path: Path, text: str) -> None:
    with pytest.raises(profile.ProfileError, match=r"profiles/minikube/config.json does not hold minikube's profile"):
        profile.read(written(tmp_path, text), "minikube")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_profile_of_somebody_else(tmp_path: Path) -> None:
    (written(tmp_path, "{}") / "profiles" / "minikube" / "config.json").chmod(0)
    with pytest.raises(profile.ProfileError, match="Permission denied"):
        profile.read(tmp_path, "minikube")


def test_a_folder_where_the_file_should_be(tmp_path: Path) -> None:
    (tmp_path / "profiles" / "minikube" / "config.json").mkdir(parents=True)
    with pytest.raises(profile.ProfileError, match="Is a directory"):
        profile.read(tmp_path, "minikube")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"Nodes": [{"IP": "192.0.2.9", "Port": 8444, "ControlPlane": True}]}, {"address": "192.0.2.9", "port": 8444}),
        ({"Nodes": [{"IP": "192.0.2.9"}], "APIServerPort": 6443}, {"address": "192.0.2.9", "port": 6443}),
        ({"Nodes": [{"IP": "192.0.2.8"}, {"IP": "192.0.2.9", "ControlPlane": True}]}, {"address": "192.0.2.9"}),
        (
            {"Nodes": [{"IP": "192.0.2.8", "ControlPlane": True}, {"IP": "192.0.2.9"}, {"IP": ""}]},
            {"address": "192.0.2.8", "addresses": ["192.0.2.8", "192.0.2.9"]},
        ),
        (
            {"Nodes": [{"IP": "", "Port": 0}]},
            {"address": "127.0.0.1", "addresses": [], "port": 8443, "exists": True},
        ),
        ({"Nodes": None, "Addons": None, "KubernetesConfig": None}, {"address": "127.0.0.1", "addons": []}),
        ({"CPUs": 2, "Memory": 3072, "Driver": "docker"}, {"cpus": 2, "memory_mb": 3072, "driver": "docker"}),
        ({"CPUs": 0, "KubernetesConfig": {"CNI": "calico"}}, {"cpus": None, "cni": "calico", "runtime": "docker"}),
        ({"KubernetesConfig": {"ContainerRuntime": "containerd"}}, {"runtime": "containerd"}),
        ({"Addons": {"ingress": False, "metrics-server": True, "a": True}}, {"addons": ["a", "metrics-server"]}),
        (
            {"KubernetesConfig": {"ExtraOptions": [{"Component": "apiserver", "Key": "encryption-provider-config"}]}},
            {"encrypted": True},
        ),
        ({"KubernetesConfig": {"ExtraOptions": [{"Component": "apiserver", "Key": "v"}]}}, {"encrypted": False}),
    ],
)
def test_described(tmp_path: Path, config: dict[str, Any], expected: dict[str, Any]) -> None:
    found = profile.described(profile.read(written(tmp_path, json.dumps(config)), "minikube"))
    assert {name: found[name] for name in expected} == expected
