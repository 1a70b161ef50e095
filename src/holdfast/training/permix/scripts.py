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
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from numbers import Integral
from pathlib import Path
from typing import Any

from holdfast.core.errors import HoldfastError
from holdfast.core.seeds import seed_of
from holdfast.core.settings import require_name
from holdfast.evals.tasks.gold import Gold, is_number_list
from holdfast.evals.tasks.gold_columns import gold_answer, is_number, letter_of, read_list
from holdfast.evals.tasks.math_equality import LIMIT, MathCheck
from holdfast.evals.tasks.numbers import number
from holdfast.evals.tasks.questions import REFUSAL, Question
from holdfast.evals.tasks.reader import read
from holdfast.evals.tasks.tasks import of_question
from holdfast.evals.tasks.verifier import choose_kind, verify
from holdfast.persona import pool
from holdfast.results.robustness import PoolPersona
from holdfast.training.permix.mixing import NOBODY, PersonaMix
from holdfast.training.permix.rollout_text import (
    find_opening,
    find_question,
    is_cut,
    read_completion,
    read_reply,
)
from holdfast.training.permix.task_reward import READINGS

DatasetRow = Mapping[str, Any]
LISTS = ("also", "choices", "alternatives", "subjects")
"""What else a row may say of its gold answer, each a list of texts or None."""
TRAINERS = ("trainer_state", "log_extra", "log_metric", "environments")
"""What TRL passes to a reward beside the columns of the data set."""
VERIFIERS = ("exact", "numeric", "math", "choice", "refusal")
"""How an answer may be read (`verifier`)."""


