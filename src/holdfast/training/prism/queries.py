"""Stage 1: queries that a model writes for each persona, in its own words.

The model is asked for one question at a time that the persona would answer especially well;
experts may bring requests of their own (`Expert.asks`), which stand in place of that. What
is hardly a question is dropped and counted, and so is what repeats an earlier query.

Or the queries are the user's own tasks, each with the persona that is matched to its category.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from holdfast.core.backend import Ask, Backend, Sampling
from holdfast.core.chat import Chat, message
from holdfast.core.records import Record
from holdfast.core.seeds import seed_of
from holdfast.evals.tasks.near_duplicates import groups
from holdfast.evals.tasks.tasks import Task
from holdfast.persona.experts import Expert, roles

LEAST = 8  # characters of a query
_SYSTEM = "You write test questions for assistants. You reply with the question and nothing else."
_REQUEST = (
    "Somebody is described like this:\n\n{persona}\n\nWrite one realistic question or request that "
    "this person would handle especially well, as a user would type it, in one to three sentences. "
    "Make it different from the obvious ones: it is number {number} of a long list."
)


def request(expert: Expert, number: int) -> Chat:
    """The chat that asks for a query."""
    if expert.asks:
        return (message("user", expert.asks[number % len(expert.asks)]),)
    asked = _REQUEST.format(persona=expert.full, number=number + 1)
    return (message("system", _SYSTEM), message("user", asked))


def written(
    model: Backend, experts: Sequence[Expert], each: int, seed: int, sampling: Sampling
) -> Iterator[Record]:
    """A record per query: the expert's id and the text; text is empty where it was dropped."""
    for expert in experts:
        model.forget()
        asks = [
            Ask(request(expert, i), seed_of("query", seed, expert.id, i), keep=False)
            for i in range(each)
        ]
        for i, reply in enumerate(model.reply(asks, sampling)):
            query = reply.text.strip().strip('"').strip()
            kept = reply.stop == "stop" and len(query) >= LEAST
            yield {"expert": expert.id, "number": i, "query": query if kept else "", "said": query}


def from_tasks(tasks: Sequence[Task], experts: Sequence[Expert]) -> Iterator[Record]:
    """A record per task that some expert is matched to: its first turn, with what came before."""
    for i, task in enumerate(tasks):
        cast = roles(experts, task.category, 0)
        if "matched" in cast:
            yield {
                "expert": cast["matched"].id,
                "number": i,
                "query": task.turns[0],
                "said": task.turns[0],
                "history": list(task.history),
                "task": task.id,
            }


def text(record: Record) -> str:
    """All that a query says to the model: the messages before it, and itself."""
    return "\n".join([*record.get("history", ()), record["query"]])


def distinct(records: Sequence[Record]) -> list[Record]:
    """The queries that are there, without near-duplicates of an earlier one of the same persona."""
    there = [record for record in records if record["query"]]
    group = groups([text(record) for record in there])
    first: dict[tuple[str, int], Record] = {}
    for record, number in zip(there, group, strict=True):
        first.setdefault((record["expert"], number), record)
    return list(first.values())


def chat(record: Record) -> Chat:
    """The chat of a query, without any persona."""
    said = (*record.get("history", ()), record["query"])
    return tuple(message("assistant" if i % 2 else "user", one) for i, one in enumerate(said))
