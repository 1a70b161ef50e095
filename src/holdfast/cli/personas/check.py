"""`holdfast personas check`: does every judge do what its examples, or labelled replies, say?"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from holdfast.core.errors import shorten
from holdfast.core.records import as_record
from holdfast.persona.draft.drafting import find_edited
from holdfast.persona.labelled import (
    ScoredReply,
    judge_errors,
    own_examples,
    read_labelled_replies,
    score_replies,
)
from holdfast.persona.suite import Problem, Suite, check_suite, load_suite
from holdfast.report.words import quantity

MOST_IDS = 8
"""Ids of a note at most."""


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
        print(wrong_score(problem))
    for note in _notes(suite):
        print(note)
    own_judges = [persona for persona in suite.personas if not persona.needs_model]
    examples = sum(len(persona.passes) + len(persona.fails) for persona in own_judges)
    if problems:
        print(f"{len(problems)} of {examples} examples are not scored as they should be.")
        raise typer.Exit(2)
    if examples:
        count = quantity(len(own_judges), "persona")
        print(f"{examples} examples of {count} are scored as they should be.")
    else:
        print("The file is sound; there are no examples to score.")


def _check_cases(replies: Sequence[ScoredReply], as_json: bool) -> None:
    """Labelled replies: the wrong scores, then the shares by category."""
    if as_json:
        print(_errors_json(replies))
        return
    for one in replies:
        if one.wrong:
            reply = one.reply
            print(
                wrong_score(Problem(reply.persona, reply.text, reply.expected, one.score, one.why))
            )
    table = Table(box=None, pad_edge=False)
    for heading in ("category", "n", "false fail", "false pass", "stuffed pass"):
        table.add_column(heading, justify="left" if heading == "category" else "right")
    for category, errors in judge_errors(replies).items():
        shares = (
            (errors.false_fail, errors.passes),
            (errors.false_pass, errors.fails),
            (errors.stuffed_pass, errors.stuffed),
        )
        cells = ("–" if share is None else f"{share:.0%} of {of}" for share, of in shares)
        table.add_row(category, str(errors.n), *cells)
    console().print(table)


def wrong_score(problem: Problem) -> str:
    """An example on the wrong side of its judge, in one line."""
    verdict = "should pass" if problem.expected == "pass" else "should fail"
    example = json.dumps(shorten(problem.example, 90), ensure_ascii=False)
    return f"{problem.persona}: scores {problem.score:.2f} but {verdict}: {example} ({problem.why})"


def _errors_json(replies: Sequence[ScoredReply]) -> str:
    return json.dumps(as_record(judge_errors(replies)), ensure_ascii=False)


def console() -> Console:
    """Full-width output; beyond a terminal (a pipe, a file) nobody folds lines."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 200)


def _notes(suite: Suite) -> list[str]:
    """What a check could not see."""
    notes = []
    bare = [p.id for p in suite.personas if not p.needs_model and not (p.passes and p.fails)]
    if bare:
        notes.append(f"Without passes or fails to check: {_join_ids(bare)}.")
    rubric_ids = [p.id for p in suite.personas if p.needs_model]
    if rubric_ids:
        notes.append(f"Judged by a model, so not checked here: {_join_ids(rubric_ids)}.")
    if stale_ids := list(find_edited(suite.personas)):
        notes.append(f"Drafted from another prompt than they have now: {_join_ids(stale_ids)}.")
    return notes


def _join_ids(ids: list[str]) -> str:
    more = f" and {len(ids) - MOST_IDS} more" if len(ids) > MOST_IDS else ""
    return ", ".join(ids[:MOST_IDS]) + more
