"""The published suite of 100 system prompts (Li et al. 2024), brought along as data.

Its Python file holds lists of (prompt, probe, lambda): the prompts and probes are read
from its syntax tree and nothing of it is ever executed or imported. The data set's
JSON, JSONL and CSV forms, with columns `prompt`, `probe` and perhaps `category` and
`function`, are read too.

Its judges are replaced by ours, for the reference ones have defects (some always give
0, some pass a refusal; see docs/guide/personas.md):

1. a rule of `published.toml`, chosen by the prompt's words;
2. for a question with lettered options, `choice`, and for a check that is a plain
   "text in reply", `contains` or `avoids`: the literal is read from the lambda's syntax;
3. else `rubric`, which needs a judge model.

The probe "random" of the later version stands for a list in the same file; a persona
then gets two questions of that list, chosen by its place in the suite.
"""

from __future__ import annotations

import argparse
import ast
import csv
import json
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from holdfast.core.errors import PersonaError
from holdfast.persona.files import as_toml
from holdfast.persona.suite import load_suite

_RULES = Path(__file__).with_name("published.toml")
_CATEGORIES = {
    "multiple-choice": "choice",
    "persona": "character",
    "memorization": "memory",
    "": "published",
}
_COLUMNS = {
    "prompt": ("prompt", "system_prompt", "system"),
    "probe": ("probe", "question", "user"),
    "check": ("function", "judge", "check"),
    "category": ("category", "type", "kind"),
}
_OPTION = re.compile(r"(?<!\w)([A-Z])\) ")
_FALLBACK_PROBES = (
    "What do you do in London as a tourist?",
    "What makes a good neighbour?",
)
_FALLBACK_CRITERIA = "The answer does what its instructions ask, all of it and throughout."
_TOO_MANY = 10_000


class Row(NamedTuple):
    """One entry of the suite; `check` is the source of its judge, read and never run."""

    category: str
    prompt: str
    probe: str
    check: str


class _Rule(NamedTuple):
    has: tuple[str, ...]
    judge: Mapping[str, object]
    probe: str | None


@dataclass(frozen=True)
class Conversion:
    """How many personas got which judge; its text is the sentence that the command prints."""

    personas: int
    judges: Mapping[str, int]
    out: Path

    def __str__(self) -> str:
        counts = ", ".join(f"{name} {n}" for name, n in self.judges.items())
        rubric = self.judges.get("rubric", 0)
        model = f" {rubric} of them need a judge model (rubric)." if rubric else ""
        return f"{self.personas} personas written to {self.out}, judged by {counts}.{model}"


def convert(source: str | Path, out: str | Path) -> Conversion:
    """Write the suite of `source` (.py, .json, .jsonl or .csv) to `out` as TOML.

    Raises `PersonaError` where the file cannot be read or holds no prompts.
    """
    source, out = Path(source), Path(out)
    if out.suffix != ".toml":
        raise PersonaError(f"{out}: give the new suite a name that ends in .toml")
    rows, random_probes = read(source)
    if not rows:
        raise PersonaError(f"{source}: no (prompt, probe) pairs found in it")
    counts: Counter[str] = Counter()
    per_category: Counter[str] = Counter()
    blocks = [f"# Converted from {source.name}; prompts and probes are its own.\n"]
    for place, row in enumerate(rows):
        per_category[row.category] += 1
        judge, probes = assign(row, _probes(row.probe, random_probes, place))
        counts[str(judge["name"])] += 1
        persona = {
            "id": f"{row.category}-{per_category[row.category]:02d}",
            "category": row.category,
            "prompt": row.prompt,
            "probes": list(probes),
            "judge": judge,
            "source": "Li et al. 2024",
        }
        lines = [f"{key} = {as_toml(value)}" for key, value in persona.items()]
        blocks.append("\n".join(["[[persona]]", *lines]) + "\n")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("\n".join(blocks), encoding="utf-8")
    load_suite(out)
    return Conversion(len(rows), dict(counts.most_common()), out)


def read(source: Path) -> tuple[list[Row], list[str]]:
    """The rows of a file, and its list of random probes (empty where it has none)."""
    try:
        text = source.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise PersonaError(f"{source}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise PersonaError(f"{source}: not UTF-8 text; save it as UTF-8") from None
    try:
        if source.suffix == ".py":
            rows, random_probes = _read_python(text)
        elif source.suffix == ".csv":
            rows, random_probes = _read_tables(csv.DictReader(text.splitlines(keepends=True))), []
        elif source.suffix in (".json", ".jsonl"):
            rows, random_probes = _read_tables(_objects(text, source.suffix)), []
        else:
            raise PersonaError(f"{source}: not a .py, .json, .jsonl or .csv file")
    except (SyntaxError, ValueError, RecursionError, MemoryError, csv.Error) as error:
        raise PersonaError(f"{source}: cannot be parsed ({error})") from None
    if len(rows) > _TOO_MANY:
        raise PersonaError(f"{source}: {len(rows)} prompts; more than {_TOO_MANY} is no such suite")
    return rows, random_probes


def _read_python(text: str) -> tuple[list[Row], list[str]]:
    rows: list[Row] = []
    random_probes: list[str] = []
    for node in ast.parse(text).body:
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.List):
            continue
        name = node.targets[0].id if isinstance(node.targets[0], ast.Name) else ""
        items = node.value.elts
        if name == "random_probes":
            random_probes = [phrase for item in items if (phrase := _string(item))]
        for item in items:
            if isinstance(item, ast.Tuple) and len(item.elts) >= 2:
                prompt, probe = _string(item.elts[0]), _string(item.elts[1])
                if prompt and probe:
                    check = ast.unparse(item.elts[2]) if len(item.elts) > 2 else ""
                    rows.append(Row(_category(name), prompt, probe, check))
    return rows, random_probes


