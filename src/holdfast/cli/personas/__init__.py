"""`holdfast personas`: what personas there are, and whether a file of one's own is sound.

The list, a persona and the result of a check are results and go to standard output;
errors are sentences that `main` prints on standard error.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from holdfast.cli.session import shortened
from holdfast.core.errors import PersonaError
from holdfast.core.records import as_record
from holdfast.persona.labelled import (
    ScoredReply,
    judge_errors,
    own_examples,
    read_labelled_replies,
    score_replies,
)
from holdfast.persona.suite import Persona, Problem, Suite, check_suite, load_suite, select

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
    console = _console()
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
    cases: Annotated[
        Path | None,
        typer.Option(
            "--cases",
            help="Labelled replies to score in place of the suite's own examples: a JSONL file, "
            "one object a line with persona, expected (pass or fail), text and perhaps kind.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print each category's shares of wrong scores as JSON.")
    ] = False,
) -> None:
    """Run every judge on its persona's examples, or on labelled replies, and say what is wrong."""
    personas = load_suite(suite)
    if cases is None:
        _check_examples(personas, as_json)
    else:
        _check_cases(score_replies(personas, read_labelled_replies(cases)), as_json)


def _check_examples(suite: Suite, as_json: bool) -> None:
    """The suite's own examples; exits with 2 where a judge gets one of them wrong."""
    problems = check_suite(suite)
    if as_json:
        print(_errors_json(score_replies(suite, own_examples(suite))))
        if problems:
            raise typer.Exit(2)
        return
    for problem in problems:
        print(_wrong_score(problem))
    for note in _notes(suite):
        print(note)
    judged = [persona for persona in suite.personas if not persona.needs_model]
    examples = sum(len(persona.passes) + len(persona.fails) for persona in judged)
    if problems:
        print(f"{len(problems)} of {examples} examples are not scored as they should be.")
        raise typer.Exit(2)
    if examples:
        count = f"{len(judged)} persona{'s' if len(judged) != 1 else ''}"
        print(f"{examples} examples of {count} are scored as they should be.")
    else:
        print("The file is sound; there are no examples to score.")


def _check_cases(scored: Sequence[ScoredReply], as_json: bool) -> None:
    """Labelled replies: the wrong scores, then the shares by category."""
    if as_json:
        print(_errors_json(scored))
        return
    for one in scored:
        if one.wrong:
            reply = one.reply
            print(
                _wrong_score(Problem(reply.persona, reply.text, reply.expected, one.score, one.why))
            )
    table = Table(box=None, pad_edge=False)
    for heading in ("category", "n", "false fail", "false pass", "stuffed pass"):
        table.add_column(heading, justify="left" if heading == "category" else "right")
    for category, errors in judge_errors(scored).items():
        shares = (errors.false_fail, errors.false_pass, errors.stuffed_pass)
        cells = ("–" if share is None else f"{share:.0%}" for share in shares)
        table.add_row(category, str(errors.n), *cells)
    _console().print(table)


def _wrong_score(problem: Problem) -> str:
    expected = "should pass" if problem.expected == "pass" else "should fail"
    example = json.dumps(shortened(problem.example, 90), ensure_ascii=False)
    return (
        f"{problem.persona}: scores {problem.score:.2f} but {expected}: {example} ({problem.why})"
    )


def _errors_json(scored: Sequence[ScoredReply]) -> str:
    return json.dumps(as_record(judge_errors(scored)), ensure_ascii=False)


def _console() -> Console:
    """Full-width output; beyond a terminal (a pipe, a file) nobody folds lines."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 200)


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
