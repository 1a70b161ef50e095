"""Questions that show how well somebody plays a person: PersonaGym's five tasks.

A questionnaire is a description of a person and questions for each task. They come from files,
in the layout of PersonaGym's benchmark (a JSON file for each person, named by the description: an
object from task to a list of questions), or a model writes them (`author`).

This module knows text and files. It knows no models.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeGuard

from holdfast.core.errors import HoldfastError
from holdfast.core.seeds import seed_of

# What the benchmark's files call a task that is graded the other way round.
_ALSO = {"Toxicity": "Toxicity Control"}
GRADES = 5


@dataclass(frozen=True)
class Task:
    """A task: what its questions must be like, and what an answer is graded for, 1 to 5."""

    name: str
    questions: str
    criteria: str
    scale: tuple[str, ...]


@dataclass(frozen=True)
class Questionnaire:
    """A person, and questions by task, in the order of `tasks`."""

    persona: str
    questions: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def items(self) -> list[tuple[str, int, str]]:
        """(task, place within the task, question), in order."""
        return [(task, i, q) for task, held in self.questions for i, q in enumerate(held)]


@cache
def _table() -> Mapping[str, Any]:
    path = Path(__file__).with_name("questionnaire.toml")
    return tomllib.loads(path.read_text(encoding="utf-8"))


@cache
def tasks() -> dict[str, Task]:
    """The five tasks by name."""
    found = (Task(**{**one, "scale": tuple(one["scale"])}) for one in _table()["task"])
    return {task.name: task for task in found}


def known(name: str) -> str:
    """A task's name as it is here, from that of a file."""
    return _ALSO.get(name.strip(), name.strip())


def settings() -> tuple[str, ...]:
    """Places and occasions that questions may be set in."""
    return tuple(_table()["settings"])


def load(
    source: str | Path, *, n: int | None = None, people: int | None = None, seed: int = 0
) -> tuple[Questionnaire, ...]:
    """The questionnaires of a folder of JSON files, or of one such file.

    At most `people` of them, drawn by `seed`, and the first `n` questions of each task. Raises
    HoldfastError, which names the file, for whatever is wrong.
    """
    path = Path(source).expanduser()
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    if not files:
        raise HoldfastError(f"{path} holds no .json file: name a folder of questionnaires.")
    for number, what in ((n, "question of each task"), (people, "persona")):
        if number is not None and number < 1:
            raise HoldfastError(f"at least 1 {what} is needed, not {number}.")
    drawn = sorted(files, key=lambda file: seed_of("people", seed, file.stem))[:people]
    return tuple(read(file, n) for file in files if file in drawn)


def read(file: Path, n: int | None = None) -> Questionnaire:
    """The questionnaire of a file, which is named by the person."""
    try:
        held = json.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise HoldfastError(
            f"there are no questions in {file} ({error.strerror}): name a folder of JSON files, or "
            "generate."
        ) from error
    except (ValueError, RecursionError) as error:
        raise HoldfastError(f"{file} is not JSON in UTF-8 ({error}).") from error
    if not isinstance(held, dict) or not held:
        raise HoldfastError(f"{file}: a questionnaire is an object from tasks to questions.")
    found: dict[str, tuple[str, ...]] = {}
    for name, asked in held.items():
        task = known(name)
        if task not in tasks():
            raise HoldfastError(f"{file}: there is no task {name!r}: use {', '.join(tasks())}.")
        if not texts(asked):
            raise HoldfastError(f"{file}: {name} is a list of questions, at least one.")
        found[task] = tuple(asked[:n])
    return Questionnaire(file.stem, tuple((t, found[t]) for t in tasks() if t in found))


def texts(value: Any) -> TypeGuard[list[str]]:
    """Whether a value is a list of texts, at least one and none empty."""
    if not isinstance(value, list) or not value:
        return False
    return all(isinstance(one, str) and one.strip() for one in value)


def descriptions(path: Path | str) -> tuple[str, ...]:
    """Descriptions of people, one on each line of a text file."""
    try:
        lines = Path(path).expanduser().read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise HoldfastError(
            f"there are no personas in {path} ({error.strerror}): name a text file with one "
            "description on each line."
        ) from error
    except UnicodeDecodeError as error:
        raise HoldfastError(
            f"{path} is not UTF-8 (byte {error.start}): convert it first."
        ) from error
    found = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not found:
        raise HoldfastError(f"{path} holds no persona: write one description on each line.")
    return found


def described(questionnaires: Sequence[Questionnaire]) -> list[Mapping[str, object]]:
    """The questionnaires as JSON, for a manifest."""
    return [{"persona": one.persona, "questions": dict(one.questions)} for one in questionnaires]
