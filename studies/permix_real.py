"""PerMix on a real model: six arms, five seeds, held-out personas of families seen and new.

    python studies/permix_real.py --out DIR [--model FOLDER]

`permix_real.toml` is the recipe: a training of every arm for every seed, each measured on tasks and
personas that no training saw. This script writes its tasks into DIR/recipe: which of three or four
statements answers (two or three distractors), and capitals. Names, words and countries of the
tasks for evaluation never occur in training (`exercises.lexicon`). The same command goes on where
it was stopped, from the last checkpoint, and DIR/table.md has what is done so far.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from holdfast.core.errors import HoldfastError
from holdfast.core.progress import Progress
from holdfast.core.seeds import seed_of
from holdfast.evals.tasks.exercises.language import extraction_among
from holdfast.evals.tasks.exercises.lexicon import Lexicon, facts
from holdfast.evals.tasks.questions import Question
from holdfast.training.recipe.runs import run_recipe

RECIPE = Path(__file__).with_suffix(".toml")
PERSONAS = Path(__file__).with_name("permix_personas.toml")
STATEMENTS = (3, 4)
EACH = {"train": 60, "evaluation": 12}
"""Exercises of extraction of each number of statements."""
LEVELS = (1, 2)
"""Levels of the capitals: all of a split, 32 to train on and 16 for evaluation."""


def questions(split: str) -> Iterator[Question]:
    """The exercises of a split, "train" or "evaluation"."""
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


def write_tasks(split: str, path: Path) -> None:
    """Write a split as a file of tasks."""
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
        for one in questions(split)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def prepare(folder: Path) -> Path:
    """Write recipe, personas and tasks into a folder, and return the recipe."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tasks("train", folder / "train.jsonl")
    write_tasks("evaluation", folder / "test.jsonl")
    shutil.copy(PERSONAS, folder)
    return Path(shutil.copy(RECIPE, folder))


def main() -> None:
    """Train and measure what is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of all runs")
    parser.add_argument("--model", help="as `holdfast` takes it, in place of the recipe's")
    options = parser.parse_args()
    try:
        summary = run_recipe(
            prepare(options.out / "recipe"),
            options.out,
            Progress(stage="permix study"),
            model=options.model,
        )
    except HoldfastError as error:
        sys.exit(f"error: {error}")
    print(Path(summary.table).read_text(encoding="utf-8"), end="")


if __name__ == "__main__":
    main()
