"""PerMix on real models: its arms under held-out personas of families seen and new.

    python studies/permix_real.py --out DIR    # SmolLM2: six arms, five seeds
    python studies/permix_real.py --out DIR --recipe permix_qwen [--model FOLDER]

`permix_real.toml` and `permix_qwen.toml` are the recipes: a training of every arm for every seed,
each measured on tasks and personas that no training saw. This script writes the tasks into
DIR/recipe. For SmolLM2: which of three or four statements answers (two or three distractors), and
capitals. For Qwen-0.5B, which is right on .95 of these: which of seven answers, asked from either
side, and numbers in order. Names, words and countries of the tasks for evaluation never occur in
training (`exercises.lexicon`). The same command goes on where it was stopped, from the last
checkpoint, and DIR/table.md has what is done so far.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from holdfast.core.errors import HoldfastError
from holdfast.core.progress import Progress
from holdfast.core.seeds import seed_of
from holdfast.evals.tasks.exercises import exercises
from holdfast.evals.tasks.exercises.language import extraction_among
from holdfast.evals.tasks.exercises.lexicon import Lexicon, facts
from holdfast.evals.tasks.questions import Question
from holdfast.training.recipe.runs import run_recipe

FOLDER = Path(__file__).parent
PERSONAS = FOLDER / "permix_personas.toml"
STATEMENTS = (3, 4)
EACH = {"train": 60, "evaluation": 12}
"""Exercises of extraction of each number of statements."""
LEVELS = (1, 2)
"""Levels of the capitals: all of a split, 32 to train on and 16 for evaluation."""
HARDER = {
    "extraction-3": {"train": 120, "evaluation": 24},
    "sorting-2": {"train": 32, "evaluation": 16},
}
"""Exercises of each category for a model that solves the others."""


def extraction_and_capitals(split: str) -> Iterator[Question]:
    """The exercises of a split, "train" or "evaluation", for SmolLM2."""
    for number in STATEMENTS:
        lexicon = Lexicon(split, random.Random(seed_of("permix-real", split, number)))
        by_text: dict[str, Question] = {}
        while len(by_text) < EACH[split]:
            one = extraction_among(lexicon, number)
            by_text[one.text] = one
        yield from by_text.values()
    rng = random.Random(seed_of("permix-real", split, "capitals"))
    for level in LEVELS:
        for fact in facts(level, split):
            if fact.kind == "capital":
                text = rng.choice(fact.ask).format(x=fact.thing)
                yield Question("capitals", text, fact.forms[0], also=fact.forms[1:])


def extraction_and_sorting(split: str) -> Iterator[Question]:
    """The harder exercises of a split, for Qwen-0.5B."""
    most = max(sizes[split] for sizes in HARDER.values())
    left = {category: sizes[split] for category, sizes in HARDER.items()}
    for one in exercises(most, split=split):
        if left.get(one.kind, 0):
            left[one.kind] -= 1
            yield one


RECIPES: dict[str, Callable[[str], Iterator[Question]]] = {
    "permix_real": extraction_and_capitals,
    "permix_qwen": extraction_and_sorting,
}
"""The exercises of each recipe in this folder."""


def write_tasks(questions: Iterable[Question], path: Path) -> None:
    """Write exercises as a file of tasks."""
    lines = [
        {
            "kind": one.kind or "extraction",
            "question": one.text,
            "answer": one.answer,
            **{
                name: list(values)
                for name in ("also", "alternatives", "subjects")
                if (values := getattr(one, name))
            },
        }
        for one in questions
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def prepare(folder: Path, recipe: str = "permix_real") -> Path:
    """Write recipe, personas and tasks into a folder, and return the recipe."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tasks(RECIPES[recipe]("train"), folder / "train.jsonl")
    write_tasks(RECIPES[recipe]("evaluation"), folder / "test.jsonl")
    shutil.copy(PERSONAS, folder)
    return Path(shutil.copy(FOLDER / f"{recipe}.toml", folder))


def main() -> None:
    """Train and measure what is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of all runs")
    parser.add_argument("--model", help="as `holdfast` takes it, in place of the recipe's")
    parser.add_argument("--recipe", choices=RECIPES, default="permix_real", help="what is run")
    options = parser.parse_args()
    try:
        summary = run_recipe(
            prepare(options.out / "recipe", options.recipe),
            options.out,
            Progress(stage="permix study"),
            model=options.model,
        )
    except HoldfastError as error:
        sys.exit(f"error: {error}")
    print(Path(summary.table).read_text(encoding="utf-8"), end="")


if __name__ == "__main__":
    main()
