"""Stages 2 and 3: answers with and without the persona, and which of the two is better.

Where truth is known a verifier decides: the persona wins where its answer scores higher than
the plain one, loses the other way round, and ties elsewhere. Elsewhere the model
compares the two itself, in both orders, and the persona wins only if it wins both times;
replies that say neither A, B nor TIE are counted as unparsed, and as ties.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from holdfast.core.backend import Ask, Backend, Sampling
from holdfast.core.chat import Chat, message
from holdfast.core.records import Record
from holdfast.core.seeds import seed_of
from holdfast.persona.experts import Expert
from holdfast.training.prism.queries import chat

Score = Callable[[str], float | None]
Truth = Callable[[Record], Score | None]  # the verifier of a query, where there is one
WIN, LOSS, TIE = "win", "loss", "tie"
GREEDY = Sampling(max_new_tokens=8, temperature=0.0)
_SYSTEM = (
    "You compare two answers to one question. Correctness counts most, then whether the question "
    "was answered, then clarity. Length is no merit. Reply with A, B or TIE and nothing else."
)
_CHOICE = re.compile(r"\W*(A|B|TIE)\b", re.IGNORECASE)


def answered(
    model: Backend, queries: Sequence[Record], experts: Sequence[Expert], seed: int, s: Sampling
) -> Iterator[Record]:
    """A record per query, with both answers; both draw from the same seed."""
    people = {one.id: one for one in experts}
    model.forget()
    asks = []
    for query in queries:
        drawn = seed_of("answer", seed, query["expert"], query["number"])
        bare = chat(query)
        system = message("system", people[query["expert"]].full)
        asks += [Ask(bare, drawn, keep=False), Ask((system, *bare), drawn, keep=False)]
    replies = model.reply(asks, s)
    for i, query in enumerate(queries):
        plain, with_ = replies[2 * i], replies[2 * i + 1]
        there = not {"overflow", "error"} & {plain.stop, with_.stop}
        said = {"plain": plain.text, "persona": with_.text, "ended": with_.stop == "stop"}
        yield {**query, **said, "there": there}


def compared(question: str, first: str, second: str) -> Chat:
    """The chat that asks which of two answers is better."""
    asked = f"Question:\n{question}\n\nAnswer A:\n{first}\n\nAnswer B:\n{second}"
    return (message("system", _SYSTEM), message("user", asked))


def parsed(text: str) -> str | None:
    """A, B or TIE, or None where a reply says something else."""
    found = _CHOICE.match(text)
    return found[1].upper() if found else None


def judged(
    model: Backend, records: Sequence[Record], truth: Truth | None, seed: int
) -> Iterator[Record]:
    """A record per answered query: the verdict, and how it came about."""
    open_: list[Record] = []
    for record in records:
        score = truth(record) if truth else None
        if not record["there"]:
            yield {**_named(record), "verdict": TIE, "by": "missing"}
        elif score is not None:
            with_, plain = score(record["persona"]) or 0.0, score(record["plain"]) or 0.0
            verdict = WIN if with_ > plain else LOSS if with_ < plain else TIE
            yield {**_named(record), "verdict": verdict, "by": "verifier"}
        elif truth is None:
            open_.append(record)
        else:
            yield {**_named(record), "verdict": TIE, "by": "unknown"}
    asks = []
    for record in open_:
        drawn = seed_of("verdict", seed, record["expert"], record["number"])
        pair = record["plain"], record["persona"]
        asks += [Ask(compared(record["query"], *p), drawn, keep=False) for p in (pair, pair[::-1])]
    replies = model.reply(asks, GREEDY) if asks else []
    for i, record in enumerate(open_):
        said = [parsed(reply.text) for reply in replies[2 * i : 2 * i + 2]]
        verdict = {("B", "A"): WIN, ("A", "B"): LOSS}.get((said[0] or "", said[1] or ""), TIE)
        by = "unparsed" if None in said else "model"
        yield {**_named(record), "verdict": verdict, "by": by, "said": said}


def _named(record: Record) -> Record:
    return {"expert": record["expert"], "number": record["number"]}
