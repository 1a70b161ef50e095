"""The rows of a training run as a parquet file for verl, which trains at scale.

    data_source     "holdfast/" and the task's category
    prompt          messages, the persona as the system prompt
    ability         the task's category
    reward_model    {style: "rule", ground_truth: the gold answer, of choices the text}
    extra_info      index, split, epoch, item, persona, kind, and for the reward question,
                    verifier, reading, at_the_end, also, choices, alternatives and subjects

verl repeats a row for each of its rollouts and groups them by a uid of its own, so that a row is a
group with one persona. Mixing per rollout cannot be said in rows, and is refused. verl shuffles
unless `data.shuffle=False`, which is needed to keep the order that the epochs have here.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from holdfast.core.errors import HoldfastError, RunError
from holdfast.core.extras import install
from holdfast.core.folder import new_file
from holdfast.core.records import Record
from holdfast.core.settings import require_name
from holdfast.evals.tasks.letters import LETTERS
from holdfast.evals.tasks.tasks import Task
from holdfast.evals.tasks.verifier import verifier
from holdfast.training.permix.dataset import TrainingData, chats
from holdfast.training.permix.mixing import NOBODY, PersonaMix, PromptRow
from holdfast.training.permix.task_reward import READINGS


def export_rows(
    data: TrainingData,
    mix: PersonaMix,
    prompts: int,
    *,
    choice: str = "auto",
    reading: str = "final",
) -> list[Record]:
    """The first prompts of training.

    Args:
        data: Tasks and personas.
        mix: How personas are drawn.
        prompts: How many.
        choice: The verifier of answers in words and numbers (`verifier.CHOICES`).
        reading: Where the reward looks for an answer: final, lenient or strict.

    Raises:
        HoldfastError: Mixing is per rollout, or there is no such verifier or reading.
    """
    require_name("reading", reading, READINGS)
    if mix.per != "prompt":
        raise HoldfastError(
            "verl repeats a row for all rollouts of a group, which then share its persona: export "
            "with `mixing` prompt."
        )
    rows = list(mix.rows(len(data.tasks), prompts, 1))
    prompts_ = chats(rows, data.tasks, data.personas if mix.personas else ())
    return [
        {
            "data_source": f"holdfast/{data.tasks[row.item].category}",
            "prompt": [{"role": m["role"], "content": m["content"]} for m in chat],
            "ability": data.tasks[row.item].category,
            "reward_model": {"style": "rule", "ground_truth": _gold(data.tasks[row.item])},
            "extra_info": {
                **_extra(number, row, data),
                "verifier": verifier(data.tasks[row.item], choice),
                "reading": reading,
            },
        }
        for number, (row, chat) in enumerate(zip(rows, prompts_, strict=True))
    ]


def _gold(task: Task) -> str:
    """The gold answer; of choices the text, since a letter may be another choice's text."""
    gold = task.golds()[-1]
    return gold.choices[LETTERS.index(gold.answer)] if gold.choices else gold.answer


def _extra(number: int, row: PromptRow, data: TrainingData) -> Record:
    persona = None if row.persona == NOBODY else data.personas[row.persona]
    task = data.tasks[row.item]
    gold = task.golds()[-1]
    return {
        "index": number,
        "split": "train",
        "epoch": row.epoch,
        "item": task.id,
        "persona": persona.id if persona else "",
        "kind": persona.kind if persona else "none",
        "question": gold.question,
        "at_the_end": gold.at_the_end,
        "also": list(gold.also),
        "choices": list(gold.choices),
        "alternatives": list(gold.alternatives),
        "subjects": list(gold.subjects),
    }


def write_parquet(rows: Sequence[Record], path: Path) -> None:
    """Write rows as a parquet file.

    Raises:
        HoldfastError: pyarrow is missing, the file is there already, or it cannot be written.
    """
    try:
        import pyarrow as pa  # type: ignore[import-untyped]
        import pyarrow.parquet as pq  # type: ignore[import-untyped]
    except ModuleNotFoundError as missing:
        raise HoldfastError(f"a parquet file needs pyarrow: {install('permix')}.") from missing
    table = pa.Table.from_pylist(list(rows))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with new_file(path) as file:
            pq.write_table(table, file)
    except FileExistsError:
        raise RunError(f"{path} is there already: name another `out`, or remove it.") from None
    except OSError as error:
        raise RunError(
            f"{path} could not be written ({os.strerror(error.errno or 0)}); choose another `out`."
        ) from error
