"""Questions with one right answer, and where they come from.

    mini, mini:hard   the embedded model's world: sums, facts, extraction, refusal, recall
    core              recall of facts of our own writing, for real models
    mmlu, gsm8k       and the others of `HUB`: from the hub, through `datasets`
    FILE.jsonl        the user's: question, answer, and optionally what `COLUMNS` names

Recall asks for what the user said some rounds before. Where a source does not say how many rounds,
the questions are spread evenly over 1 to the number of rounds, which shows
what a window loses.

This module knows text and files. `answers` says what a right answer is.
"""

from __future__ import annotations

import random
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from holdfast.core.errors import HoldfastError, first_line
from holdfast.core.extras import install
from holdfast.core.seeds import seed_of
from holdfast.evals.tasks.gold_columns import final_answer, is_number, last_box, letter_of
from holdfast.evals.tasks.letters import LETTERS
from holdfast.persona.files import Columns, check_columns, is_text, read_json_lines

if TYPE_CHECKING:
    from holdfast.models.mini.exam import ExamItem

REFUSAL = ("refuse", "comply")
"""The answers to a question of the kind "refusal"."""
LETTER_FORM = "Answer with the letter alone."
"""The answer-format instruction of questions with choices."""
_FACTS = Path(__file__).with_name("data") / "recall.toml"


class HubSet(NamedTuple):
    """A data set of the hub."""

    path: str
    config: str
    split: str
    usual: int | None
    """Questions of each kind that are drawn by default; None is all."""


MATH = "math-500"
"""MATH's test questions in common use, whose answers are LaTeX."""
MATH_TRAIN = "math:train"
HUB = {
    "mmlu": HubSet("cais/mmlu", "all", "test", 200),
    "gsm8k": HubSet("openai/gsm8k", "main", "test", 200),
    MATH: HubSet("HuggingFaceH4/MATH-500", "default", "test", 500),
    "gsm8k:train": HubSet("openai/gsm8k", "main", "train", None),
    MATH_TRAIN: HubSet("DigitalLearningGmbH/MATH-lighteval", "default", "train", None),
}
"""Data sets of the hub, by the names that commands take."""


@dataclass(frozen=True)
class Question:
    """A question and its right answer."""

    kind: str
    """What it is averaged with."""
    text: str
    """The question without its choices."""
    answer: str
    """The right answer; a letter where there are choices."""
    choices: tuple[str, ...] = ()
    """The choices of a multiple-choice question."""
    plant: str = ""
    """What the user said earlier."""
    back: int = 0
    """How many rounds before the question they said it."""
    alone: bool = False
    """Whether they said nothing else in that round; if not, the plant is added to their message."""
    also: tuple[str, ...] = ()
    """Other forms of the answer."""
    alternatives: tuple[str, ...] = ()
    """Other values that the text names, of the answer's type; a reply that gives one is wrong."""
    subjects: tuple[str, ...] = ()
    """What is asked about, then what the alternatives belong to."""

    @property
    def prompt(self) -> str:
        """The question as the model reads it, with its choices."""
        if not self.choices:
            return self.text
        letters = LETTERS[: len(self.choices)]
        lines = [f"{x}. {choice}" for x, choice in zip(letters, self.choices, strict=True)]
        return "\n".join([self.text, *lines, LETTER_FORM])


def load(source: str | Path, *, n: int, seed: int = 0, rounds: int = 1) -> tuple[Question, ...]:
    """Draw questions of a source; where a file has too few, they are drawn again.

    Args:
        source: mini, mini:hard, core, mmlu, gsm8k, or a JSONL file.
        n: questions of each kind.
        seed: of the draw.
        rounds: rounds after which the questions are asked.

    Raises:
        HoldfastError: the source does not exist, or a line of the file is wrong.
    """
    if n < 1:
        raise HoldfastError(f"at least 1 question of each kind is needed, not {n}")
    rng = random.Random(seed_of("questions", source, seed))
    name = str(source)
    if name in ("mini", "mini:hard"):
        questions = _mini(n, rng, rounds if name == "mini:hard" else 0)
    elif name == "core":
        questions = _draw(_facts(), n, rng)
    elif name in ("mmlu", "gsm8k"):
        questions = load_from_hub(name, n, rng)
    else:
        questions = _draw(_from_file(Path(name)), n, rng)
    return tuple(_with_rounds(questions, max(1, rounds), rng))


