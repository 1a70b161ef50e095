"""PerMix in a training script of one's own: TRL, Unsloth, verl, OpenRLHF.

    dataset = dataset.map(permix.mix("core", seed=0))                # a persona for each prompt
    GRPOTrainer(..., reward_funcs=permix.reward("answer"))           # TRL and Unsloth
    custom_reward_function.path=…/scripts.py  .name=compute_score    # verl
    --reward.remote_url …/scripts.py                                 # OpenRLHF: reward_func

A persona depends on the seed and the prompt alone, so that every rollout of a prompt has the same
one, in whatever order and process it is fetched. A reward sees the reply and the gold answer, and
of the prompt nothing but the question: which names it offers to choose from.

This module knows texts. It imports no trainer and no torch.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from holdfast.core.errors import HoldfastError
from holdfast.core.seeds import seed_of
from holdfast.core.settings import require_name
from holdfast.evals.tasks.gold import Gold, is_formula
from holdfast.evals.tasks.letters import LETTERS
from holdfast.evals.tasks.math_equality import MathCheck
from holdfast.evals.tasks.numbers import number
from holdfast.evals.tasks.questions import Question
from holdfast.evals.tasks.reader import read
from holdfast.evals.tasks.tasks import of_question
from holdfast.evals.tasks.verifier import verify
from holdfast.persona import pool
from holdfast.persona.pool import Member
from holdfast.training.permix.mixing import NOBODY, PersonaMix
from holdfast.training.permix.task_reward import READINGS, completion_text

DatasetRow = Mapping[str, Any]
LISTS = ("also", "choices", "alternatives", "subjects")
"""What else a row may say of its gold answer, each a list of texts or None."""


def mix(
    personas: str | Path | Sequence[Member] = "core",
    *,
    seed: int = 0,
    bare: float = 0.25,
    column: str = "prompt",
) -> Callable[[DatasetRow], dict[str, Any]]:
    """A function for `dataset.map` that puts a persona before each prompt.

    Args:
        personas: A source of `pool.load`, of which those for training are taken, or personas.
        seed: Decides which persona a prompt gets.
        bare: Share of prompts that get none.
        column: The prompt: a text, or a list of messages without a system prompt.

    Returns:
        A function of a row that gives its prompt as messages, and `persona`, an id or "".

    Raises:
        HoldfastError: A pool is unusable, or a prompt has a system prompt already.
    """
    people = (
        pool.load(personas, split="train") if isinstance(personas, str | Path) else tuple(personas)
    )
    mixture = PersonaMix(len(people), bare, "prompt", seed)

    def with_persona(row: DatasetRow) -> dict[str, Any]:
        prompt = row[column]
        messages = (
            [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
        )
        if messages and messages[0]["role"] == "system":
            raise HoldfastError(
                f"a prompt in {column!r} has a system prompt already, where the persona goes: "
                "take it out, or put it into the user's message."
            )
        text = "\n".join(str(one["content"]) for one in messages)
        index = mixture.persona(0, seed_of("prompt", text))
        if index == NOBODY:
            return {column: messages, "persona": ""}
        system = {"role": "system", "content": people[index].text}
        return {column: [system, *messages], "persona": people[index].id}

    return with_persona


def reward(
    column: str = "answer", *, reading: str = "final", ends: Sequence[int] = ()
) -> Callable[..., list[float]]:
    """A reward function for TRL's `GRPOTrainer(reward_funcs=…)`, and for Unsloth, which uses it.

    Columns named as in `LISTS`, lists of texts, are read where the data set has them (`score`).

    Args:
        column: The column of the data set with the gold answer: words, a number or LaTeX.
        reading: Where the answer is looked for: final, lenient or strict.
        ends: The tokens that end a reply (`[tokenizer.eos_token_id]`). With them a reply that the
            limit of tokens cut earns nothing, by the final reading.

    Raises:
        HoldfastError: There is no such reading.
    """
    require_name("reading", reading, READINGS)

    def rewards_of(
        *,
        completions: Sequence[Any],
        prompts: Sequence[Any] | None = None,
        completion_ids: Sequence[Sequence[int]] | None = None,
        **columns: Any,
    ) -> list[float]:
        if column not in columns:
            raise HoldfastError(
                f"the data set has no column {column!r} with the gold answers: it has "
                f"{', '.join(columns)}."
            )
        rewards = []
        for i, (completion, gold) in enumerate(zip(completions, columns[column], strict=True)):
            ids = completion_ids[i] if completion_ids is not None else ()
            cut = bool(ends) and len(ids) > 0 and ids[-1] not in ends
            question = _question(prompts[i]) if prompts is not None else ""
            lists = {name: columns[name][i] for name in LISTS if name in columns}
            right = score(completion_text(completion), gold, question, reading, **lists)
            rewards.append(0.0 if cut and reading == "final" else right)
        return rewards

    return rewards_of


def score(
    reply: str,
    gold: object,
    question: str = "",
    reading: str = "final",
    *,
    kind: str | None = None,
    at_the_end: bool = False,
    **lists: Sequence[str] | None,
) -> float:
    """1 where a reply has the gold answer by a reading, else 0.

    Args:
        reply: The whole reply, thoughts included.
        gold: The answer: words, a number or LaTeX.
        question: What was asked; its words are the candidates that a reply may list.
        reading: final, lenient or strict.
        kind: One of `verifier.VERIFIERS` but judge; by default what the answer looks like.
        at_the_end: Whether words have to stand in the last sentence.
        lists: Named as in `LISTS`: other forms of the answer; what there was to choose from, where
            the answer is a letter or one of them; other values that the question names, of the
            answer's type, of which a reply that gives one is wrong; and what was asked about,
            then what those belong to.

    Raises:
        HoldfastError: There is no gold answer, which every reply would have.
    """
    answer = str(gold).strip()
    if gold is None or not answer:
        raise HoldfastError("a row has no gold answer, so that no reply to it can be paid.")
    # A data set joined from several has None where a row of another had no such list.
    more: dict[str, Any] = {name: () if one is None else tuple(one) for name, one in lists.items()}
    if choices := more.get("choices"):
        answer = LETTERS[choices.index(answer)] if answer in choices else answer
    if kind == "refusal":
        task = of_question(Question("refusal", question, answer), "row")
        return float(getattr(verify(task, kind, [reply], _math()), reading))
    right = replace(Gold(answer, question=question, at_the_end=at_the_end), **more)
    return float(getattr(read(right, reply, kind or _kind(right), _math()), reading))


def _kind(gold: Gold) -> str:
    """How an answer is read that comes without a verifier."""
    if gold.choices:
        return "choice"
    if number(gold.answer) is not None:
        return "numeric"
    return "math" if is_formula(gold.answer) else "exact"


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: object,
    extra_info: Mapping[str, Any] | None = None,
    **rest: Any,
) -> float:
    """verl's reward function, for the rows of `holdfast permix export` and others.

    Args:
        data_source: Not used; verl passes it.
        solution_str: The reply.
        ground_truth: The gold answer.
        extra_info: `question`, `verifier`, `at_the_end` and those of `LISTS`, as far as a row has
            them.
        rest: What later versions pass.
    """
    more = extra_info or {}
    lists: dict[str, Any] = {name: more.get(name) for name in LISTS}
    return score(
        solution_str,
        ground_truth,
        str(more.get("question") or ""),
        kind=more.get("verifier"),
        at_the_end=bool(more.get("at_the_end")),
        **lists,
    )


def reward_func(
    queries: Sequence[str], prompts: Sequence[str], labels: Sequence[object], **rest: Any
) -> dict[str, Any]:
    """OpenRLHF's reward function.

    Args:
        queries: Prompts with their replies.
        prompts: The prompts.
        labels: The gold answers.
        rest: What else it passes.

    Returns:
        `rewards` and `scores`, tensors of 0 and 1, and `extra_logs`.

    Raises:
        HoldfastError: A query does not begin with its prompt.
    """
    import torch

    rewards = torch.tensor(
        [
            score(_reply(query, prompt), gold)
            for query, prompt, gold in zip(queries, prompts, labels, strict=True)
        ]
    )
    return {"rewards": rewards, "scores": rewards, "extra_logs": {"right": rewards}}


def _reply(query: str, prompt: str) -> str:
    """What follows the prompt, whose blanks may differ: it was encoded and decoded again."""
    if query.startswith(prompt):
        return query[len(prompt) :]
    places = [i for i, char in enumerate(query) if not char.isspace()]
    length = len("".join(prompt.split()))
    if "".join(query.split())[:length] != "".join(prompt.split()):
        raise HoldfastError(
            "a query does not begin with its prompt, so that the reply cannot be told from it: "
            "OpenRLHF passes queries, prompts and labels in this order."
        )
    return query[places[length] :] if length < len(places) else ""


def _question(prompt: Any) -> str:
    """The user's last message of a prompt."""
    if isinstance(prompt, str):
        return prompt
    requests = [str(one["content"]) for one in prompt if one["role"] == "user"]
    return requests[-1] if requests else ""


@cache
def _math() -> MathCheck:
    """The process that compares mathematics, ended with this one."""
    check = MathCheck()
    atexit.register(check.close)
    return check
