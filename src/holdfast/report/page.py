"""The page of a drift run: one HTML file that asks nothing of the network.

A content security policy allows exactly this package's style sheet and script, by
their hashes, and nothing else; Jinja escapes every value; the script may not turn
text into markup (trusted types). So a reply that holds markup stays text, twice over.
The file is written beside its place and moved there, so that a page is whole or absent.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from holdfast.errors import RunError
from holdfast.report import attention, figures, transcript, words

FOLDER = Path(__file__).parent


def write_drift(
    summary: Mapping[str, Any], conversations: Sequence[Mapping[str, Any]], path: Path
) -> None:
    """Write the report of a drift run.

    `summary` is the object that `holdfast drift --json` prints, with its lists of
    R + 1 entries; `conversations` hold persona, partner, starter and rounds with
    their judged probe answers. Raises `RunError` where the file cannot be written.
    """
    page = render(summary, conversations)
    draft = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(page.encode("utf-8", "replace"))
        os.replace(draft, path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise RunError(
            f"The report could not be written to {path} ({error.strerror or error}); the records "
            "are kept, so make room there and run the same command again."
        ) from error


def render(summary: Mapping[str, Any], conversations: Sequence[Mapping[str, Any]]) -> str:
    """The page as text."""
    style, script = _asset("style.css"), _asset("page.js")
    found = transcript.entries(conversations)
    template = _environment().get_template("drift.html.j2")
    return template.render(
        s=summary,
        policy=policy(style, script),
        style=Markup(style),
        script=Markup(script),
        headline=words.headline(summary),
        recorded=not any(entry.user for entry in found),
        standfirst=words.standfirst(summary),
        stability=figures.stability(summary),
        ledger=figures.ledger(summary),
        categories=figures.categories(summary),
        category_table=figures.category_table(summary),
        attention=[f for f in (attention.layers(summary), attention.share(summary)) if f],
        within=attention.within(summary),
        heads=attention.heads(summary),
        specimens=transcript.specimens(found),
        portraits=transcript.portraits(found),
        entries=found,
        left_out=sum(not entry.whole for entry in found),
        slip=transcript.SLIP,
    )


def policy(style: str, script: str) -> str:
    """The content security policy that allows this style sheet and this script alone."""
    return "; ".join(
        (
            "default-src 'none'",
            f"style-src '{_hash(style)}'",
            f"script-src '{_hash(script)}'",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


def _asset(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=words.number,
        signed=words.signed,
        percent=words.percent,
        signed_span=words.signed_span,
        visible=transcript.visible,
    )
    environment.globals.update(quantity=words.quantity)
    return environment