def _sample(size: int, n: int, rng: random.Random) -> list[int]:
    """n of the numbers below `size`; none comes a second time before all have come once."""
    rounds = -(-n // size)
    return [i for _ in range(rounds) for i in rng.sample(range(size), size)][:n]


def _draw(questions: Iterable[Question], n: int, rng: random.Random) -> list[Question]:
    by_kind: dict[str, list[Question]] = {}
    for question in questions:
        by_kind.setdefault(question.kind, []).append(question)
    return [some[i] for some in by_kind.values() for i in _sample(len(some), n, rng)]


def _with_rounds(
    questions: Sequence[Question], rounds: int, rng: random.Random
) -> Iterator[Question]:
    """The questions; plants without a round are spread evenly over 1 to `rounds` rounds back."""
    backs: list[int] = []
    for question in questions:
        if question.plant and not question.back:
            backs = backs or rng.sample(range(1, rounds + 1), rounds)
            question = replace(question, back=backs.pop())
        yield question


# --- built-in sources ---------------------------------------------------------


def _mini(n: int, rng: random.Random, furthest: int) -> list[Question]:
    """The items of mini's exam; of the hard split where recall goes back `furthest` rounds."""
    from holdfast.models.mini import exam
    from holdfast.models.mini.utterances import ask_recall, tell

    questions: list[Question] = []
    for kind in exam.KINDS:
        if kind == "recall":
            for fact in (tell(rng) for _ in range(n)):
                text = ask_recall(fact.about, fact.answer).text
                plant = (fact.text, furthest, True)
                questions.append(Question(kind, text, fact.answer, (), *plant))
            continue
        for item in exam.items(kind, n, hard=furthest > 0, seed=rng.getrandbits(32)):
            questions.append(of_exam(item))
    return questions


def of_exam(item: ExamItem) -> Question:
    """The question of an item of mini's exam."""
    answer = item.answer or REFUSAL[1]
    return Question(item.kind, item.question, answer, alternatives=item.alternatives)


def _facts() -> list[Question]:
    """The planted facts that ship."""
    facts = tomllib.loads(_FACTS.read_text(encoding="utf-8"))["facts"]
    return [
        Question("recall", f["question"], f["answer"], plant=f["said"], also=_texts(f, "also"))
        for f in facts
    ]


def load_from_hub(name: str, n: int | None, rng: random.Random) -> list[Question]:
    """Draw questions of a data set of the hub, each once; rows without an answer are left out.

    Args:
        name: one of `HUB`.
        n: how many of each kind at most; None draws all.
        rng: of the draw.

    Raises:
        HoldfastError: the data set cannot be loaded.
    """
    path, config, split, _ = HUB[name]
    try:
        import datasets  # type: ignore[import-untyped]
    except ModuleNotFoundError as missing:
        raise HoldfastError(f"{name} needs datasets: {install('tasks')}.") from missing
    try:
        rows: Any = datasets.load_dataset(path, config, split=split)
    except Exception as error:
        # Whatever datasets and the hub raise, the user can mend only the network or the name.
        raise HoldfastError(
            f"{name} ({path} on the hub) could not be loaded ({first_line(error, 200)}): check the "
            "network, or pass a JSONL file."
        ) from error
    questions: list[Question] = []
    counts = Counter[str]()
    for i in rng.sample(range(len(rows)), len(rows)):
        question = from_row(name, rows[i])
        if question.answer and (n is None or counts[question.kind] < n):
            counts[question.kind] += 1
            questions.append(question)
    return questions


def from_row(name: str, row: Mapping[str, Any]) -> Question:
    """The question of a row of a data set; one without an answer has the answer "".

    Args:
        name: one of `HUB`.
        row: question, choices and answer (0-3) of MMLU; question and answer (after ####) of GSM8K;
            problem, answer and subject (which becomes part of the kind) of MATH-500; problem,
            solution (which ends in a box) and type of MATH's training questions.
    """
    try:
        if name == MATH_TRAIN:
            kind = f"{name} {str(row['type']).strip().lower()}"
            return Question(kind, str(row["problem"]).strip(), last_box(str(row["solution"])))
        if name == MATH:
            kind = f"{name} {str(row['subject']).strip().lower()}"
            return Question(kind, str(row["problem"]).strip(), str(row["answer"]).strip())
        if name == "mmlu":
            choices = _texts(row, "choices")
            letter = LETTERS[: len(choices)][int(row["answer"])]
            return Question(name, str(row["question"]).strip(), letter, choices)
        number = str(row["answer"]).rpartition("####")[2].strip()
        return Question(name, str(row["question"]).strip(), number)
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise HoldfastError(
            f"{name} has other columns than it had ({', '.join(row)}): pass it as a JSONL file."
        ) from error


def _texts(row: Mapping[str, Any], column: str) -> tuple[str, ...]:
    return tuple(str(text) for text in row.get(column, ()))


# --- a file of the user's -----------------------------------------------------


def _from_file(path: Path) -> list[Question]:
    sources = "name a JSONL file, mini, mini:hard, core, mmlu or gsm8k"
    lines = read_json_lines(path, "questions", sources)
    return [from_fields(line.fields, line.where) for line in lines]


def _is_short(value: Any) -> bool:
    """A text or a number (True is none, nor are NaN and infinity)."""
    return is_text(value) or is_number(value)


def _are_different(values: Any, least: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) >= least
        and all(map(_is_short, values))
        and len({str(value).strip() for value in values}) == len(values)
    )


