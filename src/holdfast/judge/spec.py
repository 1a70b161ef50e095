"""A judge from its description: a name and parameters, alone or combined."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping

from holdfast.core.errors import JudgeError
from holdfast.judge import language, number, rubric, structure, text
from holdfast.judge.content import (
    alike,
    choice,
    facts,
    ignorance,
    instruction,
    prose,
    refusal,
    speaker,
    world,
)
from holdfast.judge.params import Params
from holdfast.judge.parts import EACH, words
from holdfast.judge.score import Judge, Score, guard

_MAKERS: dict[str, Callable[[Params], Judge]] = {
    "case": text.case,
    "length": text.length,
    "starts_with": text.starts_with,
    "ends_with": text.ends_with,
    "contains": text.contains,
    "avoids": text.avoids,
    "keywords": text.keywords,
    "regex": text.regex,
    "choice": choice.choice,
    "json_schema": structure.json_schema,
    "list_format": structure.list_format,
    "language": language.language,
    "sentiment": language.sentiment,
    "syllables": language.syllables,
    "readability": language.readability,
    "number": number.number,
    "arithmetic": number.arithmetic,
    "facts": facts.facts,
    "alike": alike.alike,
    "refusal": refusal.refusal,
    "ignorance": ignorance.ignorance,
    "prose": prose.prose,
    "speaker": speaker.speaker,
    "world": world.world,
    "instruction": instruction.instruction,
}


COMBINATIONS = ("all", "any", "mean", "not", "throughout", "part")


NAMES = (*_MAKERS, *COMBINATIONS, "rubric")


_DEEPEST = 12
HALF = 0.5
"""The score at which a part passes."""


RubricMaker = Callable[[str, int], Judge]
"""What stands for a rubric: its criteria and scale to a judge."""


def build(spec: Mapping[str, object], *, grader: RubricMaker | None = None) -> Judge:
    """The judge that a spec describes.

    `grader` makes the judge for rubrics in the spec (see `by_model.judge_answers`); without
    it they are an error. Raises `JudgeError`, naming the judge and the parameter.
    """
    return guard(_build(spec, 0, grader or _no_model))


def check(spec: Mapping[str, object]) -> None:
    """Raise `JudgeError` for a spec that is wrong; unlike `build` it accepts rubrics."""
    rubrics(spec)


def rubrics(spec: Mapping[str, object]) -> list[tuple[str, int]]:
    """Criteria and scale of the rubrics in a spec, in order; `JudgeError` if it is wrong."""
    criteria: list[tuple[str, int]] = []

    def note(text: str, scale: int) -> Judge:
        criteria.append((text, scale))
        return lambda _: Score(0.0, "not judged")

    _build(spec, 0, note)
    return criteria


def needs_model(spec: Mapping[str, object]) -> bool:
    """True where a spec is, or holds, a `rubric`, which only a model can judge."""
    return _uses(spec, "rubric")


def needs_embeddings(spec: Mapping[str, object]) -> bool:
    """True where a spec is, or holds, `alike`, which needs the extra `holdfast[judges]`."""
    return _uses(spec, "alike")


def asks_who_speaks(spec: Mapping[str, object]) -> bool:
    """True where a spec is, or holds, `speaker`: whether the persona speaks, or somebody else."""
    return _uses(spec, "speaker")


def _uses(spec: object, name: str) -> bool:
    return isinstance(spec, Mapping) and (
        spec.get("name") == name or any(_uses(one, name) for one in _inner(spec))
    )


def _inner(spec: Mapping[str, object]) -> list[Mapping[str, object]]:
    inner = spec.get("of") if spec.get("name") in COMBINATIONS else None
    specs = inner if isinstance(inner, list) else [inner]
    return [one for one in specs if isinstance(one, Mapping)]


def _build(spec: object, depth: int, grader: RubricMaker) -> Judge:
    if not isinstance(spec, Mapping):
        raise JudgeError(f"a judge must be a table with a “name”, not {spec!r}")
    name = spec.get("name")
    if not isinstance(name, str) or name not in NAMES:
        raise JudgeError(_unknown(name))
    params = Params(name, spec)
    if name == "rubric":
        return grader(*rubric.criteria(params))
    if name in COMBINATIONS:
        return _combine(params, depth, grader)
    return _MAKERS[name](params)


def _no_model(criteria: str, scale: int) -> Judge:
    raise JudgeError(
        "judge “rubric”: only a model can judge it; name one with `judge_model`, "
        "or in Python use holdfast.judge.rubric"
    )


def _unknown(name: object) -> str:
    if name is None:
        return "a judge must have a “name”; it is one of " + ", ".join(NAMES)
    close = difflib.get_close_matches(str(name), NAMES, n=1)
    hint = f"did you mean “{close[0]}”?" if close else f"it is one of {', '.join(NAMES)}"
    return f"there is no judge “{name}”; {hint}"


def _combine(params: Params, depth: int, grader: RubricMaker) -> Judge:
    if depth >= _DEEPEST:
        params.fail(f"combinations are nested more than {_DEEPEST} deep")
    if params.name == "not":
        return _negation(params, depth, grader)
    if params.name == "throughout":
        return _throughout(params, depth, grader)
    if params.name == "part":
        return _part(params, depth, grader)
    specs = params.need("of", "a list of judges")
    params.refuse_unknown()
    if not isinstance(specs, list) or not specs:
        params.fail("parameter “of” must be a list of at least one judge, as [{ name = … }, …]")
    judges = [_build(one, depth + 1, grader) for one in specs]
    merge = _MERGES[params.name]

    def judge(text: str) -> Score:
        scores = [one(text) for one in judges]
        values = [min(1.0, max(0.0, score.value)) for score in scores]
        return Score(
            merge(values),
            "; ".join(f"{v:.2f} {s.why}" for v, s in zip(values, scores, strict=True)),
        )

    return judge


def _check_inner(params: Params, spec: object) -> None:
    """Refuse what is no judge, and a rubric inside a judge of parts."""
    if not isinstance(spec, Mapping):
        params.fail("parameter “of” must be one judge, as { name = … }")
    if params.name != "not" and needs_model(spec):
        params.fail(f"a rubric judges replies whole: put it beside “{params.name}”, not inside")


def _negation(params: Params, depth: int, grader: RubricMaker) -> Judge:
    spec = params.need("of", "a judge")
    params.refuse_unknown()
    _check_inner(params, spec)
    inner = _build(spec, depth + 1, grader)

    def judge(text: str) -> Score:
        value, why = inner(text)
        return Score(1.0 - min(1.0, max(0.0, value)), f"not: {why}")

    return judge


def _part(params: Params, depth: int, grader: RubricMaker) -> Judge:
    """The inner judge's score of what the group of a pattern matches, 0 without a match."""
    inner_spec = params.need("of", "a judge")
    pattern = params.pattern("pattern")
    params.refuse_unknown()
    _check_inner(params, inner_spec)
    if pattern.groups != 1:
        params.fail("parameter “pattern” must have one group: the part to judge, in brackets")
    inner = guard(_build(inner_spec, depth + 1, grader))

    def judge(text: str) -> Score:
        part = pattern.first_group(text)
        return Score(0.0, "the part is missing") if part is None else inner(part)

    return judge


def _throughout(params: Params, depth: int, grader: RubricMaker) -> Judge:
    """The share of the words in parts that pass the inner judge, 1 at `share` and above."""
    inner_spec = params.need("of", "a judge")
    unit = params.one_of("unit", ("sentence", "paragraph", "line"), "sentence")
    enough = params.number("share", 0.01, 1.0) or 1.0
    params.refuse_unknown()
    _check_inner(params, inner_spec)
    inner = guard(_build(inner_spec, depth + 1, grader))

    def judge(text: str) -> Score:
        parts = [(part, len(words(part)) or 1) for part in EACH[unit](text)]
        if not parts:
            return Score(0.0, f"no {unit} to judge")
        total = sum(size for _, size in parts)
        passing = sum(size for part, size in parts if inner(part).value >= HALF)
        return Score(
            passing / total / enough, f"{passing} of {total} words are in {unit}s that pass"
        )

    return judge


_MERGES: dict[str, Callable[[list[float]], float]] = {
    "all": min,
    "any": max,
    "mean": lambda values: sum(values) / len(values),
}
