"""The verdict of a gate in words, as Markdown for a pull request, and as JUnit's XML.

What models wrote is quoted as text: in Markdown within a fence that it cannot close, in XML
without the characters that XML lacks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from xml.etree import ElementTree

from holdfast.core.errors import shorten
from holdfast.report.words import (
    between,
    capitalise,
    count,
    number,
    quantity,
    signed_end,
    signed_number,
)
from holdfast.results.gate import Decision, GateRun, GateSummary, Loss

ROWS = 20
"""Personas of a table at most."""
QUOTE = 400
"""Characters of a quoted answer at most."""
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MARKS = {"holds": "✅ Holds", "slips": "❌ Slips", "cannot tell": "❔ Cannot tell"}


def sentence(decision: Decision, baseline: GateRun, candidate: GateRun) -> str:
    """The verdict with its figures and its power."""
    margin, (low, high) = number(decision.margin), decision.interval
    # No end of the interval looks like the margin that it is said to leave out.
    written = partial(signed_end, apart=(0.0, -decision.margin))
    change = signed_number(decision.change, decision.interval)
    figures = (
        f"stability {number(candidate.stability)} against {number(baseline.stability)}, "
        f"change {change} (95% interval {between(decision.interval, written)}), n {decision.n}"
    )
    if decision.same:
        return f"Holds: nothing differs between the runs, and every answer is the same ({figures})."
    if low is None or high is None:
        return f"Cannot tell: {figures}; {quantity(decision.n, 'conversation')} are too few."
    phrases = {
        "holds": f"a fall of {margin} is excluded"
        + (", though a smaller one is certain" if high < 0 else ""),
        "slips": f"a fall of more than {margin} is certain"
        if high < -decision.margin
        else f"a fall is certain, and one of {margin} not excluded",
        "cannot tell": f"neither a fall of {margin} nor none at all is excluded",
    }[decision.verdict]
    return f"{capitalise(decision.verdict)}: {figures}; {phrases}. {power(decision)}"


def power(decision: Decision) -> str:
    """How large a fall the conversations can show."""
    fall = decision.power
    if fall.needed is None:
        return "Too few conversations to say how many are needed."
    # A score is from 0 to 1, so that no fall is larger than 1.
    shows_any = fall.detectable is not None and fall.detectable <= 1
    shown = f"show one of {number(fall.detectable)}" if shows_any else "cannot show any"
    return (
        f"To see a fall of {number(fall.fall)} four times in five takes "
        f"{quantity(fall.needed, 'conversation')}; {decision.n:,} {shown}."
    )


def lines(summary: GateSummary) -> Iterator[str]:
    """The verdict for a terminal."""
    yield summary.sentence
    yield from (f"  {one}" for one in _remarks(summary))
    for change in summary.personas[:5]:
        yield (
            f"  {change.persona:<24} {number(change.baseline)} → {number(change.candidate)}"
            f"  n {change.n}"
        )


def _remarks(summary: GateSummary) -> Iterator[str]:
    """What to know beside the verdict."""
    first, last = summary.rounds
    yield f"rounds {first} to {last}" if first < last else f"round {first}"
    if summary.differences:
        yield f"differing: {'; '.join(summary.differences)}"
    for name, run in (("baseline", summary.baseline), ("candidate", summary.candidate)):
        if run.unpaired:
            yield f"left out of the {name}: {count(run.unpaired, 'conversation')} without a pair"
        if run.errors:
            yield f"left out of the {name}: {count(run.errors, 'answer')} that could not be had"


def markdown(summary: GateSummary) -> str:
    """The verdict for a pull request, as GitHub shows it."""
    decision = summary.decision
    parts = [
        f"### {_MARKS[decision.verdict]}: persona of {summary.candidate.suite}",
        summary.sentence,
        "\n".join(f"- {one}" for one in _remarks(summary)),
        _table(
            ["round", *map(str, range(len(summary.baseline.curve)))],
            [
                ["baseline", *map(number, summary.baseline.curve)],
                ["candidate", *map(number, summary.candidate.curve)],
            ],
        ),
        _table(
            ["persona", "baseline", "candidate", "change", "n"],
            [
                [
                    f"`{one.persona}`",
                    number(one.baseline),
                    number(one.candidate),
                    signed_number(one.change),
                    str(one.n),
                ]
                for one in summary.personas[:ROWS]
            ],
        ),
    ]
    if len(summary.personas) > ROWS:
        parts.append(f"and {len(summary.personas) - ROWS} more personas")
    parts += [_fold_loss(one) for one in summary.losses]
    return "\n\n".join(filter(None, parts)) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    edges = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(edges) if rows else ""


def _fold_loss(loss: Loss) -> str:
    """A lost probe, folded."""
    text = "\n".join(_quote_answers(loss))
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return (
        f"<details><summary><code>{loss.persona}</code>, round {loss.round}: "
        f"{number(loss.scores[0])} → {number(loss.scores[1])}</summary>\n\n"
        f"{fence}text\n{text}\n{fence}\n\n</details>"
    )


def _quote_answers(loss: Loss) -> Iterator[str]:
    yield f"asked:     {shorten(loss.probe, QUOTE)}"
    yield f"baseline:  {shorten(loss.baseline, QUOTE)}"
    yield f"candidate: {shorten(loss.candidate, QUOTE)}"
    yield f"judge:     {shorten(loss.why, QUOTE)}"


def junit(summary: GateSummary) -> str:
    """The verdict as one test case: a failure where it slips, an error where it cannot tell."""
    decision, verdict = summary.decision, summary.decision.verdict
    failures, errors = int(verdict == "slips"), int(verdict == "cannot tell")
    counts = {"tests": "1", "failures": str(failures), "errors": str(errors), "skipped": "0"}
    suites = ElementTree.Element("testsuites", counts)
    suite = ElementTree.SubElement(suites, "testsuite", {"name": "holdfast gate", **counts})
    name = f"stability falls by less than {number(decision.margin)}"
    case = ElementTree.SubElement(
        suite, "testcase", {"classname": "holdfast.gate", "name": name, "time": "0"}
    )
    if verdict != "holds":
        kind = "failure" if failures else "error"
        problem = ElementTree.SubElement(
            case, kind, {"type": verdict, "message": _NOT_XML.sub("\ufffd", summary.sentence)}
        )
        detail = [*lines(summary)]
        for loss in summary.losses:
            detail += ["", f"{loss.persona}, round {loss.round}", *_quote_answers(loss)]
        problem.text = _NOT_XML.sub("\ufffd", "\n".join(detail))
    out = ElementTree.SubElement(case, "system-out")
    out.text = _NOT_XML.sub("\ufffd", summary.sentence)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"
