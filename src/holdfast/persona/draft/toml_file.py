"""A drafted suite as a TOML file that people read and edit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from holdfast.persona.draft.drafting import Draft
from holdfast.persona.files import as_toml, toml_key, write_new
from holdfast.persona.suite import TEXT_FIELDS, Persona, Suite

_WIDE = 100


def write_draft(draft: Draft, path: Path, ignored: Sequence[str] = ()) -> None:
    """Write a draft, with what could not be judged as comments.

    Args:
        draft: the draft.
        path: the file, which must not be there yet.
        ignored: fields of a character card that were left out.

    Raises:
        PersonaError: there is a file of that name, which may have been edited, or no folder.
    """
    head = [
        "# Drafted from a system prompt, a persona for each of its demands. Read it, and edit it:",
        "# probes that your users would ask, replies that should pass and fail. Then:",
        f"#     holdfast personas check {path}",
        "# Logs and traffic are judged by the personas that every_reply lists, and by no others.",
    ]
    if draft.unjudged:
        head += ["#", "# Not judged:"]
        head += [_item(f"{one.text} ({one.why})") for one in draft.unjudged]
    if draft.described:
        head += ["#", "# Read by no rule, and without a demand that it knows:"]
        head += map(_item, draft.described)
    if ignored:
        head += ["#", "# Of the card, left out:", *map(_item, ignored)]
    write_suite(draft.suite, path, head)


def _item(text: str) -> str:
    """A text as a comment, which in TOML holds no control characters."""
    return f"#   - {''.join(c for c in ' '.join(text.split()) if c.isprintable())}"


def write_suite(suite: Suite, path: Path, head: Sequence[str] = ()) -> None:
    """Write a suite.

    Args:
        suite: the suite.
        path: the file, which must not be there yet.
        head: lines of comment before it.

    Raises:
        PersonaError: there is a file of that name, or no folder for it.
    """
    parts = ["\n".join(head)] if head else []
    for name in ("starters", "fillers"):
        if texts := getattr(suite, name):
            parts.append(f"{name} = {_value(list(texts))}")
    if suite.every_reply is not None:
        parts.append(f"every_reply = {_value(list(suite.every_reply))}")
    if suite.card is not None:
        parts.append(f"card = {as_toml(suite.card)}")
    parts += ["\n".join(_persona(one)) for one in suite.personas]
    write_new(path, "\n\n".join(parts) + "\n")


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
    for name in TEXT_FIELDS:
        if (text := getattr(persona, name)) is not None:
            yield f"{name} = {as_toml(text)}"


def _long(text: str) -> str:
    """A text of several lines as TOML shows them, where nothing in it needs escapes."""
    plain = "\n" in text and "'''" not in text
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
        pairs = (f"{toml_key(str(k))} = {_value(v, indent)}" for k, v in value.items())
        return f"{{ {', '.join(pairs)} }}"
    return line