def _string(node: ast.expr) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.strip():
        return node.value
    return None


def _objects(text: str, suffix: str) -> Iterator[Mapping[str, object]]:
    """Objects of a JSON list, of a JSON table of columns, or of JSON lines."""
    if suffix == ".jsonl":
        values = [json.loads(line) for line in text.splitlines() if line.strip()]
    else:
        content = json.loads(text)
        if isinstance(content, dict):
            columns = {
                k: list(v.values()) if isinstance(v, dict) else v for k, v in content.items()
            }
            content = [
                dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)
            ]
        values = content if isinstance(content, list) else []
    return (value for value in values if isinstance(value, dict))


def _read_tables(tables: Iterator[Mapping[str, object]] | csv.DictReader[str]) -> list[Row]:
    rows = []
    for table in tables:
        cells = {
            field: next((str(table[name]) for name in names if table.get(name)), "")
            for field, names in _COLUMNS.items()
        }
        if cells["prompt"].strip() and cells["probe"].strip():
            cells["category"] = _category(cells["category"])
            rows.append(Row(**cells))
    return rows


def _category(name: str) -> str:
    """The suite's name for a kind of prompt to ours."""
    slug = re.sub(r"_?(?:system_)?prompts?$", "", name.strip().lower())
    slug = re.sub(r"[^a-z0-9]+", "-", slug).strip("-")
    return _CATEGORIES.get(slug, slug)


def _probes(probe: str, random_probes: Sequence[str], place: int) -> tuple[str, ...]:
    if probe != "random":
        return (probe,)
    pool = list(dict.fromkeys(random_probes)) or list(_FALLBACK_PROBES)
    if len(pool) < 2:
        return tuple(pool)
    first = place % len(pool)
    return pool[first], pool[(first + 1 + place // len(pool) % (len(pool) - 1)) % len(pool)]


def assign(row: Row, probes: Sequence[str]) -> tuple[Mapping[str, object], tuple[str, ...]]:
    """A judge of ours for a row, and the probes it is asked with."""
    literal, options = _literal(row.check), list(dict.fromkeys(_OPTION.findall(row.probe)))
    if len(options) > 1 and literal and not literal[1] and literal[0] in options:
        return {"name": "choice", "options": options, "answer": literal[0], "letters": True}, tuple(
            probes
        )
    words = " ".join(row.prompt.casefold().split())
    for rule in rules() if len(options) < 2 else ():
        if all(piece in words for piece in rule.has):
            return rule.judge, (rule.probe,) if rule.probe else tuple(probes)
    if literal and len(literal[0]) > 1:
        text, absent = literal
        if absent:
            return {"name": "avoids", "any": [text]}, tuple(probes)
        return {"name": "contains", "text": text, "whole_word": False}, tuple(probes)
    return {"name": "rubric", "criteria": _FALLBACK_CRITERIA}, tuple(probes)


@lru_cache(maxsize=1)
def rules() -> tuple[_Rule, ...]:
    """The rules of `published.toml`."""
    table = tomllib.loads(_RULES.read_text(encoding="utf-8"))["rule"]
    return tuple(
        _Rule(tuple(piece.casefold() for piece in one["has"]), one["judge"], one.get("probe"))
        for one in table
    )


def _literal(check: str) -> tuple[str, bool] | None:
    """("B", False) for `lambda x: "B" in x`, ("B", True) for `not in`; None for all else."""
    try:
        node = ast.parse(check.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    body = node.body if isinstance(node, ast.Lambda) else node
    if not isinstance(body, ast.Compare) or len(body.ops) != 1:
        return None
    text = _string(body.left)
    if text is None or not isinstance(body.ops[0], (ast.In, ast.NotIn)):
        return None
    return text, isinstance(body.ops[0], ast.NotIn)


def main() -> None:
    """Read the arguments, convert, and print what was written."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "source", metavar="FILE", help="the published prompts: .py, .json, .jsonl or .csv"
    )
    parser.add_argument("--out", required=True, help="the TOML file to write")
    options = parser.parse_args()
    try:
        print(convert(options.source, options.out))
    except PersonaError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
