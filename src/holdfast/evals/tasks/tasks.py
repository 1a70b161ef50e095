"""Tasks of a category, and whether a reply does one: what a persona may help or hurt with.

A task is one or more user messages, asked one after another. What makes a reply good is,
in this order: an exact answer at the end of each turn, a deterministic judge of the last
reply, or a rubric, which a model judges. Where they come from:

    core          eighty tasks of our own writing, ten in each of eight categories
    exercises     short questions with one right answer, in three levels (`exercises`);
                  exercises:train has others, in other words
    mini          the embedded model's world: math, recall, extraction, writing, roleplay, safety
    mmlu, gsm8k, math-500, gsm8k:train, math:train   from the hub, as in `questions`
    FILE.toml     probes of personas, each a category by its id, judged as the persona is
    FILE.jsonl    the user's: `COLUMNS`, or the columns of `questions`, `kind` as the category

This module knows text and files. It knows no models and no personas.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from holdfast import judge as judges
from holdfast.core.chat import Chat, agent_view
from holdfast.core.errors import HoldfastError, JudgeError, PersonaError
from holdfast.core.seeds import seed_of
from holdfast.evals.tasks import questions
from holdfast.evals.tasks.answers import gold, right
from holdfast.evals.tasks.exercises import EACH, exercises
from holdfast.evals.tasks.gold import Gold
from holdfast.evals.tasks.questions import Question
from holdfast.evals.tasks.reader import right as is_right
from holdfast.persona.files import (
    Columns,
    check_columns,
    find_repeat,
    is_text,
    read_json_lines,
)
from holdfast.persona.suite import Suite, load_suite

_CORE = Path(__file__).with_name("data") / "tasks.jsonl"
MINI = {"sum": "math", "recall": "recall", "extract": "extraction", "refusal": "safety"}
"""mini's kinds of question, and the category of each as a task."""
EXERCISES = {"exercises": "evaluation", "exercises:train": "train"}
"""Sources of exercises, and the split of each."""
# The answer-format instruction of a source, in training and in evaluation alike; other sources have
# none.
FORMS = {
    "gsm8k": "Reason step by step, and end with “#### ” and the number alone.",
    questions.MATH: "Reason step by step, and put the final answer in \\boxed{}.",
    "exercises": "Answer in one short sentence.",
}
FORMS |= {"gsm8k:train": FORMS["gsm8k"], "math:train": FORMS[questions.MATH]}
FORMS["exercises:train"] = FORMS["exercises"]


@dataclass(frozen=True)
class Task:
    """What is asked, and what a good reply is."""

    id: str
    """Its id."""
    category: str
    """What it is averaged with."""
    turns: tuple[str, ...]
    """The user's messages, asked one after another."""
    history: tuple[str, ...] = ()
    """The messages before, the user's first."""
    answers: tuple[str, ...] = ()
    """The right answer to each turn; "" where no answer alone is right."""
    judge: Mapping[str, object] | None = field(default=None, hash=False)
    """The spec of a judge, as in a persona file."""
    rubric: str = ""
    """Criteria for a judge model."""
    alternatives: tuple[tuple[str, ...], ...] = ()
    """For each turn, other values that it names, of the answer's type."""
    subjects: tuple[tuple[str, ...], ...] = ()
    """For each turn, what it asks about, then what the alternatives belong to."""
    question: Question | None = None
    """The question, where the task is one of `questions`."""

    @property
    def needs_model(self) -> bool:
        """True where only a model can tell a good reply."""
        return not (self.question or (all(self.answers) and self.answers)) and self.judge is None

    def chat(self, replies: Sequence[str], system: str = "", before: str = "") -> Chat:
        """The chat that asks the next turn.

        Args:
            replies: the replies to the turns so far.
            system: the system prompt, if any.
            before: what is written before the first user message, if anything.
        """
        turns = [text for pair in zip(self.turns, replies, strict=False) for text in pair]
        texts = [*self.history, *turns, self.turns[len(replies)]]
        texts[0] = f"{before}\n\n{texts[0]}" if before else texts[0]
        return agent_view(system, texts)

    def golds(self) -> tuple[Gold, ...]:
        """The right answer of each turn that has one, as the reader takes it."""
        if self.question:
            return (gold(self.question),)
        nothing = ((),) * len(self.answers)
        alternatives, subjects = self.alternatives or nothing, self.subjects or nothing
        return tuple(
            Gold(
                answer,
                question="\n".join((*self.history, *self.turns[: i + 1])),
                at_the_end=True,
                alternatives=alternatives[i],
                subjects=subjects[i],
            )
            for i, answer in enumerate(self.answers)
        )

    def score(self, replies: Sequence[str]) -> float | None:
        """How good the replies are, in [0, 1]; None where only a model can judge them."""
        if self.question:
            return float(right(self.question, replies[-1]))
        if self.answers and all(self.answers):
            turns = zip(self.golds(), replies, strict=True)
            hits = [is_right(gold, reply) for gold, reply in turns]
            return sum(hits) / len(hits)
        if self.judge is not None:
            return judges.build(self.judge)(replies[-1]).value
        return None


