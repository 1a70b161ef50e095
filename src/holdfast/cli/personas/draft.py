"""`holdfast personas draft`: from a system prompt to personas with probes and judges."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli import options, session
from holdfast.cli.options.flatten import flatten_options
from holdfast.cli.personas.check import wrong_score
from holdfast.core.errors import shorten
from holdfast.persona.draft.drafting import Draft
from holdfast.persona.draft.drafting import draft as draft_personas
from holdfast.persona.draft.toml_file import write_draft
from holdfast.persona.files import text_or_file
from holdfast.report.words import quantity


@flatten_options
def draft(
    prompt: Annotated[
        str, typer.Argument(metavar="PROMPT", help="The system prompt, or @FILE that holds it.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="The TOML file to write; without one it is only described.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="What ids begin with; by default the persona's name.")
    ] = None,
    *,
    helpers: options.DraftOptions,
    models: options.ModelOptions,
    as_json: options.AsJson = False,
) -> None:
    """Draft personas from a system prompt: what it demands, with probes, judges and examples."""
    models.require_use(helpers.author_model)
    result = draft_personas(
        text_or_file(prompt),
        rubrics=helpers.rubrics,
        author=helpers.author(models),
        name=name,
    )
    problems = result.problems()
    if out is not None:
        write_draft(result, out)
    if as_json:
        session.print_json(_summary(result, [wrong_score(one) for one in problems]))
        return
    _print(result)
    if out is not None:
        print(f"\n{out}: read it and edit it, then holdfast personas check {out}")


def _summary(result: Draft, problems: list[str]) -> dict[str, object]:
    return {
        "probes": result.probes,
        "judges": {
            "deterministic": result.names("deterministic"),
            "embedding": result.names("embedding"),
            "rubric": result.names("rubric"),
        },
        "unjudged": [f"{one.text} ({one.why})" for one in result.unjudged],
        "check": "; ".join(problems) or "ok",
    }


def _print(result: Draft) -> None:
    counts = Counter(one.kind for one in result.demands)
    kinds = ", ".join(f"{n} {kind}" for kind, n in counts.items())
    print(f"{quantity(len(result.demands), 'demand')} with a judge ({kinds})")
    width = max(len(one.name) for one in result.demands)
    for one in result.demands:
        print(f"  {one.name:{width}}  {one.kind:13}  {shorten(one.text, 80)}")
    if result.unjudged:
        print(f"{len(result.unjudged)} without one")
    for sentence in result.unjudged:
        print(f"  {shorten(sentence.text, 80)} ({shorten(sentence.why, 80)})")
    if result.described:
        print(f"{quantity(len(result.described), 'clause')} that no rule reads, without a demand")
    for text in result.described:
        print(f"  {shorten(text, 80)}")
