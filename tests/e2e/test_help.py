"""Errors of the usual kind, provoked: each ends in one line that says what to do, before anything is touched."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, Run, Stack

Site = Callable[..., Run]

# Shows messages alone.
SCREEN = {"ANSIBLE_STDOUT_CALLBACK": "screen"}


def said(run: Run) -> str:
    """The message that a run ended with, which is one line."""
    assert run.code == 2, run.output[-3000:]
    return run.output.strip().splitlines()[-1]


def gone(kubeconfig: str, folder: Path) -> Path:
    """A copy of a kubeconfig whose cluster has gone: nothing listens on its port."""
    content = yaml.safe_load(Path(kubeconfig).read_text())
    for cluster in content["clusters"]:
        cluster["cluster"]["server"] = "https://127.0.0.1:1"
    copy = folder / "kubeconfig"
    copy.write_text(yaml.safe_dump(content))
    return copy


def make(*arguments: str, folder: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout without an environment."""
    for name in ("Makefile", "requirements.txt", "requirements-uv.txt"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def test_an_old_python(checkout: Path) -> None:
    """The interpreter that `python3` leads to believes to be of another version."""
    old = checkout / "bin" / "python3"
    old.parent.mkdir()
    old.write_text(
        "#!/bin/sh\n"
        'if [ "$1" = --version ]; then echo "Python 3.9.2"; exit; fi\n'
        f'shift; exec {sys.executable} -c "import sys; sys.version_info = (3, 9, 2); $1"\n'
    )
    old.chmod(0o755)
    result = make("deploy", folder=checkout, PATH=f"{old.parent}:{os.environ['PATH']}")
    assert result.returncode == 2
    assert "Python 3.11 or newer is needed as python3, found Python 3.9.2" in result.stderr.splitlines()[0]
    assert not (checkout / ".venv").exists()


def test_no_package_index(checkout: Path) -> None:
    """The seconds that this takes are those in which pip is installed."""
    result = make("deploy", folder=checkout, PIP_INDEX_URL="http://127.0.0.1:1/simple", PIP_RETRIES="0")
    assert result.returncode == 2
    last = result.stderr.splitlines()[-2]
    assert last.startswith("make: the Python packages could not be installed")
    assert "PIP_INDEX_URL" in last


def test_a_cluster_that_has_gone(site: Site, stack: Stack, tmp_path: Path) -> None:
    kubeconfig = gone(stack.settings["stack_kubeconfig"], tmp_path)
    text = said(site("--tags", "flask_app", env=SCREEN, stack_kubeconfig=str(kubeconfig)))
    assert "does not answer" in text
    assert "Connection refused" in text
    assert "`make deploy` without tags starts it" in text


def test_somebody_elses_cluster_that_has_gone(site: Site, stack: Stack, tmp_path: Path) -> None:
    kubeconfig = gone(stack.settings["stack_kubeconfig"], tmp_path)
    text = said(site(inventory="inventory/existing", env=SCREEN, stack_kubeconfig=str(kubeconfig)))
    assert "does not answer" in text
    assert f"kubectl --kubeconfig {kubeconfig}" in text


def test_no_kubeconfig(site: Site) -> None:
    text = said(site(inventory="inventory/existing", env=SCREEN, stack_kubeconfig="/nonexistent/config"))
    assert "(stack_kubeconfig) is /nonexistent/config: it takes a file that can be read" in text


def playbook(*command: str, **environment: str) -> Run:
    """Run a command that runs site.yml, in an environment that is not the tests' own."""
    result = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **SCREEN, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    return Run(result.returncode, result.stdout, 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a network or become nobody")
class TestMachine:
    """What is wrong with the machine."""

    def test_port_443_is_taken(self, stack: Stack) -> None:
        """In a network of its own, where something else than the ingress listens."""
        if stack.settings["minikube_provider"] != "offline":
            pytest.skip("the ports of this machine are the ingress's in the offline build only")
        script = """
            ip link set lo up
            "$0" -m http.server 443 > /dev/null 2>&1 &
            until ss -Hltn 'sport = :443' | grep -q .; do sleep 0.05; done
            ansible-playbook site.yml --tags minikube
            code=$?
            kill %1
            exit $code
        """
        run = playbook("unshare", "--net", "bash", "-c", script, sys.executable)
        assert re.search(r"port 443 is taken by python\S*: the ingress needs it", said(run))

    def test_the_disk_is_full(self, checkout: Path) -> None:
        """The environment's folder is a disk of 2 MB."""
        (checkout / ".venv").mkdir()
        script = "mount -t tmpfs -o size=2M none .venv && make --silent deploy"
        result = subprocess.run(
            ["unshare", "--mount", "bash", "-c", script],
            cwd=checkout,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert result.returncode == 2
        assert "the disk have 1 GB free" in result.stderr.splitlines()[-2]

    def test_no_right_to_use_docker(self) -> None:
        """As a user who is in no group."""
        if not Path("/run/docker.sock").exists():
            pytest.skip("there is no engine that one could lack the rights for")
        nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        settings = ["-e", "minikube_provider=installed", "-e", "minikube_driver=docker"]
        with tempfile.TemporaryDirectory() as home:
            Path(home).chmod(0o777)
            run = playbook(*nobody, "ansible-playbook", "site.yml", "--tags", "minikube", *settings, HOME=home)
        assert "this user may not use Docker: add it to the group docker" in said(run)


@pytest.mark.beside
class TestClusterThatDoesNotStart:
    """Its volumes lie in its node. The installed minikube is a stand-in that fails and notes how it is called."""

    @pytest.fixture
    def start(self, tmp_path: Path) -> Callable[..., tuple[str, list[str]]]:
        """Run the role with a profile that is there, below a folder of minikube, and settings."""
        program, calls = tmp_path / "bin" / "minikube", tmp_path / "calls"
        program.parent.mkdir()
        program.write_text(
            f"""#!/bin/sh
echo "$*" >> {calls}
case $1 in
  version) echo minikube version: v1.38.1;;
  status) echo '{{"Name": "minikube", "Host": "Stopped"}}'; exit 7;;
  start) echo X Exiting due to GUEST_PROVISION: the driver is another one; exit 80;;
esac
"""
        )
        program.chmod(0o755)

        def run(*settings: str, home: str = "", folder: str = ".minikube") -> tuple[str, list[str]]:
            profile = tmp_path / folder / "profiles" / "minikube"
            profile.mkdir(parents=True, exist_ok=True)
            (profile / "config.json").write_text('{"Driver": "kvm2", "Nodes": [{"IP": "192.0.2.9"}]}')
            values = [part for value in ("minikube_provider=installed", *settings) for part in ("-e", value)]
            environment = {
                "HOME": str(tmp_path),
                "PATH": f"{program.parent}:{os.environ['PATH']}",
                "MINIKUBE_HOME": home,
            }
            kubeconfig = ["-e", f"stack_kubeconfig={tmp_path}/kubeconfig"]
            result = playbook("ansible-playbook", "site.yml", "--tags", "minikube", *values, *kubeconfig, **environment)
            return said(result), [line.split()[0] for line in calls.read_text().splitlines() if "version" not in line]

        return run

    @pytest.mark.parametrize(
        ("home", "folder"),
        [
            ("", ".minikube"),
            ("{0}/big", "big/.minikube"),
            ("{0}/big/.minikube", "big/.minikube"),
            ("{0}/.minikube/", ".minikube"),
        ],
    )
    def test_it_is_kept(
        self, start: Callable[..., tuple[str, list[str]]], tmp_path: Path, home: str, folder: str
    ) -> None:
        """Wherever minikube has its profile: one that reads as empty was once answered by a deletion."""
        message, called = start("minikube_driver=kvm2", home=home.format(tmp_path), folder=folder)
        assert (
            "minikube does not start the profile minikube: GUEST_PROVISION: the driver is another one. Nothing"
            in message
        )
        assert "minikube_recreate=true makes a new cluster in its place" in message
        assert called == ["status", "start", "start"]

    @pytest.mark.parametrize(
        ("settings", "expected"),
        [
            (["minikube_recreate=true"], "minikube_recreate_may_lose=volumes agrees to that"),
            (
                ['{"minikube_recreate": true, "minikube_recreate_may_lose": ["volumes"]}'],
                "not every Secret can be kept",
            ),
        ],
    )
    def test_it_is_kept_unless_all_that_would_be_lost_is_named(
        self, start: Callable[..., tuple[str, list[str]]], settings: list[str], expected: str
    ) -> None:
        message, called = start(*settings)
        assert expected in message
        assert called == ["status", "start", "start"]

    def test_it_is_replaced_where_all_that_is_lost_is_named(self, start: Callable[..., tuple[str, list[str]]]) -> None:
        message, called = start('{"minikube_recreate": true, "minikube_recreate_may_lose": ["volumes", "secrets"]}')
        assert "GUEST_PROVISION" in message
        assert called == ["status", "start", "start", "delete", "start", "start"]