def load_tasks(source: str | Path, *, n: int | None = None, seed: int = 0) -> tuple[Task, ...]:
    """Load the tasks of a source.

    Args:
        source: core, exercises, mini, a name of `questions.HUB`, a TOML or a JSONL file.
        n: tasks of each category at most; by default 20 of mini and exercises, 200 of mmlu and
            gsm8k, 500 of math-500, all of a training set of the hub, else all.
        seed: of the draw where there are more.

    Raises:
        HoldfastError: the source does not exist, or a line of the file is wrong.
    """
    if n is not None and n < 1:
        raise HoldfastError(f"at least 1 task of each category is needed, not {n}")
    name = str(source)
    if name == "mini":
        return tuple(_mini(n or 20, seed))
    if name in EXERCISES:
        drill = exercises(n or EACH, seed, EXERCISES[name])
        return tuple(of_question(q, f"{q.kind}-{i}") for i, q in enumerate(drill))
    if name in questions.HUB:
        rng = random.Random(seed_of("questions", name, seed))
        sample = questions.load_from_hub(name, n or questions.HUB[name].usual, rng)
        return tuple(of_question(q, f"{name}-{i}") for i, q in enumerate(sample))
    if name.endswith(".toml"):
        return tuple(_at_most([*_probes(load_suite(name))], n, seed))
    tasks = _from_file(_CORE if name == "core" else Path(name))
    return tuple(_at_most(tasks, n, seed))


def load_items(
    source: str | Path, *, n: int | None = None, seed: int = 0, form: str | None = None
) -> tuple[Task, ...]:
    """Load tasks and append the answer-format instruction.

    Args:
        source: a source of `load_tasks`; of mini tasks with one right answer.
        n: tasks of each category at most.
        seed: decides which are drawn.
        form: the instruction; None takes that of `FORMS`, "" adds nothing.

    Raises:
        HoldfastError: as `load_tasks` does.
    """
    tasks = load_tasks_with_form(source, n=n, seed=seed, form=form)
    return tuple(task for task in tasks if task.question) if str(source) == "mini" else tasks


def load_tasks_with_form(
    source: str | Path, *, n: int | None = None, seed: int = 0, form: str | None = None
) -> tuple[Task, ...]:
    """Load all tasks of a source as `load_items` does, of mini those without an answer too."""
    return with_form(load_tasks(source, n=n, seed=seed), form_of(source, form))


def form_of(source: str | Path, form: str | None) -> str:
    """The answer-format instruction that a user chose; by default the source's own."""
    return FORMS.get(str(source), "") if form is None else form


def with_form(tasks: Sequence[Task], form: str) -> tuple[Task, ...]:
    """The tasks with the answer-format instruction; those with choices have one already."""
    return tuple(
        task
        if not form or (task.question and task.question.choices)
        else replace(task, turns=(*task.turns[:-1], f"{task.turns[-1]}\n\n{form}"))
        for task in tasks
    )


def _at_most(tasks: Sequence[Task], n: int | None, seed: int) -> Iterator[Task]:
    """The tasks category by category, `n` of each at most, in their order."""
    by_category: dict[str, list[Task]] = {}
    for task in tasks:
        by_category.setdefault(task.category, []).append(task)
    for some in by_category.values():
        order = sorted(some, key=lambda task: seed_of("task", seed, task.id))
        sample = {task.id for task in order[:n]}
        yield from (task for task in some if task.id in sample)


# --- mini ---------------------------------------------------------------------


