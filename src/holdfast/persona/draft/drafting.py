"""From a system prompt to personas, one for each demand that can be judged.

    draft(prompt).suite     ready for `drift`, `compare`, `fidelity`, `serve`
    draft(prompt).unjudged  what the prompt asks for and no judge was found for

Rules read the demands, and each is checked before it is kept: its judge passes the passing examples
and fails the failing ones, a plain assistant's among them. What no rule can judge becomes a rubric
where a judge model is named, or examples that an author model writes (judge `alike`); without
either it is listed. Drafts are meant to be read and edited.

The rules know English well, and of some other languages the commonest demands. They read what a
prompt says, not what it means.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from holdfast.core.backend import Backend
from holdfast.core.errors import JudgeError, PersonaError
from holdfast.core.extras import install
from holdfast.core.records import dumps
from holdfast.judge.content.embedding import is_installed
from holdfast.judge.language import probability
from holdfast.persona.draft.author import write_demands
from holdfast.persona.draft.clauses import clauses, depends_on_user, directive
from holdfast.persona.draft.demand import Demand, Kind, Reader, Unjudged, as_id, material, stock
from holdfast.persona.draft.facts import keeps_secret, read_facts
from holdfast.persona.draft.form import read_form
from holdfast.persona.draft.identity import name_demand, name_of, read_identity, says_nothing
from holdfast.persona.draft.language import language_of_replies, read_language
from holdfast.persona.draft.length import read_length
from holdfast.persona.draft.refusals import read_refusals
from holdfast.persona.draft.tone import read_tone
from holdfast.persona.every_reply import combine, name_gap, name_unjudged
from holdfast.persona.suite import Persona, Problem, Suite, check_suite

RULES = (
    read_language,
    read_identity,
    read_facts,
    read_form,
    read_length,
    read_refusals,
    read_tone,
)
_LONGEST_ID = 40
_TONES = ("pirate", "shakespearean", "cowboy", "yoda", "slang", "sarcastic", "enthusiastic")
_FORMS = ("capitals", "lowercase", "length", "opening", "ending", "json", "bullets", "numbers")
_MARKS = ("emojis", "no-emojis", "no-markdown", "markdown", "question", "signature", "one-word")
_LIMITS = ("sentence-length", "no-lists", "no-exclamation", "contractions", "words")
_MANNERS = frozenset((*_TONES, *_FORMS, *_MARKS, *_LIMITS))
ALWAYS = frozenset(("language", "character", "third-person", *_MANNERS))
"""Demands that every reply shows, whatever was asked; not a friendly, formal, Socratic or humorous
tone, which many a short answer to a plain question has no occasion to show."""
_CATEGORIES = ("language", "character", "pattern", "format")  # a fact may be called language, too


@dataclass(frozen=True)
class Draft:
    """Personas drafted from a prompt."""

    prompt: str
    """The system prompt."""
    suite: Suite
    """A persona for each demand, all with this prompt."""
    demands: tuple[Demand, ...]
    """The demands, in the order of the personas."""
    unjudged: tuple[Unjudged, ...]
    """What could not be turned into a judge."""
    described: tuple[str, ...] = ()
    """Clauses that no rule reads and that seem to demand nothing."""

    def names(self, kind: Kind) -> list[str]:
        """The names of the demands whose judge is of a kind."""
        return [one.name for one in self.demands if one.kind == kind]

    @property
    def probes(self) -> list[str]:
        """All probes, each once."""
        return list(dict.fromkeys(probe for one in self.demands for probe in one.probes))

    @property
    def whole(self) -> Persona:
        """One persona with the whole prompt, judged by what every reply has to keep.

        Facts, refusals and the like show in answers to their probes alone; language, form and
        tone in every reply. Where the prompt demands none of these, replies are judged by who
        speaks (the persona, or somebody about it) if it says who that is, else by a model alone.
        """
        return combine(self.suite)

    def gaps(self, *, whole: bool = False) -> tuple[str, ...]:
        """What is not judged, each part of the prompt in few characters and with the reason.

        Args:
            whole: whether replies are judged by `whole`, which answers no probes.
        """
        return name_unjudged(self.suite) if whole else self.suite.gaps

    def problems(self) -> list[Problem]:
        """Examples that a judge scores on the wrong side."""
        return check_suite(self.suite)


def _always(demand: Demand) -> bool:
    return demand.name in ALWAYS and demand.category in _CATEGORIES and demand.kind != "rubric"


def prompt_hash(prompt: str) -> str:
    """The hash that ties a drafted persona to its prompt."""
    return hashlib.sha256(prompt.encode()).hexdigest()[:16]


def draft(
    prompt: str,
    *,
    rubrics: bool = False,
    author: Backend | None = None,
    name: str | None = None,
    character: str | None = None,
    demands_in: str | None = None,
) -> Draft:
    """Personas for what a system prompt demands.

    Args:
        prompt: the system prompt.
        rubrics: whether what no rule can judge becomes a rubric, for a judge model.
        author: a model that writes probes and examples where rules have none.
        name: what ids begin with; by default the persona's name.
        character: the persona's name, where the prompt may not say it.
        demands_in: the part of the prompt that demands are read from; by default all of it.

    Raises:
        PersonaError: the prompt is empty, or nothing in it can be judged.
    """
    if not isinstance(prompt, str) or not prompt.strip() or "\0" in prompt:
        raise PersonaError("a draft needs a system prompt: give its text, or @FILE.")
    if re.search("[\ud800-\udfff]", prompt):
        raise PersonaError("the prompt holds half a character, which UTF-8 lacks: write it anew.")
    parts = clauses(prompt if demands_in is None else demands_in)
    reader = Reader(prompt, language_of_replies(parts), character or name_of(prompt))
    demands, unjudged, descriptions = _read(parts, reader)
    if character and not any(one.name == "name" for one in demands):
        demands.insert(0, name_demand(character, f"The character is {character}."))
    demands, failures = _check(demands)
    unjudged += failures
    if author is not None:
        by_author, unjudged = write_demands(unjudged, prompt, author)
        more, failures = _check(by_author)
        demands, unjudged = demands + more, unjudged + failures
    if rubrics:
        demands += [_rubric(one.text) for one in unjudged]
        unjudged = []
    if not demands:
        raise _no_demands(unjudged, rubrics=rubrics, author=author is not None)
    prefix = as_id(name or reader.name or "mine", 2)[:_LONGEST_ID]
    always = [_always(one) for one in demands]
    demands = _rename_repeats(demands)
    personas = tuple(_persona(one, prefix, prompt) for one in demands)
    every_reply = tuple(one.id for one, keep in zip(personas, always, strict=True) if keep)
    gaps = [name_gap(one.text, one.why) for one in unjudged]
    gaps += [name_gap(text, "no rule reads it, nor a demand in it") for text in descriptions]
    suite = Suite(prefix, personas, every_reply=every_reply, gaps=tuple(gaps))
    return Draft(prompt, suite, tuple(demands), tuple(unjudged), tuple(descriptions))


def _no_demands(unjudged: Sequence[Unjudged], *, rubrics: bool, author: bool) -> PersonaError:
    """The error of a prompt that no persona can be drafted from."""
    if rubrics:
        sentence = "no demand was found in this prompt: write"
    else:
        why = f", and {unjudged[0].why}" if author and unjudged else ""
        other = "a judge model" if author else "a judge model or an author model"
        sentence = f"nothing in this prompt can be judged by a rule{why}: name {other}, or write"
    return PersonaError(f"{sentence} the persona yourself (docs/guide/personas.md).")


def _read(parts: Sequence[str], reader: Reader) -> tuple[list[Demand], list[Unjudged], list[str]]:
    """The demands of every clause, the clauses that ask for something no rule reads, and others."""
    demands: list[Demand] = []
    unjudged: list[Unjudged] = []
    descriptions: list[str] = []
    # What describes and what demands is told apart in English only.
    foreign = probability(reader.prompt, "en") < 0.5
    for part in parts:
        results = [one for rule in RULES for one in rule(part, reader)]
        if depends_on_user(part) and any(map(_meets_no_condition, results)):
            results = [one for one in results if not _meets_no_condition(one)]
            results.append(Unjudged(part, "everyday questions do not meet its condition"))
        demands += [one for one in results if isinstance(one, Demand)]
        unjudged += [one for one in results if isinstance(one, Unjudged)]
        if results or says_nothing(part):
            continue
        if foreign or directive(part):
            unjudged.append(Unjudged(part, reader.no_rule))
        else:
            descriptions.append(part)
    if any(one.name == "secret" for one in demands):
        unjudged = [one for one in unjudged if not keeps_secret(one.text)]
    return _merge_repeats(demands), unjudged, descriptions


def _meets_no_condition(result: Demand | Unjudged) -> bool:
    """True for a demand that is asked with everyday questions, or judged in every reply."""
    if isinstance(result, Unjudged) or result.category == "language":
        return False
    everyday = {*material("plain")["probes"], *material("plain")["long_probes"]}
    return result.name in _MANNERS or everyday.issuperset(result.probes)


def _merge_repeats(demands: Sequence[Demand]) -> list[Demand]:
    """Keep each judge with its probes once, with the words of all that ask for it."""
    merged: dict[str, Demand] = {}
    for one in demands:
        first = merged.setdefault(dumps([one.judge, one.probes]), one)
        if one.text not in first.text:
            merged[dumps([one.judge, one.probes])] = replace(
                first, text=f"{first.text} / {one.text}"
            )
    return list(merged.values())


def _check(demands: Sequence[Demand]) -> tuple[list[Demand], list[Unjudged]]:
    """Split demands by whether their judges score their examples as they should."""
    sound: list[Demand] = []
    failures: list[Unjudged] = []
    for one in demands:
        if one.kind == "embedding" and not is_installed():
            failures.append(Unjudged(one.text, f"it needs {install('judges')}"))
        elif problem := _problem(one):
            failures.append(Unjudged(one.text, f"its judge {problem}"))
        else:
            sound.append(one)
    return sound, failures


def _problem(demand: Demand) -> str | None:
    try:
        problems = check_suite(Suite("check", (_persona(demand, "check", "x"),)))
    except (JudgeError, PersonaError) as error:
        return f"is wrong ({error})"
    if not problems:
        return None
    verb = "fails" if problems[0].expected == "pass" else "passes"
    return f"{verb} “{problems[0].example[:60]}” ({problems[0].why})"


def _rubric(text: str) -> Demand:
    """A demand that a judge model grades, asked of by questions that suit every persona."""
    spec = {"name": "rubric", "criteria": f"The answer keeps to this instruction: {text}"}
    probes = tuple(material("plain")["probes"])
    return Demand(as_id(text, 3), "instruction", text, probes, spec, (), stock("replies"))


def _rename_repeats(demands: Sequence[Demand]) -> list[Demand]:
    """Give every demand a name of its own: the second of a name gets the number 2."""
    names: set[str] = set()
    distinct = []
    for one in demands:
        name, number = one.name, 2
        while name in names:
            name, number = f"{one.name}-{number}", number + 1
        names.add(name)
        distinct.append(replace(one, name=name))
    return distinct


def _persona(demand: Demand, prefix: str, prompt: str) -> Persona:
    return Persona(
        id=f"{prefix}-{demand.name}",
        category=demand.category,
        prompt=prompt,
        probes=demand.probes,
        judge=demand.judge,
        passes=demand.passes,
        fails=demand.fails,
        note=" ".join(demand.text.split()) or None,
        source=f"drafted from the prompt {prompt_hash(prompt)}",
    )


def find_edited(personas: Sequence[Persona]) -> Iterator[str]:
    """Ids of drafted personas whose prompt is not the one that they were drafted from."""
    for persona in personas:
        match = re.fullmatch(r"drafted from the prompt ([0-9a-f]{16})", persona.source or "")
        if match and match[1] != prompt_hash(persona.prompt):
            yield persona.id
