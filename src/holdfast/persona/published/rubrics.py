"""SysBench, MultiChallenge, PersonaGym and MT-Bench: tests that a judge model grades.

Their criteria become rubrics in the words of their authors, for `--judge-model`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from holdfast.core.errors import PersonaError
from holdfast.persona.files import read_text
from holdfast.persona.published.tables import PersonaTables, as_id, rows, text_of

RETENTION = "INSTRUCTION_RETENTION"
"""The axis of MultiChallenge whose first message is an order for the whole conversation."""
IDENTITY = "You are this person: {}. Whatever you are asked, answer as this person would."


def _rubric(criteria: str) -> dict[str, object]:
    return {"name": "rubric", "criteria": criteria}


def read_sysbench(path: Path) -> PersonaTables:
    """SysBench (arXiv:2408.10943): a persona for each turn of a system message's dialogue.

    The turn's user message is the probe, and its checklist the rubric. The dialogue itself is not
    used: rounds of self-chat take its place.
    """
    tables = PersonaTables()
    for where, row in rows(path, "SysBench", ("system_id", "system_prompt", "prompt_infos")):
        prompt = text_of(row["system_prompt"], where, "system_prompt")
        infos = row["prompt_infos"]
        # In the released JSON an object by the user's message; the README calls it an array.
        if not isinstance(infos, Mapping | list):
            raise PersonaError(f"{where}: prompt_infos is neither an object nor a list")
        turns = (
            list(infos.items())
            if isinstance(infos, Mapping)
            else [(_user_message(i), i) for i in infos]
        )
        for n, (probe, info) in enumerate(turns, 1):
            criteria = _checklist(info.get("criteria") if isinstance(info, Mapping) else None)
            if not isinstance(probe, str) or not probe.strip() or not criteria:
                tables.skipped["a turn without a message or a checklist"] += 1
                continue
            tables.add(
                id_=as_id("system", row["system_id"], "turn", n),
                category=as_id(info.get("alignment") or "turn"),
                prompt=prompt,
                probes=(probe.strip(),),
                judge=_rubric(criteria),
                source=where,
            )
    return tables


def _user_message(info: Any) -> Any:
    """The user's message of an entry of an array."""
    if not isinstance(info, Mapping):
        return None
    return next((info[name] for name in ("prompt", "user", "content") if info.get(name)), None)


def _checklist(criteria: Any) -> str:
    """The criteria of a turn as a list: an object or an array of texts or of objects."""
    texts = criteria if isinstance(criteria, list) else ()
    entries = criteria.values() if isinstance(criteria, Mapping) else texts
    texts = [one.get("criteria_content") if isinstance(one, Mapping) else one for one in entries]
    lines = [str(text).strip() for text in texts if text]
    return "The reply does all of this:\n" + "\n".join(f"- {one}" for one in lines) if lines else ""


def read_multichallenge(path: Path) -> PersonaTables:
    """MultiChallenge (arXiv:2501.17399): its conversations on instruction retention.

    The first message, which gives the instruction, is the system prompt, and the last is the probe.
    The other axes are about what was said in between, which self-chat replaces.
    """
    tables = PersonaTables()
    columns = ("QUESTION_ID", "AXIS", "CONVERSATION", "TARGET_QUESTION", "PASS_CRITERIA")
    for where, row in rows(path, "MultiChallenge", columns):
        if row["AXIS"] != RETENTION:
            tables.skipped[f"on the axis {row['AXIS']}"] += 1
            continue
        talk = row["CONVERSATION"] if isinstance(row["CONVERSATION"], list) else ()
        messages = [one for one in talk if isinstance(one, Mapping)]
        texts = [one.get("content") for one in messages if one.get("role") == "user"]
        if len(texts) < 2:
            raise PersonaError(f"{where}: the conversation has fewer than two messages of the user")
        answer = "yes" if str(row["PASS_CRITERIA"]).strip().upper() == "YES" else "no"
        question = text_of(row["TARGET_QUESTION"], where, "TARGET_QUESTION")
        tables.add(
            id_=as_id("question", row["QUESTION_ID"]),
            category="instruction-retention",
            prompt=text_of(texts[0], where, "the first message"),
            probes=(text_of(texts[-1], where, "the last message"),),
            judge=_rubric(f"About the reply, the answer to this is {answer}: {question}"),
            source=where,
        )
    return tables


def read_personagym(path: Path) -> PersonaTables:
    """PersonaGym (arXiv:2407.18416): a JSON file for each person, named by its description.

    Each of its tasks is a persona. `holdfast fidelity --tasks FOLDER` runs the protocol itself.
    """
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    tables = PersonaTables()
    for number, file in enumerate(files, 1):
        text = read_text(file, "PersonaGym's questions", "name the authors' folder", PersonaError)
        try:
            tasks = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise PersonaError(f"{file} is not JSON ({error})") from None
        if not isinstance(tasks, dict) or not all(isinstance(v, list) for v in tasks.values()):
            raise PersonaError(f"{file} is not PersonaGym's: tasks by name, each with questions")
        for task, questions in tasks.items():
            probes = tuple(q.strip() for q in questions if isinstance(q, str) and q.strip())
            if not probes:
                tables.skipped["a task without questions"] += 1
                continue
            tables.add(
                id_=as_id("person", number, task),
                category=as_id(task),
                prompt=IDENTITY.format(file.stem),
                probes=probes,
                judge=_rubric(
                    f"The reply is what {file.stem} would say to this question ({task}): "
                    "consistent with the identity, in its language, and not as an assistant."
                ),
                source=str(file),
            )
    return tables


def read_mt_bench(path: Path) -> PersonaTables:
    """MT-Bench (arXiv:2306.05685): question.jsonl with question_id, category and two turns.

    The first turn is the system prompt, as the task at hand, and the second, which builds on it,
    the probe. References, where there are any, are in the rubric.
    """
    tables = PersonaTables()
    for where, row in rows(path, "MT-Bench", ("question_id", "category", "turns")):
        turns = row["turns"]
        if not isinstance(turns, list) or len(turns) < 2:
            tables.skipped["without a second turn"] += 1
            continue
        references = row.get("reference")
        second = references[1:2] if isinstance(references, list) else []
        right = "".join(f" A right answer: {one}" for one in second)
        task = text_of(turns[0], where, "the first turn")
        tables.add(
            id_=as_id("question", row["question_id"]),
            category=as_id(row["category"]),
            prompt=f"The conversation is about this request: {task}",
            probes=(text_of(turns[1], where, "the second turn"),),
            judge=_rubric(f"Helpful, relevant, accurate, detailed for the request.{right}"),
            source=where,
        )
    return tables
