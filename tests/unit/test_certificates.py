"""Names on certificates."""

from __future__ import annotations

import pytest

from stack.certificates import common_name


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["app.example.com", "b.example.com"], "app.example.com"),
        (["a" * 64], "a" * 64),
        (["a" * 65, "b.example.com"], "b.example.com"),
        (["a" * 65, "b" * 253], ""),
        ([], ""),
    ],
)
def test_the_common_name_is_the_first_that_fits(names: list[str], expected: str) -> None:
    assert common_name(names) == expected