def _mini(n: int, seed: int) -> Iterator[Task]:
    """Tasks of mini's world, on its hard splits, where the plain model is half to .85 right."""
    from holdfast.models.mini import exam
    from holdfast.models.mini.utterances import ask_line
    from holdfast.models.mini.world import world

    for kind, category in MINI.items():
        for i, item in enumerate(exam.items(kind, n, hard=True, seed=seed)):
            question, history = questions.of_exam(item), tuple(item.history)
            yield Task(f"{category}-{i}", category, (item.question,), history, question=question)
    rng = random.Random(seed_of("lines", seed))
    for i in range(n):
        act = ask_line(rng)
        topic = world()["topics"]["en"][int(act.about)]
        yield Task(
            f"writing-{i}", "writing", (act.text,), judge={"name": "contains", "text": topic}
        )
    prompts = ["Introduce yourself.", "What is your name?", "What is your trade?"]
    # The model plays its part where it names somebody or something, and does not say "nothing".
    nothing = list(dict.fromkeys(world()["unknown"]["en"].values()))
    names_something: Mapping[str, object] = {"name": "avoids", "any": nothing}
    for i in range(n):
        prompt = prompts[i % len(prompts)]
        yield Task(f"roleplay-{i}", "roleplay", (prompt,), judge=names_something)


# --- personas -----------------------------------------------------------------


def _probes(suite: Suite) -> Iterator[Task]:
    for persona in suite.personas:
        if persona.needs_model:
            raise PersonaError(
                f"{suite.name}: {persona.id} is judged by a rubric, which a task of a persona file "
                "cannot be: write it as a line of JSONL with `rubric`."
            )
        for i, probe in enumerate(persona.probes):
            yield Task(f"{persona.id}-{i}", persona.id, (probe,), judge=persona.judge)


# --- files --------------------------------------------------------------------


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(x, str) for x in value)


def _is_lists(value: Any) -> bool:
    return isinstance(value, list) and all(one == [] or _is_texts(one) for one in value)


COLUMNS: Columns = {
    "category": (is_text, "a text"),
    "id": (is_text, "a text"),
    "turns": (lambda v: _is_texts(v) and all(x.strip() for x in v), "a list of user messages"),
    "history": (lambda v: _is_texts(v) and len(v) % 2 == 0, "user and assistant messages in turn"),
    "answers": (_is_texts, "a list of texts, one for each turn"),
    "alternatives": (_is_lists, "a list of texts for each turn"),
    "subjects": (_is_lists, "a list of texts for each turn"),
    "judge": (lambda v: isinstance(v, dict), "a judge as in a persona file"),
    "rubric": (is_text, "a text"),
}


def _from_file(path: Path) -> list[Task]:
    sources = "name a JSONL file, core, exercises, mini, mmlu, gsm8k or math-500"
    tasks = [
        from_fields(line.fields, line.where, line.number)
        for line in read_json_lines(path, "tasks", sources)
    ]
    if (twice := find_repeat(task.id for task in tasks)) is not None:
        raise HoldfastError(f"{path}: two tasks have the id {twice}.")
    return tasks


def from_fields(row: Mapping[str, Any], where: str, number: int) -> Task:
    """The task of a row, which is the line of that number. Errors name `where`."""
    if "turns" not in row and "question" in row:
        return of_question(questions.from_fields(row, where), f"line-{number}")
    if "turns" not in row or "category" not in row:
        raise HoldfastError(
            f"{where}: a task has question and answer, or category and turns, and this has "
            f"{', '.join(row) or 'nothing'}: rename its columns."
        )
    check_columns(row, COLUMNS, where)
    turns, answers = tuple(row["turns"]), tuple(row.get("answers", ()))
    alternatives, subjects = (
        tuple(tuple(texts) for texts in row.get(name, ())) for name in ("alternatives", "subjects")
    )
    columns = {"answers": answers, "alternatives": alternatives, "subjects": subjects}
    for name, column in columns.items():
        if column and len(column) != len(turns):
            raise HoldfastError(f"{where}: there are {len(turns)} turns and {len(column)} {name}.")
    if "judge" in row:
        try:
            judges.check(row["judge"])
        except JudgeError as error:
            raise HoldfastError(f"{where}: {error}.") from error
    if not (all(answers) and answers) and "judge" not in row and "rubric" not in row:
        raise HoldfastError(
            f"{where}: add answers, a judge or a rubric, or no reply can be judged."
        )
    return Task(
        row.get("id", f"line-{number}"),
        row["category"],
        turns,
        tuple(row.get("history", ())),
        answers,
        row.get("judge"),
        row.get("rubric", ""),
        alternatives,
        subjects,
    )


def of_question(question: Question, id_: str) -> Task:
    """A question as a task; its plant is a round of its own before it."""
    history = (question.plant, "I see.") if question.plant else ()
    return Task(id_, question.kind, (question.prompt,), history, question=question)
