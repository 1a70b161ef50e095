"""The answers that an arm learns from which imitates.

*sft* has gold answers. *rft* has the untrained model's own: one reply to each prompt, under its
persona, of which the right ones are taken over and over until there is one for each row (rejection
sampling fine-tuning, Yuan et al. 2023, arXiv:2308.01825). One that the limit of tokens cut is not
among them, whatever it is paid: the trainer ends every answer, and would teach to stop there. So
it writes as many replies as the arms with rollouts, and what it imitates is in the model's own
words and in character as far as it was. A thinking model imitates its thoughts too, as the arms
with rollouts train them, where its chat template shows a thought before a reply.

This module knows prompts, replies and rewards. It knows no trainer.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from holdfast.core.backend import Ask
from holdfast.core.chat import Chat, message
from holdfast.core.errors import HoldfastError
from holdfast.core.run import RecordFile
from holdfast.core.seeds import seed_of
from holdfast.models.local.backend import LocalBackend
from holdfast.models.local.template import ASIDE, MARK, REPLY
from holdfast.results.training.permix import OwnAnswer
from holdfast.training.permix.dataset import chats, gold_reply
from holdfast.training.permix.plan import TrainingPlan, main_process
from holdfast.training.permix.task_reward import Reward

NAME = "answers.jsonl"


def with_answers(
    backend: LocalBackend, plan: TrainingPlan, reward: Reward, folder: Path
) -> TrainingPlan:
    """The plan with an answer for each row; of rft the rows are those with a right one.

    Args:
        backend: The untrained model.
        plan: What is trained on.
        reward: What a reply is paid.
        folder: The run's folder, where replies are read back if they are there.

    Raises:
        HoldfastError: No reply is right.
    """
    if plan.arm == "sft":
        return replace(plan, answers=[gold_reply(plan.tasks[row.item]) for row in plan.rows])
    answers = [one for one in _own_answers(backend, plan, reward, folder) if one.right]
    if not answers:
        raise HoldfastError(
            f"none of {len(plan.rows)} replies of the untrained model was right and not cut by the "
            "limit of tokens, so that there is nothing to imitate: choose easier tasks, a higher "
            "`max_new_tokens` and another `out`, or `arm` sft, which imitates gold answers."
        )
    answers_in_turn = [answers[i % len(answers)] for i in range(len(plan.rows))]
    thoughts = [one.thought or "" for one in answers_in_turn]
    return replace(
        plan,
        rows=[plan.rows[one.row] for one in answers_in_turn],
        answers=[one.reply for one in answers_in_turn],
        thoughts=thoughts if any(thoughts) and _can_show_thoughts(backend) else (),
    )


def _can_show_thoughts(backend: LocalBackend) -> bool:
    """Whether the chat template shows a thought before a reply; says what it means if not."""
    chat: Chat = (
        message("user", ASIDE),
        {**message("assistant", REPLY), "reasoning_content": MARK},
    )
    shown = MARK in backend.template.text(chat, prompt=False)
    if not shown and main_process():
        print(
            f"permix train: {backend.name}'s chat template shows no thought before a reply, so "
            "that right answers are imitated without their thoughts and the model learns to answer "
            "at once: the arms permix and rlvr train the thoughts too.",
            file=sys.stderr,
            flush=True,
        )
    return shown


def _own_answers(
    backend: LocalBackend, plan: TrainingPlan, reward: Reward, folder: Path
) -> Sequence[OwnAnswer]:
    """A reply to each row; one process asks, and the others wait for its file."""
    while not main_process() and not (folder / NAME).exists():
        time.sleep(0.2)
    file = RecordFile(folder, NAME, OwnAnswer)
    file.read(mend=False)
    if file.rows:
        return file.rows
    asks = [
        Ask(chat, seed_of("own", plan.seed, i), keep=False)
        for i, chat in enumerate(chats(plan.rows, plan.tasks, plan.personas))
    ]
    replies = backend.reply(asks, plan.settings.sampling)
    file.keep(
        OwnAnswer(
            i,
            reply.text,
            reply.stop != "length" and reward.score(row.item, reply.text) > 0,
            reply.thought,
        )
        for i, (row, reply) in enumerate(zip(plan.rows, replies, strict=True))
    )
    return file.rows
