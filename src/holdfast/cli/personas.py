"""`holdfast personas`: what personas there are, and whether a file of one's own is sound.

The list, a persona and the result of a check are results and go to standard output;
errors are sentences that `main` prints on standard error.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from holdfast.cli.session import shortened
from holdfast.core.errors import PersonaError
from holdfast.persona.suite import Persona, Suite, check_suite, load_suite, select

app = typer.Typer(
    name="personas",
    help="List, show and check personas.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

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
    found = load_suite(suite)
    personas = _of(found, category)
    if as_json:
        print(json.dumps([record(persona) for persona in personas], ensure_ascii=False))
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("id", "category", "judge", "prompt"):
        table.add_column(heading, no_wrap=heading != "prompt", overflow="fold")
    for persona in personas:
        judge, prompt = str(persona.judge["name"]), shortened(persona.prompt, 90)
        table.add_row(persona.id, persona.category, judge, Text(prompt))
    # Beyond a terminal (a pipe, a file) nobody folds lines, so leave them whole.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    console.print(table)
    counts = Counter(persona.category for persona in personas)
    console.print(f"\n{len(personas)} personas: {', '.join(f'{c} {n}' for c, n in counts.items())}")


@app.command()
def show(
    identity: Annotated[str, typer.Argument(metavar="ID", help="The persona's id.")],
    suite: SuiteOption = "core",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show one persona: prompt, probes, judge and examples."""
    persona = select(load_suite(suite), [identity])[0]
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


@app.command()
def check(
    suite: Annotated[
        str, typer.Argument(metavar="FILE_OR_SUITE", help="A TOML file, a folder, or a suite.")
    ],
) -> None:
    """Run every judge on its persona's examples, and say what is wrong."""
    found = load_suite(suite)
    problems = check_suite(found)
    for problem in problems:
        wanted = "should pass" if problem.expected == "pass" else "should fail"
        print(
            f"{problem.persona}: scores {problem.score:.2f} but {wanted}: "
            f"{json.dumps(shortened(problem.example, 90), ensure_ascii=False)} ({problem.why})"
        )
    for note in _notes(found):
        print(note)
    judged = [persona for persona in found.personas if not persona.needs_model]
    examples = sum(len(persona.passes) + len(persona.fails) for persona in judged)
    if problems:
        print(f"{len(problems)} of {examples} examples are not scored as they should be.")
        raise typer.Exit(2)
    if examples:
        count = f"{len(judged)} persona{'s' if len(judged) != 1 else ''}"
        print(f"{examples} examples of {count} are scored as they should be.")
    else:
        print("The file is sound; there are no examples to score.")


def record(persona: Persona) -> dict[str, object]:
    """A persona as JSON, without fields that are not set."""
    return {key: value for key, value in asdict(persona).items() if value is not None}


def _of(suite: Suite, category: str | None) -> tuple[Persona, ...]:
    if category is None:
        return suite.personas
    found = tuple(persona for persona in suite.personas if persona.category == category)
    if not found:
        known = ", ".join(dict.fromkeys(persona.category for persona in suite.personas))
        raise PersonaError(f"suite “{suite.name}” has no category “{category}”; it has {known}")
    return found


def _notes(suite: Suite) -> list[str]:
    """What a check could not see."""
    notes = []
    bare = [p.id for p in suite.personas if not p.needs_model and not (p.passes and p.fails)]
    if bare:
        notes.append(f"Without passes or fails to check: {_listed(bare)}.")
    unjudged = [p.id for p in suite.personas if p.needs_model]
    if unjudged:
        notes.append(f"Judged by a model, so not checked here: {_listed(unjudged)}.")
    return notes


def _listed(ids: list[str], limit: int = 8) -> str:
    more = f" and {len(ids) - limit} more" if len(ids) > limit else ""
    return ", ".join(ids[:limit]) + more


def _indent(text: str) -> str:
    return text.replace("\n", "\n    ")
