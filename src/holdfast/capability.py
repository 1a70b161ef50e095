"""Questions with one right answer, asked on branches of the controlled conversation.

A control that holds a persona may cost what the model can do, and it costs it where the
control works: late in the conversation. So questions are asked there, in place of the
next user message, on a branch like a probe. Recall asks for something that the user
said some rounds ago: it is planted in the branch, where a window loses it.

Where questions come from:

    mini, mini:hard   the embedded model's world: sums, facts, extraction, refusal, recall
    core              planted facts of our own writing, for real models
    mmlu, gsm8k       from the hub, through `datasets`
    FILE.jsonl        question, answer, and optionally choices, kind, plant, back

This module knows text. It knows no models, and no judge but right and wrong.
"""

from __future__ import annotations

import json
import random
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.chat import Chat, agent_view
from holdfast.errors import HoldfastError
from holdfast.run import seed_of

LETTERS = "ABCDEFGHIJ"
_FACTS = Path(__file__).with_name("recall.toml")
_HUB = {
    "mmlu": ("cais/mmlu", "all", "test"),
    "gsm8k": ("openai/gsm8k", "main", "test"),
}


@dataclass(frozen=True)
class Question:
    """A question and its right answer.

    `choices` make it multiple choice; the answer is then a letter. `plant` is what the
    user said `back` rounds before it is asked; `alone` says that it was all they said
    in that round (else it is added to what they did say).
    """

    kind: str
    text: str
    answer: str
    choices: tuple[str, ...] = ()
    plant: str = ""
    back: int = 0
    alone: bool = False

    @property
    def asked(self) -> str:
        """The question as it is put, choices included."""
        if not self.choices:
            return self.text
        lines = [
            f"{letter}. {choice}" for letter, choice in zip(LETTERS, self.choices, strict=False)
        ]
        return "\n".join([self.text, *lines, "Answer with the letter alone."])


def chat(question: Question, prompt: str | None, turns: Sequence[str]) -> Chat:
    """The agent's chat that asks the question after the rounds in `turns`, plant included.

    A plant further back than the conversation goes stands in its first round; where there
    is no round at all it comes with the question.
    """
    said = list(turns)
    if not question.plant:
        return agent_view(prompt, said, question.asked)
    if not said:
        return agent_view(prompt, said, f"{question.plant} {question.asked}")
    at = max(0, len(said) - 2 * max(1, question.back))
    said[at] = question.plant if question.alone else f"{said[at]} {question.plant}"
    return agent_view(prompt, said, question.asked)


def right(question: Question, text: str) -> bool:
    """Whether a reply is right: the letter, the last number, or the answer as whole words."""
    if question.kind == "refusal":
        from holdfast.mini.words import world

        refused = world()["refusals"]["en"].rstrip(".").lower() in text.lower()
        return bool(refused == (question.answer == "refuse"))
    if question.choices:
        return _letter(text, len(question.choices)) == question.answer.upper()
    if (wanted := _number(question.answer)) is not None:
        found = [_number(n) for n in _NUMBERS.findall(text)]
        return bool(found) and found[-1] == wanted
    return f" {_words(question.answer)} " in f" {_words(text)} "


_NUMBERS = re.compile(r"-?\d[\d,]*(?:\.\d+)?", re.ASCII)


def _number(text: str) -> float | None:
    plain = text.strip().replace(",", "").removeprefix("$")
    return float(plain) if re.fullmatch(r"-?\d+(\.\d+)?", plain, re.ASCII) else None


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def _letter(text: str, choices: int) -> str | None:
    """The letter chosen: after "answer is", else one that stands alone, the last of several."""
    letters = LETTERS[:choices]
    stated = re.findall(rf"answer(?: is|:)?\s*\(?([{letters}])\b", text, re.IGNORECASE)
    if stated:
        return str(stated[-1]).upper()
    # A bare "A" or "I" opens sentences, so a letter counts where it is marked, or is all there is.
    alone = re.fullmatch(rf"\W*([{letters}])\W*", text.strip(), re.IGNORECASE)
    if alone:
        return alone[1].upper()
    marked = re.findall(rf"(?:^|[\s(])([{letters}])[).:](?:\s|$)", text)
    return str(marked[-1]) if marked else None


def load(source: str | Path, *, n: int, seed: int = 0, rounds: int = 1) -> tuple[Question, ...]:
    """n questions of each kind, drawn by `seed`; recall goes back 1 to `rounds` rounds.

    Raises HoldfastError for a source that there is not, or a file that cannot be read, with
    its line.
    """
    if n < 1:
        raise HoldfastError(f"at least 1 question of each kind is needed, not {n}")
    rng = random.Random(seed_of("questions", source, seed))
    name = str(source)
    if name.split(":")[0] == "mini":
        return _mini(n, rng, rounds, hard=name == "mini:hard")
    if name == "core":
        return _drawn(_planted(rng, rounds), n, rng)
    if name in _HUB:
        return _drawn(_from_hub(name), n, rng)
    return _drawn(_from_file(Path(name)), n, rng)


