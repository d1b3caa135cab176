"""Write the site's reference from what it describes: the Makefile, the roles and the service's OpenAPI document."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from flask_postgres_app import create_app
from flask_postgres_app.settings import Settings

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "reference"
# The document does not depend on them.
ANY_SETTINGS = dict.fromkeys(("DB_HOST", "DB_NAME", "DB_USER", "DB_PASSWORD", "API_TOKEN"), "any")


def cell(text: object) -> str:
    """Text for a table, with Ansible's markup as Markdown's."""
    joined = " ".join(text) if isinstance(text, list) else str(text)
    return re.sub(r"\b[CVO]\(([^)]*)\)", r"`\1`", " ".join(joined.split())).replace("|", "\\|")


def code(value: object) -> str:
    """A value as code for a table."""
    text = value if isinstance(value, str) else json.dumps(value)
    return f"`{' '.join(text.split())}`".replace("|", "\\|") if text else ""


def table(*head: str, rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def commands() -> Iterator[str]:
    """The commands in the groups that `make` alone prints."""
    yield "# Commands\n"
    yield "`make help` lists them. Each takes `INVENTORY=` (`inventory/minikube`) and `ARGS=`, arguments to add to"
    yield "the command that it runs."
    for group in (ROOT / "Makefile").read_text().split("\n##@ ")[1:]:
        title, _, targets = group.partition("\n")
        found = re.findall(r"^([a-z0-9-]+%?):.*## (.*)$", targets, re.MULTILINE)
        yield f"\n## {title}\n"
        yield from table("command", "what it does", rows=(
            (f"`make {name.replace('%', 'NAME')}`", cell(text)) for name, text in found
        ))  # fmt: skip


def role_page(role: Path) -> Iterator[str]:
    """A role's README, and its settings as they are checked."""
    text = (role / "README.md").read_text()
    text = re.sub(r"\]\(\.\./(\w+)/README\.md(#[\w-]+)?\)", r"](\1.md\2)", text)
    yield re.sub(r"\]\(\.\./\.\./docs/", "](../../", text)
    specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())["argument_specs"]["main"]
    defaults = yaml.safe_load((role / "defaults" / "main.yml").read_text()) or {}
    yield "## Settings\n"

    def rows() -> Iterator[tuple[str, ...]]:
        for name, option in specs.get("options", {}).items():
            kind = " or ".join(map(str, option["choices"])) if "choices" in option else option["type"]
            default = code(defaults[name]) if name in defaults else "required"
            yield f"`{name}`", kind, default, cell(option["description"])

    yield from table("setting", "type", "default", "meaning", rows=rows())


def roles(found: list[Path]) -> Iterator[str]:
    yield "# Roles and their settings\n"
    yield "Set any of them in the inventory's `group_vars`, or for one run with `ARGS='-e name=value'`.\n"

    def rows() -> Iterator[tuple[str, ...]]:
        for role in found:
            specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())["argument_specs"]["main"]
            yield f"[{role.name}](roles/{role.name}.md)", cell(specs["short_description"])

    yield from table("role", "what it does", rows=rows())


def schema_text(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if schema.get("type") == "array":
        return f"list of {schema_text(schema['items'])}"
    kind = schema.get("type", "any")
    text = " or ".join(map(str, kind)) if isinstance(kind, list) else str(kind)
    bounds = [f"{key} {schema[key]}" for key in ("minimum", "maximum", "minLength", "maxLength") if key in schema]
    if "enum" in schema:
        bounds.append("one of " + ", ".join(f"`{value}`" for value in schema["enum"]))
    return ", ".join([text, *bounds])


def body_text(item: dict[str, Any]) -> str:
    return ", ".join(
        schema_text(content["schema"]) for content in item.get("content", {}).values() if "schema" in content
    )


def api() -> Iterator[str]:
    document = create_app(Settings.from_environ(ANY_SETTINGS)).extensions["openapi"].to_dict()
    yield f"# API\n\n{document['info'].get('description', '')}\n"
    yield "The running service shows the same at `/api/docs`, to try, and gives the document at `/api/openapi.json`.\n"
    components = document.get("components", {})
    for path, methods in document["paths"].items():
        shared = methods.get("parameters", [])
        for method, operation in methods.items():
            if method == "parameters":
                continue
            yield f"\n## {method.upper()} {path}\n\n{operation.get('summary') or operation.get('description', '')}\n"
            if operation.get("security"):
                yield "Needs the bearer token.\n"
            parameters = [resolve(item, components) for item in [*shared, *operation.get("parameters", [])]]
            if parameters:
                yield from table("parameter", "in", "type", "meaning", rows=(
                    (f"`{item['name']}`", item["in"], schema_text(item["schema"]), cell(item.get("description", "")))
                    for item in parameters
                ))  # fmt: skip
                yield ""
            if "requestBody" in operation:
                yield f"Body: {body_text(operation['requestBody'])}\n"
            yield from table("status", "answer", "body", rows=(
                (status, cell(answer.get("description", "")), body_text(answer))
                for status, found in sorted(operation["responses"].items())
                for answer in [resolve(found, components)]
            ))  # fmt: skip
    yield "\n## Bodies\n"
    for name, schema in components.get("schemas", {}).items():
        yield f"\n### {name}\n"
        yield from table("field", "type", "meaning", rows=(
            (f"`{field}`", schema_text(value), cell(value.get("description", "")))
            for field, value in schema.get("properties", {}).items()
        ))  # fmt: skip


def resolve(item: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in item:
        return item
    kind, name = item["$ref"].split("/")[-2:]
    return dict(components[kind][name])


def write(page: Path, lines: Iterator[str]) -> None:
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n".join(lines) + "\n")


def main() -> None:
    found = sorted(path for path in (ROOT / "roles").iterdir() if (path / "meta" / "argument_specs.yml").exists())
    for role in found:
        write(PAGES / "roles" / f"{role.name}.md", role_page(role))
    write(PAGES / "roles.md", roles(found))
    write(PAGES / "commands.md", commands())
    write(PAGES / "service.md", iter([(ROOT / "app" / "README.md").read_text()]))
    write(PAGES / "api.md", api())


if __name__ == "__main__":
    main()
