"""The deployed service against its OpenAPI document, through HTTPS. `make fuzz` is the long form."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import ROOT, Stack, until

EXAMPLES = os.environ.get("FUZZ_EXAMPLES", "5")
# The short form asks the same each time; the long one finds what is new.
SEED = "" if "FUZZ_EXAMPLES" in os.environ else "1"


@pytest.fixture
def _rows_kept(stack: Stack, kubectl: Callable[..., str]) -> Iterator[None]:
    """Put back the rows that there are: the cases change and delete what they find."""
    psql = f"exec -i service/postgres -- psql -U postgres -d {stack.secret('flask-app-db')['DB_NAME']} -q"
    rows = kubectl(f'{psql} -c "COPY data TO STDOUT"')
    yield
    kubectl(f'{psql} --single-transaction -c "TRUNCATE data" -c "COPY data FROM STDIN"', stdin=rows)
    assert kubectl(f'{psql} -c "COPY data TO STDOUT"') == rows


@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("_rows_kept")
def test_the_deployed_service_keeps_its_contract(stack: Stack, tmp_path: Path) -> None:
    until(stack.is_settled, 120, "pods come and go")
    scripts = ROOT / ".venv-app" / "bin"
    fuzz = subprocess.run(
        [ROOT / "app" / "tests" / "fuzz", stack.app_url],
        env={
            **os.environ,
            "PATH": f"{scripts}:{os.environ['PATH']}",
            "API_TOKEN": stack.secret("flask-app-secret")["API_TOKEN"],
            "ADDRESS": "127.0.0.1",
            "CA_FILE": str(stack.ca_file),
            "MAX_EXAMPLES": EXAMPLES,
            "SEED": SEED,
        },
        cwd=tmp_path,
        check=False,
    )
    assert fuzz.returncode == 0, "schemathesis says above what failed"
