"""Which tokens writes may carry."""

from __future__ import annotations

import pytest

from conftest import AUTHORIZATION, run_app, settings_of

NEXT = "the-token-after-it"


@pytest.mark.parametrize(
    ("api_token_next", "headers", "status"),
    [
        (NEXT, AUTHORIZATION, 201),
        (NEXT, {"Authorization": f"Bearer {NEXT}"}, 201),
        (NEXT, {"Authorization": "Bearer another"}, 401),
        (None, {"Authorization": f"Bearer {NEXT}"}, 401),
        (None, {"Authorization": "Bearer "}, 401),
    ],
)
def test_a_next_token_is_accepted_beside_the_one_to_use(
    environ: dict[str, str], api_token_next: str | None, headers: dict[str, str], status: int
) -> None:
    with run_app(settings_of(environ, api_token_next=api_token_next)) as app:
        response = app.test_client().post("/api/data", json={"name": "x"}, headers=headers)
    assert response.status_code == status
