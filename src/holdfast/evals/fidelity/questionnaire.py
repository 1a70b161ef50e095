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

from holdfast.core.errors import HoldfastError, suggestion
from holdfast.core.seeds import seed_of
from holdfast.core.settings import expand_home
from holdfast.persona.files import read_text

# The benchmark's files name this task after the opposite of what is graded.
_OTHER_NAMES = {"Toxicity": "Toxicity Control"}
GRADES = 5
"""The highest grade."""


@dataclass(frozen=True)
class GradedTask:
    """One of PersonaGym's tasks."""

    name: str
    questions: str
    """What its questions must be like."""
    criteria: str
    """What an answer is graded for."""
    scale: tuple[str, ...]
    """What earns each grade, from 1 to 5."""


@dataclass(frozen=True)
class Questionnaire:
    """A person, and the questions to ask them."""

    persona: str
    """Description of the person."""
    questions: Mapping[str, tuple[str, ...]]
    """Questions by task, in the order of `tasks`."""

    @property
    def items(self) -> list[tuple[str, int, str]]:
        """(task, index within the task, question), in order."""
        return [(task, i, q) for task, texts in self.questions.items() for i, q in enumerate(texts)]


@cache
def _table() -> Mapping[str, Any]:
    path = Path(__file__).with_name("questionnaire.toml")
    return tomllib.loads(path.read_text(encoding="utf-8"))


@cache
def tasks() -> dict[str, GradedTask]:
    """The five tasks by name."""
    tables = _table()["task"]
    return {one["name"]: GradedTask(**{**one, "scale": tuple(one["scale"])}) for one in tables}


def task_name(name: str) -> str:
    """The name of a task in `tasks`, from its name in a file."""
    return _OTHER_NAMES.get(name.strip(), name.strip())


def settings() -> tuple[str, ...]:
    """Places and occasions that questions may be set in."""
    return tuple(_table()["settings"])


def load(
    source: str | Path, *, n: int | None = None, people: int | None = None, seed: int = 0
) -> tuple[Questionnaire, ...]:
    """Load the questionnaires of a folder of JSON files, or of one such file.

    Args:
        source: the folder or the file.
        n: questions of each task at most, the first ones; by default all.
        people: persons at most; by default all.
        seed: draws the persons.

    Raises:
        HoldfastError: names the file and what is wrong with it.
    """
    path = expand_home(source)
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    if not files:
        raise HoldfastError(f"{path} holds no .json file: name a folder of questionnaires.")
    names = draw_people([file.stem for file in files], people, seed)
    return tuple(_read(file, n) for file in files if file.stem in names)


def draw_people(names: Sequence[str], people: int | None, seed: int) -> list[str]:
    """So many of the names, in their order; all of them by default."""
    sample = sorted(names, key=lambda name: seed_of("people", seed, name))[:people]
    return [name for name in names if name in sample]


def _read(file: Path, n: int | None) -> Questionnaire:
    """The questionnaire of a file, which is named by the person."""
    try:
        by_task = json.loads(
            read_text(file, "questions", "name a folder of JSON files, or generate")
        )
    except (ValueError, RecursionError) as error:
        raise HoldfastError(f"{file} is not JSON ({error}).") from error
    if not isinstance(by_task, dict) or not by_task:
        raise HoldfastError(f"{file}: a questionnaire is an object from tasks to questions.")
    questions: dict[str, tuple[str, ...]] = {}
    for name, texts in by_task.items():
        task = task_name(name)
        if task not in tasks():
            raise HoldfastError(f"{file}: there is no task {name!r}: {suggestion(task, tasks())}")
        if not are_texts(texts):
            raise HoldfastError(f"{file}: {name} is a list of questions, at least one.")
        questions[task] = tuple(texts[:n])
    return Questionnaire(
        file.stem, {task: questions[task] for task in tasks() if task in questions}
    )


def are_texts(value: Any) -> TypeGuard[list[str]]:
    """Whether a value is a list of texts, at least one and none empty."""
    if not isinstance(value, list) or not value:
        return False
    return all(isinstance(one, str) and one.strip() for one in value)


def read_descriptions(path: Path | str) -> tuple[str, ...]:
    """Descriptions of people, one on each line of a text file.

    Raises:
        HoldfastError: the file cannot be read, or holds none.
    """
    path = expand_home(path)
    hint = "name a text file with one description on each line"
    lines = [line.strip() for line in read_text(path, "personas", hint).splitlines()]
    descriptions = tuple(dict.fromkeys(filter(None, lines)))
    if not descriptions:
        raise HoldfastError(f"{path} holds no persona: write one description on each line.")
    return descriptions
