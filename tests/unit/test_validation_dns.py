"""Which names are taken, by the rules of the API server, of X.509 and of DNS."""

from __future__ import annotations

from typing import Any

import pytest

from stack.validation import dns

LONG_LABEL = "a" * 63
# 83 characters, and the longest that DNS has.
HOST_83 = f"{'a' * 39}.{'b' * 31}.example.com"
HOST_253 = ".".join([LONG_LABEL, LONG_LABEL, LONG_LABEL, "b" * 61])

HOSTS = [
    "app.example.com", "localhost", "intranet", "4711.example.com", "a-b.c--d.example", "xn--bcher-kva.example", "true",
    HOST_83, HOST_253,
]  # fmt: skip
NO_HOSTS = {
    "": "of letters",
    "App.example.com": "lower case",
    "app.example.com.": "dot at its end",
    "app_1.example.com": "of letters",
    "-app.example.com": "of letters",
    "app-.example.com": "of letters",
    "app..example.com": "of letters",
    "app example.com": "of letters",
    "https://app.example.com": "of letters",
    "app.example.com:443": "of letters",
    "app.example.com\n": "of letters",
    "*.example.com": "of letters",
    "203.0.113.7": "no address",
    "::1": "no address",
    "[2001:db8::1]": "no address",
    "127.1": "no number",
    "app.123": "no number",
    "app.0x7f": "no number",
    "bücher.example": "xn--bcher-kva.example",
    "xn--a.example": "other letters",
    "xn--.example": "of letters",
    f"{'a' * 64}.example.com": "63 characters",
    f"{HOST_253}c": "253 characters",
}


def test_examples_have_the_lengths_that_they_stand_for() -> None:
    assert [len(HOST_83), len(HOST_253)] == [83, 253]


@pytest.mark.parametrize("value", HOSTS)
def test_host_is_taken(value: str) -> None:
    assert dns.host(value) is None


@pytest.mark.parametrize(("value", "reason"), NO_HOSTS.items())
def test_host_is_refused_with_its_reason(value: str, reason: str) -> None:
    assert reason in str(dns.host(value))


@pytest.mark.parametrize("value", [None, 4711, True, ["app.example.com"]])
def test_host_is_text(value: Any) -> None:
    assert "as text" in str(dns.host(value))


def test_a_wildcard_is_taken_where_certificates_have_them() -> None:
    assert dns.host_or_wildcard("*.example.com") is None
    assert dns.host_or_wildcard("app.example.com") is None
    for value in ("*", "*.", "*.*.example.com", "a.*.example.com", "*app.example.com", "*.203.0.113.7"):
        assert dns.host_or_wildcard(value)


@pytest.mark.parametrize("value", ["a", "4711", "true", "1e3", LONG_LABEL, "a-1"])
def test_label_is_taken(value: str) -> None:
    assert dns.label(value) is None
    assert dns.subdomain(value) is None


@pytest.mark.parametrize("value", ["", "A", "a.b", "a_b", "-a", "a-", "a" * 64, "a\n", "ä", 4711, None, True])
def test_label_is_refused(value: Any) -> None:
    assert dns.label(value)


@pytest.mark.parametrize("value", ["", "A.b", "a..b", ".a", "a.", "a b", "a" * 254, 4711, None])
def test_subdomain_is_refused(value: Any) -> None:
    assert dns.subdomain(value)
    assert dns.subdomain("letsencrypt.example-1") is None
