"""Whatever a model wrote, the verdict is well-formed JUnit and Markdown that it cannot break."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from holdfast.evals.gate.decision import outcome
from holdfast.report.gate import junit, markdown, power, sentence
from holdfast.results.gate import (
    Decision,
    GateRun,
    GateSummary,
    Loss,
    Outcome,
    PersonaChange,
    Power,
)


def summary(verdict: Outcome = "slips", answer: str = "no") -> GateSummary:
    run = GateRun(
        folder="run", model="m", control="none", suite="core", stability=0.9,
        curve=[1.0, None], unpaired=1, errors=2,
    )  # fmt: skip
    power = Power(0.1, 64, 0.16)
    loss = Loss(3, "upper-1", 4, "What?", "YES", answer, (1.0, 0.0), "not capitals")
    return GateSummary(
        decision=Decision(verdict, -0.2, (-0.3, -0.1), 0.1, 24, power),
        sentence=f"It {answer}",
        rounds=(1, 1),
        baseline=run,
        candidate=run,
        differences=["model (a, b)"],
        personas=[PersonaChange(f"p-{i}", 1, 1.0, 0.5, -0.5) for i in range(30)],
        losses=[loss],
    )


@pytest.mark.parametrize(
    ("verdict", "tag"), [("holds", None), ("slips", "failure"), ("cannot tell", "error")]
)
def test_junit_has_one_case_with_the_verdict(verdict: Outcome, tag: str | None) -> None:
    root = ElementTree.fromstring(junit(summary(verdict)))
    (case,) = root.iter("testcase")
    assert [child.tag for child in case if child.tag != "system-out"] == ([tag] if tag else [])
    assert root.get("tests") == "1"
    assert (root.get("failures"), root.get("errors")) == (
        str(int(tag == "failure")),
        str(int(tag == "error")),
    )


def test_no_fall_above_1_is_called_one_that_can_be_seen() -> None:
    def text(detectable: float) -> str:
        fall = Power(0.1, 627, detectable)
        return power(Decision("cannot tell", 0.17, (-1.0, 1.0), 0.1, 3, fall))

    assert text(1.44) == (
        "To see a fall of 0.10 four times in five takes 627 conversations; 3 cannot show any."
    )
    assert text(0.84).endswith("3 show one of 0.84.")


HOSTILE = "a\x00b\x1b[31m ]]> </failure> \ud800 \ufffe `````` </details> | ```"


def test_hostile_answers_stay_text() -> None:
    root = ElementTree.fromstring(junit(summary(answer=HOSTILE)))
    (problem,) = root.iter("failure")
    assert "</failure>" in (problem.text or "")
    text = markdown(summary(answer=HOSTILE)).splitlines()
    fence = next(line for line in text if line.startswith("```")).removesuffix("text")
    assert len(fence) == 7  # longer than any run of backticks within
    assert text.count(fence) == 1


@pytest.mark.parametrize(
    ("interval", "written"),
    [
        ((-0.0987, 0.02), "interval −0.099 to +0.02)"),
        ((-0.1, 0.02), "interval −0.10 to +0.02)"),
        ((-0.31, -0.0004), "interval −0.31 to −0.0004)"),
        ((-0.31, -0.1004), "interval −0.31 to −0.1004)"),
    ],
)
def test_an_end_of_the_interval_never_looks_like_the_bound_that_it_leaves_out(
    interval: tuple[float, float], written: str
) -> None:
    decision = Decision(outcome(*interval, 0.1), -0.05, interval, 0.1, 24, Power(0.1, 64, 0.16))
    run = summary().baseline
    assert written in sentence(decision, run, run)


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        ((-0.05, 0.1), "a fall of 0.10 is excluded."),
        ((-0.08, -0.01), "a fall of 0.10 is excluded, though a smaller one is certain."),
        ((-0.2, -0.05), "a fall is certain, and one of 0.10 not excluded."),
        ((-0.5, -0.2), "a fall of more than 0.10 is certain."),
        ((-0.2, 0.1), "neither a fall of 0.10 nor none at all is excluded."),
        ((None, None), "2 conversations are too few."),
    ],
)
def test_the_sentence_says_what_the_interval_shows(
    interval: tuple[float | None, float | None], words: str
) -> None:
    run = summary().baseline
    verdict = outcome(*interval, 0.1)
    decision = Decision(verdict, -0.1, interval, 0.1, 2, Power(0.1, 64, 0.16))
    assert words in sentence(decision, run, run)


def test_a_long_answer_is_cut_and_the_table_too() -> None:
    text = markdown(summary(answer="word " * 10_000))
    assert "…" in text and "and 10 more personas" in text
    quote = text.partition("<details>")[2]
    assert len(quote) < 1500


def test_what_was_left_out_is_said() -> None:
    text = markdown(summary())
    assert "- left out of the candidate: one conversation without a pair" in text
    assert "- left out of the candidate: two answers that could not be had" in text
    assert "| round | 0 | 1 |" in text and "| baseline | 1.00 | – |" in text
