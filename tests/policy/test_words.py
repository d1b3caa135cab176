"""The spell check finds what is misspelled where people read, and leaves names and code alone."""

from __future__ import annotations

import hunspell
import pytest
import words

KNOWN = words.dictionary()


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("README.md", "# Title\n\nWe recieve rows.\n", 3),
        ("README.md", "```sh\nmake deploy\n```\n\n| a table | with [a lnk](page.md) |\n", 5),
        ("docs/page.md", "A *databse* in bold.\n", 1),
        ("roles/a/tasks/main.yml", "---\n- name: Wait for the StatefullSet\n  debug:\n", 2),
        ("roles/a/tasks/main.yml", "---\n# The volumne stays.\n- name: Wait\n", 2),
        ("roles/a/tasks/main.yml", "---\n- block:\n    - assert:\n        fail_msg: this setting is mispeled\n", 4),
        ("roles/a/meta/argument_specs.yml", "---\noptions:\n  a:\n    description: [The numer of pods.]\n", 4),
        ("roles/a/templates/a.yaml.j2", "a: b\n{# The templete of a pod. #}\n", 2),
        ("src/stack/a.py", '"""A modul."""\n', 1),
        ("src/stack/a.py", 'def a() -> None:\n    """Do it.\n\n    Args:\n        b: The conection.\n    """\n', 5),
        ("src/stack/a.py", "a = 1  # the defalt\n", 1),
        ("src/stack/a.py", "a = 1  # in nanoseconds, by defalt\n", 1),
        ("images/a/bin/run", "#!/usr/bin/env python3\n# The scrpit.\n", 2),
        ("images/a/bin/run", "#!/bin/sh\n# The scrpit.\n", 2),
        ("images/a/Dockerfile", "FROM a\n# The imgae.\n", 2),
        ("Makefile", "# The comands.\nall:\n", 1),
    ],
)
def test_a_misspelled_word_is_found(name: str, text: str, line: int) -> None:
    [found] = words.unknown(name, text, KNOWN)
    assert found.startswith(f"{name}:{line}: ")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("README.md", "```mermaid\nflowchrt LR\n```\n"),
        ("docs/page.md", "---\nhide: [xyzzy]\n---\n\nA page.\n"),
        ("README.md", "Set `flsk_app` and ``a `b` xyzzy``, see [it](xyzzy.md#plugh) or https://xyzzy.example.\n"),
        ("README.md", "A setting\n`that goes\non xyzzy` here.\n"),
        ("README.md", "The database's pods don\u2019t run roles/xyzzy, --xyzzy, xyzzy_plugh, k8s or xyzzy.yml.\n"),
        ("roles/a/tasks/main.yml", "---\n- name: Wait for {{ xyzzy }}\n  kubernetes.core.k8s:\n    name: xyzzy\n"),
        ("roles/a/meta/argument_specs.yml", "---\na:\n  description: The value of V(xyzzy) or C(plugh).\n"),
        ("roles/a/templates/a.yaml.j2", "a: {{ xyzzy }}\n{# It's fine. #}\n"),
        ("src/stack/a.py", 'xyzzy = "plugh"  # noqa: XYZZY\n'),
        (
            "src/stack/a.py",
            'def a() -> None:\n    """Do ``xyzzy``.\n\n    Raises:\n        XyzzyError: Never.\n    """\n',
        ),
        ("go.sum", "# xyzzy\n"),
    ],
)
def test_names_and_code_are_no_words(name: str, text: str) -> None:
    assert list(words.unknown(name, text, KNOWN)) == []


def test_the_list_is_sorted_and_has_only_what_the_dictionary_lacks() -> None:
    listed = words.LIST.read_text().split()
    assert listed == sorted(set(listed), key=lambda word: (word.lower(), word))
    spell = hunspell.Hunspell("en_US").spell
    assert [word for word in listed if word.isascii() and spell(word)] == []