def _drawn(questions: Iterable[Question], n: int, rng: random.Random) -> tuple[Question, ...]:
    by_kind: dict[str, list[Question]] = {}
    for question in questions:
        by_kind.setdefault(question.kind, []).append(question)
    chosen: list[Question] = []
    for held in by_kind.values():
        # More than there are: all of them, again and again.
        rounds = -(-n // len(held))
        chosen += [q for _ in range(rounds) for q in rng.sample(held, len(held))][:n]
    return tuple(chosen)


def _mini(n: int, rng: random.Random, rounds: int, *, hard: bool) -> tuple[Question, ...]:
    from holdfast.mini import exam
    from holdfast.mini.talk import ask_recall, tell

    found: list[Question] = []
    for kind in exam.KINDS:
        if kind != "recall":
            drawn = exam.items(kind, n, hard=hard, seed=rng.getrandbits(32))
            found += [Question(kind, item.question, item.answer) for item in drawn]
            continue
        for _ in range(n):
            told, back = tell(rng), rng.randint(1, max(1, rounds))
            question = ask_recall(told.about, told.answer).text
            found.append(Question(kind, question, told.answer, (), told.text, back, True))
    return tuple(found)


def _planted(rng: random.Random, rounds: int) -> list[Question]:
    """The built-in facts, each told 1 to `rounds` rounds before it is asked for."""
    facts = tomllib.loads(_FACTS.read_text(encoding="utf-8"))["facts"]
    return [
        Question(
            "recall", f["question"], f["answer"], (), f["said"], rng.randint(1, max(1, rounds))
        )
        for f in facts
    ]


def _from_hub(name: str) -> list[Question]:
    """MMLU or GSM8K. Raises HoldfastError where they cannot be had."""
    path, config, split = _HUB[name]
    try:
        import datasets  # type: ignore[import-untyped]
    except ModuleNotFoundError as missing:
        raise HoldfastError(f"{name} needs datasets: pip install 'holdfast[tasks]'.") from missing
    try:
        rows: Any = datasets.load_dataset(path, config, split=split)
    except Exception as error:
        # Whatever datasets and the hub raise, the user can mend only the network or the name.
        raise HoldfastError(
            f"{name} ({path} on the hub) could not be loaded ({_first(error)}): check the network, "
            "or pass a JSONL file."
        ) from error
    return [from_row(name, row) for row in rows]


def from_row(name: str, row: Mapping[str, Any]) -> Question:
    """A row of MMLU (question, choices, answer 0-3) or GSM8K (question, answer after ####)."""
    if name == "mmlu":
        choices = tuple(str(choice) for choice in row["choices"])
        return Question("mmlu", str(row["question"]), LETTERS[int(row["answer"])], choices)
    return Question("gsm8k", str(row["question"]), str(row["answer"]).rpartition("####")[2].strip())


def _first(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".")


def _from_file(path: Path) -> list[Question]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise HoldfastError(
            f"there are no questions in {path} ({error.strerror}): name a JSONL file, mini, core, "
            "mmlu or gsm8k."
        ) from error
    except UnicodeDecodeError as error:
        raise HoldfastError(
            f"{path} is not UTF-8 (byte {error.start}); convert it first"
        ) from error
    found = [_parsed(line, f"{path}, line {i}") for i, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise HoldfastError(f"{path} holds no questions; each line is one")
    return found


_COLUMNS: Mapping[str, Callable[[Any], bool]] = {
    "question": lambda v: isinstance(v, str) and bool(v.strip()),
    "answer": lambda v: isinstance(v, str | int | float) and bool(str(v).strip()),
    "choices": lambda v: isinstance(v, list) and 2 <= len(v) <= len(LETTERS),
    "kind": lambda v: isinstance(v, str) and bool(v),
    "plant": lambda v: isinstance(v, str),
    "back": lambda v: isinstance(v, int) and v >= 0,
}


def _parsed(line: str, where: str) -> Question:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise HoldfastError(f"{where}: not JSON ({error})") from None
    if not isinstance(row, dict):
        raise HoldfastError(f"{where}: a question is an object with question and answer")
    for name in ("question", "answer"):
        if name not in row:
            raise HoldfastError(f"{where}: no {name}")
    for name, value in row.items():
        if name not in _COLUMNS:
            raise HoldfastError(f"{where}: unknown column {name!r}; use {', '.join(_COLUMNS)}")
        if not _COLUMNS[name](value):
            raise HoldfastError(f"{where}: {name} cannot be {value!r}")
    choices = tuple(str(choice) for choice in row.get("choices", ()))
    answer = str(row["answer"]).strip()
    if choices and answer in choices:
        answer = LETTERS[choices.index(answer)]
    elif choices and answer.upper() not in LETTERS[: len(choices)]:
        raise HoldfastError(f"{where}: the answer {answer!r} is neither a choice nor its letter")
    kind = row.get("kind") or ("recall" if row.get("plant") else path_kind(choices))
    return Question(
        kind, row["question"], answer, choices, row.get("plant", ""), row.get("back", 1)
    )


def path_kind(choices: Sequence[str]) -> str:
    """What a question without a kind is called."""
    return "choice" if choices else "exact"
