"""Stage 1: queries that a model writes for each persona, in its own words.

The model is asked for one question at a time that the persona would answer especially well.
Experts may bring requests of their own (`Expert.asks`), which replace that. What is hardly a
question is dropped and counted, and so is what repeats an earlier query.

Or the queries are the user's own tasks, each with the persona that is matched to its category.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from holdfast.core.backend import Ask, Backend, Sampling
from holdfast.core.chat import Chat, agent_view, first_turn, message
from holdfast.core.errors import PersonaError
from holdfast.core.seeds import seed_of
from holdfast.evals.tasks.near_duplicates import groups
from holdfast.evals.tasks.tasks import Task
from holdfast.persona.experts import Expert, roles
from holdfast.results.training.prism import Query

SHORTEST = 8  # characters of a query
_SYSTEM = "You write test questions for assistants. You reply with the question and nothing else."
_REQUEST = (
    "Somebody is described like this:\n\n{persona}\n\nWrite one realistic question or request that "
    "this person would handle especially well, as a user would type it, in one to three sentences. "
    "Make it different from the obvious ones: it is number {number} of a long list."
)


def write_queries(
    model: Backend, expert: Expert, count: int, seed: int, sampling: Sampling
) -> Iterator[Query]:
    """Have the model write `count` queries for one persona; one that is unusable is empty."""
    model.forget()
    asks = [
        Ask(_request(expert, i), seed_of("query", seed, expert.id, i), keep=False)
        for i in range(count)
    ]
    for i, reply in enumerate(model.reply(asks, sampling)):
        text = reply.text.strip().strip('"').strip()
        usable = reply.stop == "stop" and len(text) >= SHORTEST
        cut = True if reply.stop == "length" else None
        yield Query(expert.id, i, text if usable else "", text, cut=cut)


def _request(expert: Expert, number: int) -> Chat:
    """The chat that asks for a query."""
    if expert.asks:
        return (message("user", expert.asks[number % len(expert.asks)]),)
    request = _REQUEST.format(persona=expert.full, number=number + 1)
    return (message("system", _SYSTEM), message("user", request))


def queries_from_tasks(tasks: Sequence[Task], experts: Sequence[Expert]) -> Iterator[Query]:
    """A query for each task that has a matched persona: its first turn, and what came before."""
    for i, task in enumerate(tasks):
        cast = roles(experts, task.category, 0)
        if "matched" in cast:
            first = task.turns[0]
            yield Query(cast["matched"].id, i, first, first, task.history, task.id)


def check_matched(tasks: Sequence[Task], experts: Sequence[Expert]) -> None:
    """Raise `PersonaError` where there are tasks and no persona is matched to any of them."""
    if not tasks or next(queries_from_tasks(tasks, experts), None) is not None:
        return
    categories = list(dict.fromkeys(task.category for task in tasks))
    matches = list(dict.fromkeys(name for one in experts for name in one.matches))
    raise PersonaError(
        f"no persona is matched to any of the tasks: these are of {', '.join(categories[:6])}, and "
        f"the personas are for {', '.join(matches[:12]) or 'no category'} (`for` of an [[expert]])."
    )


def distinct_queries(queries: Sequence[Query]) -> list[Query]:
    """The usable queries, without near-duplicates of an earlier one of the same persona."""
    usable = [query for query in queries if query.query]
    first: dict[tuple[str, int], Query] = {}
    for query, group in zip(usable, groups([query_text(one) for one in usable]), strict=True):
        first.setdefault((query.expert, group), query)
    return list(first.values())


def query_text(query: Query) -> str:
    """All that a query says to the model: the messages before it, and itself."""
    return "\n".join(_messages(query))


def query_chat(query: Query) -> Chat:
    """The chat of a query, without any persona."""
    return agent_view(None, _messages(query))


def gate_chats(query: Query) -> tuple[Chat, ...]:
    """What the gate may have to read of a query: its first message, then all of it if it is longer.

    As a control the gate reads the first message of a conversation, or all of it (`gate=every`).
    """
    whole = query_chat(query)
    return (first_turn(whole), whole) if query.history else (whole,)


def _messages(query: Query) -> tuple[str, ...]:
    return (*(query.history or ()), query.query)
