"""A drafted suite as a TOML file that people read and edit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from holdfast.core.errors import PersonaError
from holdfast.persona.draft.drafting import Draft
from holdfast.persona.files import as_toml
from holdfast.persona.suite import Persona

_WIDE = 100
_TEXTS = ("name", "language", "note", "source")


def write_draft(draft: Draft, path: Path) -> None:
    """Write a draft, with what could not be judged as comments.

    Raises:
        PersonaError: there is a file of that name, which may have been edited, or no folder.
    """
    head = [
        "# Drafted from a system prompt, a persona for each of its demands. Read it, and edit it:",
        "# probes that your users would ask, replies that should pass and fail. Then:",
        f"#     holdfast personas check {path}",
    ]
    if draft.unjudged:
        head += ["#", "# Not judged:"]
        head += [f"#   - {' '.join(one.text.split())} ({one.why})" for one in draft.unjudged]
    write_suite(draft.suite.personas, path, head, draft.suite.starters)


def write_suite(
    personas: Sequence[Persona], path: Path, head: Sequence[str] = (), starters: Sequence[str] = ()
) -> None:
    """Write personas as a suite.

    Args:
        personas: the personas.
        path: the file, which must not be there yet.
        head: lines of comment before them.
        starters: first messages of conversations.

    Raises:
        PersonaError: there is a file of that name, or no folder for it.
    """
    parts = ["\n".join(head)] if head else []
    if starters:
        parts.append(f"starters = {_value(list(starters))}")
    parts += ["\n".join(_persona(one)) for one in personas]
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write("\n\n".join(parts) + "\n")
    except FileExistsError:
        raise PersonaError(f"{path} is there already: name another --out, or remove it.") from None
    except OSError as error:
        raise PersonaError(f"{path} cannot be written ({error.strerror}).") from None


def _persona(persona: Persona) -> Iterator[str]:
    yield "[[persona]]"
    yield f"id = {as_toml(persona.id)}"
    yield f"category = {as_toml(persona.category)}"
    yield f"prompt = {_long(persona.prompt)}"
    yield f"probes = {_value(list(persona.probes))}"
    yield f"judge = {_value(persona.judge)}"
    for name in ("passes", "fails"):
        if texts := getattr(persona, name):
            yield f"{name} = {_value(list(texts))}"
    for name in _TEXTS:
        if (text := getattr(persona, name)) is not None:
            yield f"{name} = {as_toml(text)}"


def _long(text: str) -> str:
    """A text of several lines as TOML shows them, where nothing in it needs escapes."""
    plain = "\n" in text and "'''" not in text and "\r" not in text and text.isprintable() is False
    safe = plain and all(char in "\n\t" or char.isprintable() for char in text)
    return f"'''\n{text}'''" if safe and not text.endswith("'") else as_toml(text)


def _value(value: object, indent: str = "") -> str:
    """A value on one line where it fits, else a list with a line for each item."""
    line = as_toml(value)
    if len(indent + line) <= _WIDE:
        return line
    inner = f"{indent}  "
    if isinstance(value, list):
        items = "".join(f"{inner}{_value(one, inner)},\n" for one in value)
        return f"[\n{items}{indent}]"
    if isinstance(value, Mapping):
        # An inline table stays on one line but for the lists in it.
        return "{ " + ", ".join(f"{k} = {_value(v, indent)}" for k, v in value.items()) + " }"
    return line
