"""Personas of public prompts, drafted by the product.

    python studies/public_prompts.py prompts.csv     # writes runs/public-prompts.toml

The file is the one that `public_prompts.toml` names, checked by its SHA-256; its prompts stay out
of this repository. Every demand that `holdfast personas draft` finds a rule for becomes a persona
with the whole prompt, but for those that the plan leaves out. `real_models.py` reads the suite.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import sys
import tomllib
from collections import Counter
from pathlib import Path

from real_plan import FOLDER

from holdfast.core.errors import HoldfastError, PersonaError
from holdfast.persona.draft.drafting import Draft, draft
from holdfast.persona.draft.toml_file import write_suite
from holdfast.persona.suite import Suite

PLAN = FOLDER / "public_prompts.toml"


def main() -> None:
    """Write the suite, and say what it holds."""
    plan = tomllib.loads(PLAN.read_text(encoding="utf-8"))
    parser = argparse.ArgumentParser(description="Personas of public prompts, drafted by rules.")
    parser.add_argument("file", type=Path, help=f"from {plan['source']['url']}")
    options = parser.parse_args()
    try:
        prompts = read_prompts(options.file, plan["source"]["sha256"], plan["source"]["first"])
        suite = suite_of(drafts(prompts), plan["source"]["without"])
        out = Path(plan["conversations"]["suites"][0])
        out.parent.mkdir(parents=True, exist_ok=True)
        write_suite(suite, out)
    except HoldfastError as error:
        sys.exit(f"error: {error}")
    categories = Counter(one.category for one in suite.personas)
    counts = ", ".join(f"{n} {category}" for category, n in categories.most_common())
    texts = len({one.prompt for one in suite.personas})
    print(f"{out}: {len(suite.personas)} personas of {texts} of {len(prompts)} prompts: {counts}.")


def read_prompts(file: Path, sha256: str, first: int) -> dict[str, str]:
    """The file's first prompts by number and title; `HoldfastError` for another file."""
    content = file.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise HoldfastError(f"{file} is not the file that {PLAN.name} names: download that one.")
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8"))))[:first]
    return {f"{number} {row['act']}": row["prompt"] for number, row in enumerate(rows, start=1)}


def drafts(prompts: dict[str, str]) -> list[Draft]:
    """What the product drafts of each prompt; those in which no rule reads anything are absent."""
    sketches = []
    for title, prompt in prompts.items():
        try:
            sketches.append(draft(prompt, name=title))
        except PersonaError:
            continue
    return sketches


def suite_of(sketches: list[Draft], without: list[str]) -> Suite:
    """The personas that rules judge, but for demands whose names begin with one of `without`."""
    personas = [
        persona
        for one in sketches
        for demand, persona in zip(one.demands, one.suite.personas, strict=True)
        if demand.kind == "deterministic" and not demand.name.startswith(tuple(without))
    ]
    return Suite(PLAN.stem, tuple(personas))


if __name__ == "__main__":
    main()
