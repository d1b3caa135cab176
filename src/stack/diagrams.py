"""Diagrams of the site, drawn while it is made: the theme's own way fetches a script from another host."""

from __future__ import annotations

from typing import Any

import mmdr

THEME = '%%{init: {"theme": "neutral"}}%%\n'


def fence(source: str, _language: str, css_class: str, _options: dict[str, Any], _md: Any, **_other: Any) -> str:
    """A block of Mermaid as a picture, as a custom fence of SuperFences.

    See https://facelessuser.github.io/pymdown-extensions/extensions/superfences/#formatters for the arguments.
    """
    return f'<div class="{css_class}">{mmdr.render(THEME + source).svg()}</div>'
