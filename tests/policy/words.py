"""Check the spelling of documents, comments, docstrings and names of tasks; a part of `make lint`.

The dictionary is Hunspell's American English. Words of the field that it lacks are in words.txt, one a line.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import hunspell
import yaml

ROOT = Path(__file__).parents[2]
LIST = Path(__file__).with_name("words.txt")
# Pictures, locks, and what others have written.
NO_TEXT = re.compile(r"\.(png|svg|sum|lock)$|/static/|(^|/)requirements[^/]*\.txt$")

# A line number, and what is written there.
Text = tuple[int, str]

# Keys of YAML whose values are sentences: names of tasks and plays, messages, descriptions of settings.
SENTENCES = {"name", "msg", "fail_msg", "success_msg", "description", "short_description", "summary", "title"}
# What no person reads as words: code in backquotes, expressions of Jinja, tags of HTML, addresses, directives to tools.
NO_WORDS = re.compile(
    r"``.*?``|`[^`]*`|\{\{.*?\}\}|\{%.*?%\}|[A-Z]\([^)]*\)"
    r"|<[^<>\s][^<>]*>|[a-z]+://\S+|\b(?:noqa|nosec|fmt|type: ignore)\b.*",
    re.DOTALL,
)
# A chunk between spaces that holds one of these is a name or a value: a path, a variable, an option, a number.
NO_WORD = re.compile(r"[/\\_=@$%<>{}\d\[\]*+|#&^~]|\w[.:]\w|--|^-\w|\w\(")
WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")


def words(text: str) -> Iterator[str]:
    """The words of a text that are to be spelled, without the genitive's s."""
    for chunk in NO_WORDS.sub(" ", text).replace("\u2019", "'").split():
        if not NO_WORD.search(chunk):
            for word in WORD.findall(chunk):
                yield word.removesuffix("'s")


def markdown(text: str) -> Iterator[Text]:
    """What a page says, without blocks of code and the targets of links."""
    block = re.compile(r"\A---\n.*?^---$|^( *)```.*?^\1```|<!--.*?-->", re.MULTILINE | re.DOTALL)
    blank = block.sub(lambda found: "\n" * found[0].count("\n"), text)
    blank = re.sub(r"\]\([^)\s]*\)", "]", blank)
    # Backquotes may span two lines.
    blank = re.sub(r"``.*?``|`[^`]*`", lambda found: "`x`" + "\n" * found[0].count("\n"), blank)
    for number, line in enumerate(blank.splitlines(), 1):
        yield number, re.sub(r"[\[\]|*#]", " ", line)


def comments(text: str) -> Iterator[Text]:
    """What follows a hash at a line's beginning or after a space, or stands in a comment of Jinja."""
    for number, line in enumerate(text.splitlines(), 1):
        if found := re.search(r"(?:^|\s)#(?!!)+\s(.*)$", line):
            yield number, found[1]
        for comment in re.findall(r"\{#-?(.*?)-?#\}", line):
            yield number, comment


def sentences(text: str) -> Iterator[Text]:
    """Comments of YAML, and the values of keys that hold sentences."""
    yield from comments(text)

    def walk(node: yaml.Node | None) -> Iterator[Text]:
        if isinstance(node, yaml.SequenceNode):
            for item in node.value:
                yield from walk(item)
        elif isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value in SENTENCES:
                    for item in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                        # A single word is the name of an object.
                        if isinstance(item, yaml.ScalarNode) and " " in item.value:
                            yield item.start_mark.line + 1, item.value
                yield from walk(value)

    for document in yaml.compose_all(text, yaml.CSafeLoader):
        yield from walk(document)


def python(text: str) -> Iterator[Text]:
    """Comments and docstrings."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string.lstrip("#!: ")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            docstring = ast.get_docstring(node, clean=False)
            if docstring and isinstance(node.body[0], ast.Expr):
                for offset, line in enumerate(re.sub(r"``.*?``|`[^`]*`", "", docstring).splitlines()):
                    # Names of arguments and errors stand before a colon.
                    yield node.body[0].lineno + offset, re.sub(r"^\s*[\w.*]+:(?=\s|$)", "", line)


READERS: list[tuple[re.Pattern[str], Callable[[str], Iterator[Text]]]] = [
    (re.compile(r"\.md$"), markdown),
    (re.compile(r"\.py$"), python),
    (re.compile(r"\.ya?ml$|\.(yamllint|ansible-lint)$"), sentences),
    (re.compile(r"\.(j2|sh|toml|cfg|in|ini|service)$|(Make|Docker)file$|\.(editorconfig|gitignore)$"), comments),
]


def reader_of(name: str, text: str) -> Callable[[str], Iterator[Text]] | None:
    """How a file is read, by its name or its first line; None for what holds no words."""
    if text.startswith("#!"):
        return python if "python" in text.partition("\n")[0] else comments
    return next((reader for pattern, reader in READERS if pattern.search(name)), None)


def unknown(name: str, text: str, known: Callable[[str], bool]) -> Iterator[str]:
    """The words of a file that nobody knows, each as a line with its place.

    Args:
        name: The file's path in the repository.
        text: Its content.
        known: Whether a word is spelled correctly.
    """
    reader = reader_of(name, text)
    for number, line in reader(text) if reader else []:
        for word in words(line):
            if not known(word):
                yield f"{name}:{number}: {word}"


def dictionary() -> Callable[[str], bool]:
    """Whether Hunspell or the list has a word; one that the list has in small letters may begin with a capital."""
    listed = set(LIST.read_text().split())
    spell = hunspell.Hunspell("en_US").spell

    @cache
    def known(word: str) -> bool:
        small = word[:1].lower() + word[1:]
        return len(word) == 1 or not listed.isdisjoint({word, small}) or (word.isascii() and bool(spell(word)))

    return known


def main() -> None:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    known = dictionary()
    found: list[str] = []
    for name in listing.stdout.split("\0"):
        if name and not NO_TEXT.search(name) and (path := ROOT / name).is_file():
            found += unknown(name, path.read_text(), known)
    if found:
        found.append(f"Correct these words, or add them to {LIST.relative_to(ROOT)}")
    sys.exit("\n".join(found) or 0)


if __name__ == "__main__":
    main()
