"""Stages 2 and 3: answers with and without the persona, and which of the two is better.

Where the truth is known a verifier decides: the persona wins if its answer scores higher than
the plain one, loses if it scores lower, and ties otherwise. Elsewhere a judge, by default the model
itself, compares the two in both orders, and the persona wins only if it wins both times. Replies
that name neither A, B nor TIE are counted as unparsed, and as ties.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from holdfast.core.backend import Ask, Backend, Sampling
from holdfast.core.chat import Chat, message
from holdfast.core.seeds import seed_of
from holdfast.persona.experts import Expert
from holdfast.results.training.prism import AnswerComparison, AnswerPair, DecidedBy, Outcome, Query
from holdfast.training.prism.queries import query_chat

Scorer = Callable[[str], float | None]
"""Scores an answer from 0 to 1."""
ScorerOf = Callable[[AnswerPair], Scorer | None]
"""The scorer of two answers; None where the truth of their query is not known."""
GREEDY = Sampling(max_new_tokens=8, temperature=0.0)
_SYSTEM = (
    "You compare two answers to one question. Correctness counts most, then whether the question "
    "was answered, then clarity. Length is no merit. Reply with A, B or TIE and nothing else."
)
# "A", "Answer A", "The answer is A.": a first line that says this and nothing else.
_CHOICE = re.compile(
    r"\W*(?:(?:the )?(?:better |best |correct )?(?:answer|choice|verdict|winner)(?: is)?\W*)?"
    r"(?:answer )?(A|B|TIE)\W*",
    re.IGNORECASE,
)


def answer_queries(
    model: Backend,
    queries: Sequence[Query],
    experts: Sequence[Expert],
    seed: int,
    sampling: Sampling,
) -> Iterator[AnswerPair]:
    """Answer each query with its persona and without; both answers draw from the same seed."""
    prompts = {expert.id: message("system", expert.full) for expert in experts}
    model.forget()
    asks = []
    for query in queries:
        own = seed_of("answer", seed, query.expert, query.number)
        chat = query_chat(query)
        asks += [Ask(chat, own, keep=False)]
        asks += [Ask((prompts[query.expert], *chat), own, keep=False)]
    replies = model.reply(asks, sampling)
    for query, plain, persona in zip(queries, replies[::2], replies[1::2], strict=True):
        there = not {"overflow", "error"} & {plain.stop, persona.stop}
        yield AnswerPair(
            query=query,
            plain=plain.text,
            persona=persona.text,
            ended=persona.stop == "stop",
            plain_ended=plain.stop == "stop",
            there=there,
        )


def compare_answers(
    judge: Backend | None,
    answers: Sequence[AnswerPair],
    scorer_of: ScorerOf | None,
    seed: int,
) -> Iterator[AnswerComparison]:
    """Decide for each query whether the persona's answer is better, in the order of the answers.

    Args:
        judge: Compares the answers where no scorer decides; None leaves these undecided.
        answers: The answers.
        scorer_of: Says how good an answer to a query is; None has the judge compare all answers.
        seed: Decides what is drawn.
    """
    comparisons = [_without_judge(pair, scorer_of, judge) for pair in answers]
    to_compare = [pair for pair, one in zip(answers, comparisons, strict=True) if one is None]
    by_model = _compare_by_model(judge, to_compare, seed) if judge is not None else iter(())
    for one in comparisons:
        yield one or next(by_model)


def _without_judge(
    pair: AnswerPair, scorer_of: ScorerOf | None, judge: Backend | None
) -> AnswerComparison | None:
    """What is decided without asking a judge; None is for the judge to decide."""
    if not pair.there:
        return _comparison(pair, "tie", "missing")
    if scorer_of and (score := scorer_of(pair)) is not None:
        persona, plain = score(pair.persona) or 0.0, score(pair.plain) or 0.0
        outcome: Outcome = "win" if persona > plain else "loss" if persona < plain else "tie"
        return _comparison(pair, outcome, "verifier")
    return _comparison(pair, "tie", "unknown") if judge is None else None


def _compare_by_model(
    judge: Backend, answers: Sequence[AnswerPair], seed: int
) -> Iterator[AnswerComparison]:
    asks = []
    for pair in answers:
        own = seed_of("verdict", seed, pair.query.expert, pair.query.number)
        for first, second in ((pair.plain, pair.persona), (pair.persona, pair.plain)):
            asks.append(Ask(comparing_chat(pair.query.query, first, second), own, keep=False))
    replies = judge.reply(asks, GREEDY) if asks else []
    choices = [parse_choice(reply.text) for reply in replies]
    outcomes: dict[tuple[str | None, str | None], Outcome] = {
        ("B", "A"): "win",
        ("A", "B"): "loss",
    }
    for pair, both in zip(answers, zip(choices[::2], choices[1::2], strict=True), strict=True):
        by: DecidedBy = "unparsed" if None in both else "model"
        yield _comparison(pair, outcomes.get(both, "tie"), by, both)


def comparing_chat(question: str, first: str, second: str) -> Chat:
    """The chat that asks which of two answers is better."""
    request = f"Question:\n{question}\n\nAnswer A:\n{first}\n\nAnswer B:\n{second}"
    return (message("system", _SYSTEM), message("user", request))


def parse_choice(text: str) -> str | None:
    """A, B or TIE, or None where the first line of a reply says something else."""
    lines = text.strip().splitlines()
    match = _CHOICE.fullmatch(lines[0]) if lines else None
    return match[1].upper() if match else None


def _comparison(
    pair: AnswerPair,
    outcome: Outcome,
    by: DecidedBy,
    choices: tuple[str | None, str | None] | None = None,
) -> AnswerComparison:
    return AnswerComparison(pair.query.expert, pair.query.number, outcome, by, choices)