def mix(
    personas: str | Path | Sequence[PoolPersona] = "core",
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
        A function of a row that gives its prompt as messages, and `persona`, an id or "". A prompt
        keeps its persona in every epoch.

    Raises:
        HoldfastError: A pool is unusable, or a row is: it has no prompt, a system prompt already
            or a column `persona`.
    """
    people = (
        pool.load(personas, split="train") if isinstance(personas, str | Path) else tuple(personas)
    )
    if not people or not all(isinstance(one, PoolPersona) for one in people):
        raise HoldfastError(
            "personas are core, mini, a TOML file of [[persona]] tables, or what `pool.load` gives,"
            f" not {str(list(people))[:80]}."
        )
    mixture = PersonaMix(len(people), bare, "prompt", seed)

    def with_persona(row: DatasetRow) -> dict[str, Any]:
        messages = _messages(row, column)
        text = "\n".join(str(one["content"]) for one in messages)
        index = mixture.persona(0, seed_of("prompt", text))
        if index == NOBODY:
            return {column: messages, "persona": ""}
        system = {"role": "system", "content": people[index].text}
        return {column: [system, *messages], "persona": people[index].id}

    return with_persona


def _messages(row: DatasetRow, column: str) -> list[Any]:
    """The prompt of a row as messages, to which a persona can be added."""
    if column not in row:
        raise HoldfastError(
            f"the data set has no column {column!r} with the prompts: it has {', '.join(row)}."
        )
    if "persona" in row:
        raise HoldfastError("the data set has a column 'persona' already: rename it.")
    prompt = row[column]
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    is_chat = isinstance(messages, list | tuple) and len(messages) > 0
    if not is_chat or not all(
        isinstance(one, Mapping) and "role" in one and "content" in one for one in messages
    ):
        raise HoldfastError(
            f"a prompt in {column!r} is a text or a list of messages with role and content, not "
            f"{str(prompt)[:80]!r}: mix one row at a time, without batched=True."
        )
    if any(one["role"] in ("system", "developer") for one in messages):
        raise HoldfastError(
            f"a prompt in {column!r} has a system prompt already, where the persona goes: "
            "take it out, or put it into the user's message."
        )
    return list(messages)


def reward(
    column: str = "answer", *, reading: str = "final", ends: int | Sequence[int] = ()
) -> Callable[..., list[float]]:
    """A reward function for TRL's `GRPOTrainer(reward_funcs=…)`, and for Unsloth, which uses it.

    Columns named as in `LISTS`, lists of texts, are read where the data set has them (`score`).
    Trainers log it under the names of column and reading, as `answer_final`; TRL also logs
    `rewards/answer_final/verifier_errors`, the share of replies of which a check failed.

    Args:
        column: The column of the data set with the gold answer: words, a number or LaTeX.
        reading: Where the answer is looked for: final, lenient or strict.
        ends: The ids of all tokens that end a reply: `model.generation_config.eos_token_id`, and
            `tokenizer.eos_token_id` where that is another. With them a reply that the limit of
            tokens cut earns nothing, by the final reading.

    Raises:
        HoldfastError: There is no such reading, or an end is no token id.
    """
    require_name("reading", reading, READINGS)
    end_ids = _token_ids(ends)

    def rewards_of(
        *,
        completions: Sequence[Any],
        prompts: Sequence[Any] | None = None,
        completion_ids: Sequence[Sequence[int]] | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[float]:
        if column not in columns:
            names = ", ".join(name for name in columns if name not in TRAINERS)
            raise HoldfastError(
                f"there is no column {column!r} with the gold answers in what the trainer passes "
                f"on of the data set ({names or 'nothing'}): name another, or set "
                "remove_unused_columns=False."
            )
        rewards, failed = [], 0
        for i, (completion, gold) in enumerate(zip(completions, columns[column], strict=True)):
            ids = completion_ids[i] if completion_ids is not None else ()
            prompt = prompts[i] if prompts is not None else ""
            lists = {name: columns[name][i] for name in LISTS if name in columns}
            reply = find_opening(prompt) + read_completion(completion)
            right, error = _try_score(reply, gold, find_question(prompt), reading, **lists)
            rewards.append(0.0 if reading == "final" and is_cut(ids, end_ids) else right)
            failed += error
        if log_metric and rewards:
            name = f"rewards/{rewards_of.__name__}/verifier_errors"
            log_metric(name, failed / len(rewards))
        return rewards

    rewards_of.__name__ = f"{column}_{reading}"  # by which trainers log it
    return rewards_of


def _token_ids(ends: Any) -> frozenset[int]:
    """The ids that a user gave, one or several."""
    ids = list(ends) if isinstance(ends, Iterable) else [ends]
    if wrong := [one for one in ids if not isinstance(one, Integral)]:
        raise HoldfastError(
            f"ends are ids of tokens, not {str(wrong[0])[:80]}: give those that end a reply, as "
            "model.generation_config.eos_token_id has them."
        )
    return frozenset(map(int, ids))


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

    Where mathematics cannot be compared it is 0, and a warning names the gold answer.

    Args:
        reply: The whole reply, thoughts included.
        gold: The answer: words, a number or LaTeX, also at the end of its working, after #### or
            in the last box. Of choices the text, the letter or the place, from 0.
        question: What was asked; its words are the candidates that a reply may list.
        reading: final, lenient or strict.
        kind: One of `VERIFIERS`; by default what the answer looks like.
        at_the_end: Whether words have to stand in the last sentence.
        lists: Named as in `LISTS`: other forms of the answer; what there was to choose from, where
            the answer is a letter or one of them; other values that the question names, of the
            answer's type, of which a reply that gives one is wrong; and what was asked about,
            then what those belong to.

    Raises:
        HoldfastError: There is no gold answer, which every reply would have, or no such reading or
            verifier, or the row has something that no answer can be read with.
    """
    require_name("reading", reading, READINGS)
    require_name("verifier", kind or "exact", VERIFIERS)
    answer = gold_answer(gold)
    # A data set joined from several has None where a row of another had no such list.
    values = {name: read_list(name, one) for name, one in lists.items()}
    if choices := values.get("choices"):
        answer = letter_of(gold if is_number(gold) else answer, choices, "a row")
    texts: dict[str, Any] = {name: tuple(map(str, some)) for name, some in values.items()}
    right = replace(Gold(answer, question=question, at_the_end=at_the_end), **texts)
    _check_kind(right, kind)
    if kind == "refusal":
        task = of_question(Question("refusal", question, answer), "row")
        return float(getattr(verify(task, kind, [reply], _math()), reading))
    # A list of numbers in a box is a set, as in MATH; elsewhere its order may matter.
    boxed = number(answer) is None and is_number_list(answer) and "\\boxed" in str(gold)
    kind = kind or ("choice" if right.choices else "math" if boxed else choose_kind([answer]))
    found = read(right, reply, kind, _math())
    paid = float(getattr(found, reading))
    if found.error and not paid:
        warnings.warn(
            f"a reply could not be compared with the gold answer {answer[:80]!r} and earns "
            f"nothing: the check took more than {LIMIT:g} seconds, or failed.",
            stacklevel=2,
        )
    return paid


def _try_score(*reply: Any, **lists: Any) -> tuple[float, bool]:
    """What `score` gives, and whether a check of mathematics failed."""
    errors = _math().errors
    right = score(*reply, **lists)
    return right, _math().errors > errors


def _check_kind(gold: Gold, kind: str | None) -> None:
    """Refuse a verifier by which no reply could be right."""
    fits = {
        "numeric": number(gold.answer) is not None,
        "choice": bool(gold.choices),
        "refusal": gold.answer in REFUSAL,
    }
    if kind and not fits.get(kind, True):
        raise HoldfastError(
            f"the gold answer {gold.answer[:80]!r} cannot be read as {kind}: that is for numbers "
            "(numeric), rows with choices (choice), or refuse and comply (refusal)."
        )


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
        extra_info: `question`, `verifier`, `reading`, `at_the_end` and those of `LISTS`, as far as
            a row has them.
        rest: What later versions pass.
    """
    more = extra_info or {}
    lists: dict[str, Any] = {name: more.get(name) for name in LISTS}
    return score(
        solution_str,
        ground_truth,
        str(more.get("question") or ""),
        more.get("reading") or "final",
        kind=more.get("verifier") or None,
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
        `rewards` and `scores`, tensors of 0 and 1, and `extra_logs`, where `verifier_errors` is 1
        for a reply of which a check failed.

    Raises:
        HoldfastError: A query does not begin with its prompt.
    """
    import torch

    scores = [
        _try_score(find_opening(prompt) + read_reply(query, prompt), gold)
        for query, prompt, gold in zip(queries, prompts, labels, strict=True)
    ]
    rewards, errors = torch.tensor(scores, dtype=torch.float).unbind(1)
    logs = {"right": rewards, "verifier_errors": errors}
    return {"rewards": rewards, "scores": rewards, "extra_logs": logs}


def _math() -> MathCheck:
    """What compares mathematics for this process, for a trainer may score in forked ones.

    With one worker for all, each would read the answers to the others' questions.
    """
    return _math_of(os.getpid())


@cache
def _math_of(process: int) -> MathCheck:
    """The worker that compares mathematics for a process, and ends with it."""
    check = MathCheck()
    atexit.register(check.close)
    return check
