"""`holdfast personas`: what personas there are, and whether a file of one's own is sound.

The list, a persona and the result of a check are results and go to standard output;
errors are sentences that `main` prints on standard error.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from holdfast.cli.personas.check import check, console
from holdfast.cli.personas.consistency import consistency
from holdfast.cli.personas.draft import draft
from holdfast.cli.personas.imports import export, import_file
from holdfast.core.errors import PersonaError, shorten, suggestion
from holdfast.persona.every_reply import load_persona
from holdfast.persona.suite import Persona, Suite, load_suite, select

app = typer.Typer(
    name="personas",
    help="List, show, check, draft and import personas; consistency of recorded ones.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

app.command("check")(check)
app.command("consistency")(consistency)
app.command("draft")(draft)
app.command("import")(import_file)
app.command("export")(export)

SuiteOption = Annotated[
    str, typer.Option("--suite", help="A built-in suite, a TOML file, or a folder of them.")
]


@app.command("list")
def list_personas(
    suite: SuiteOption = "core",
    category: Annotated[
        str | None, typer.Option("--category", help="Only personas of this category.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the personas of a suite."""
    whole = load_suite(suite)
    personas = _of(whole, category)
    if as_json:
        print(json.dumps([record(persona) for persona in personas], ensure_ascii=False))
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("id", "category", "judge", "prompt"):
        table.add_column(heading, no_wrap=heading != "prompt", overflow="fold")
    for persona in personas:
        judge, prompt = str(persona.judge["name"]), shorten(persona.prompt, 90)
        table.add_row(persona.id, persona.category, judge, Text(prompt))
    terminal = console()
    terminal.print(table)
    counts = Counter(persona.category for persona in personas)
    terminal.print(
        f"\n{len(personas)} personas: {', '.join(f'{c} {n}' for c, n in counts.items())}"
    )


@app.command()
def show(
    identity: Annotated[str, typer.Argument(metavar="ID", help="The persona's id, or SUITE:ID.")],
    suite: SuiteOption = "core",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show one persona: prompt, probes, judge and examples."""
    persona = (
        load_persona(identity) if ":" in identity else select(load_suite(suite), [identity])[0]
    )
    if as_json:
        print(json.dumps(record(persona), ensure_ascii=False))
        return
    print(f"{persona.id} ({persona.category})\n\n{persona.prompt}\n")
    for heading, texts in (
        ("probes", persona.probes),
        ("judge", (json.dumps(persona.judge, ensure_ascii=False),)),
        ("passes", persona.passes),
        ("fails", persona.fails),
    ):
        if texts:
            print(f"{heading}:", *(f"  - {_indent(text)}" for text in texts), sep="\n")


def record(persona: Persona) -> dict[str, object]:
    """A persona as JSON, without fields that are not set."""
    return {key: value for key, value in asdict(persona).items() if value is not None}


def _of(suite: Suite, category: str | None) -> tuple[Persona, ...]:
    if category is None:
        return suite.personas
    personas = tuple(persona for persona in suite.personas if persona.category == category)
    if not personas:
        hint = suggestion(category, dict.fromkeys(persona.category for persona in suite.personas))
        raise PersonaError(f"suite “{suite.name}” has no category “{category}”: {hint}")
    return personas


def _indent(text: str) -> str:
    return text.replace("\n", "\n    ")
