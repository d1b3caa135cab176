"""The docker client of the tests' Minikube: `--privileged` on a machine that lacks a capability."""

from __future__ import annotations

import pytest

from stack.docker_minikube.docker_client import missing, rewritten

ALL = "Name:\tx\nCapBnd:\t000001ffffffffff\n"
NO_RESOURCE = "Name:\tx\nCapBnd:\t000001fffeffffff\n"


@pytest.mark.parametrize(("status", "lacking"), [(ALL, []), (NO_RESOURCE, ["SYS_RESOURCE"])])
def test_what_the_machine_lacks(status: str, lacking: list[str]) -> None:
    assert missing(status) == lacking


@pytest.mark.parametrize(
    "arguments",
    [["run", "-d", "--privileged", "node"], ["exec", "--privileged", "node", "id"], ["run", "-v", "/lib/modules:/x"]],
)
def test_nothing_is_changed_where_nothing_is_missing(arguments: list[str]) -> None:
    assert list(rewritten(arguments, [], frozenset())) == arguments


def test_a_container_gets_all_but_what_is_missing() -> None:
    found = list(rewritten(["--tls", "run", "--privileged", "node"], ["SYS_RESOURCE"], frozenset({"/dev/kmsg"})))
    assert "--privileged" not in found
    assert found[:6] == ["--tls", "run", "--cap-add", "ALL", "--cap-drop", "SYS_RESOURCE"]
    assert found[-3:] == ["--device", "/dev/kmsg", "node"]


def test_a_command_in_a_container_keeps_its_own_options() -> None:
    found = list(rewritten(["exec", "--privileged", "node", "ls"], ["SYS_RESOURCE"], frozenset()))
    assert found == ["exec", "node", "ls"]


@pytest.mark.parametrize(("exists", "kept"), [(frozenset(), False), (frozenset({"/lib/modules"}), True)])
def test_a_folder_that_is_not_there_is_not_mounted(exists: frozenset[str], kept: bool) -> None:
    found = list(rewritten(["run", "-v", "/lib/modules:/lib/modules:ro", "node"], ["SYS_RESOURCE"], exists))
    assert ("-v" in found) is kept