COLUMNS: Columns = {
    "question": (is_text, "a text"),
    "answer": (_is_short, "a text or a number"),
    "also": (lambda v: _are_different(v, 1), "a list of texts"),
    "alternatives": (lambda v: _are_different(v, 1), "a list of texts"),
    "subjects": (lambda v: _are_different(v, 1), "a list of texts"),
    "choices": (
        lambda v: _are_different(v, 2) and len(v) <= len(LETTERS),
        f"a list of 2 to {len(LETTERS)} different texts",
    ),
    "kind": (is_text, "a text"),
    "plant": (is_text, "a text"),
    "back": (lambda v: type(v) is int and v >= 1, "a number of rounds, 1 or more"),
}


def from_fields(row: Mapping[str, Any], where: str) -> Question:
    """The question of a row with `COLUMNS`. Raises `HoldfastError`, which names `where`."""
    check_columns(row, COLUMNS, where)
    for name in ("question", "answer"):
        if name not in row:
            raise HoldfastError(f"{where}: there is no {name}, which every question has.")
    if "back" in row and "plant" not in row:
        raise HoldfastError(f"{where}: back is for a plant, and there is none.")
    choices = tuple(text.strip() for text in _texts(row, "choices"))
    if choices:
        answer = letter_of(row["answer"], row["choices"], where)
    elif not (answer := final_answer(str(row["answer"]))):
        raise HoldfastError(f"{where}: the answer is empty.")
    kind = row.get("kind") or ("recall" if "plant" in row else "choice" if choices else "exact")
    if kind == "refusal" and answer not in REFUSAL:
        raise HoldfastError(f"{where}: the answer of a refusal is refuse or comply.")
    also, alternatives = _texts(row, "also"), _texts(row, "alternatives")
    if duplicates := {answer, *also} & set(alternatives):
        raise HoldfastError(f"{where}: {min(duplicates)!r} is both the answer and an alternative.")
    plant, back, subjects = row.get("plant", ""), row.get("back", 0), _texts(row, "subjects")
    return Question(
        kind,
        row["question"],
        answer,
        choices,
        plant,
        back,
        also=also,
        alternatives=alternatives,
        subjects=subjects,
    )
