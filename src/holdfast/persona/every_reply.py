"""One persona for logs and traffic, out of several that share a prompt.

A reply in a log answers no probe. So a prompt's personas are judged there by those alone that every
reply has to keep, which a suite lists (`Suite.every_reply`); the others are named as not judged.
Where none are listed, a prompt that says who speaks is judged by that, and any other by a judge
model alone: who speaks would say nothing of what it demands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from holdfast import judge
from holdfast.core.errors import PersonaError, shorten
from holdfast.persona.suite import Persona, Suite, load_suite

Spec = Mapping[str, object]
SPEAKS: Spec = {"name": "speaker"}
"""The judge of a prompt with an identity and no more: the persona speaks, nobody about it."""
MOST_CHARACTERS = 120
"""Characters at most of a prompt, or a part of one, that a result names."""


def combine(suite: Suite) -> Persona:
    """One persona with the prompt of a suite, judged by what every reply has to keep.

    Raises:
        PersonaError: the personas have several prompts.
    """
    if len({persona.prompt for persona in suite.personas}) > 1:
        raise PersonaError(
            f"the personas of suite “{suite.name}” have several prompts, and every_reply is for "
            "those of one: name a persona, as in FILE:ID."
        )
    judges = [one.judge for one in _listed(suite)]
    first = suite.personas[0]
    alone = SPEAKS if _identity(suite) else _by_model(first.prompt)
    return replace(
        first,
        id=suite.name,
        judge={"name": "mean", "of": judges} if judges else alone,
        probes=tuple(dict.fromkeys(probe for one in suite.personas for probe in one.probes)),
        passes=(),
        fails=(),
    )


def _listed(suite: Suite) -> list[Persona]:
    return [one for one in suite.personas if one.id in (suite.every_reply or ())]


def _identity(suite: Suite) -> list[Persona]:
    """The personas by which the prompt says who speaks: a name, or a trade."""
    personas = suite.personas
    return [p for p in personas if p.category == "character" and judge.asks_who_speaks(p.judge)]


def _by_model(prompt: str) -> Spec:
    return {"name": "rubric", "criteria": f"The reply keeps to these instructions: {prompt}"}


def only_model_judges(persona: Persona) -> bool:
    """True for a persona of `combine` of whose demands no rule sees anything in a reply."""
    return persona.judge == _by_model(persona.prompt)


def why_no_score(persona: Persona) -> str:
    """Why there is no score of a persona that only a model judges, and what to do."""
    return (
        f"there is no score: no rule judges from replies alone what the prompt of “{persona.id}” "
        "asks for. Draft its personas (holdfast personas draft) and put their probes to a "
        "model (holdfast drift --persona FILE --model NAME), or have a judge model read the "
        "replies (holdfast drift --history LOG --judge-model NAME)."
    )


def as_one(suite: Suite, source: str) -> Persona:
    """The only persona of a suite, or those of its prompt combined where it lists `every_reply`.

    Args:
        suite: the suite.
        source: what the user called it, for errors.

    Raises:
        PersonaError: it has several personas, and no list or several prompts.
    """
    if suite.every_reply is not None:
        return combine(suite)
    if len(suite.personas) > 1:
        first, second, *_ = (persona.id for persona in suite.personas)
        raise PersonaError(
            f"{source} holds {len(suite.personas)} personas: name one, as in {source}:{first}, or "
            "list at the top of the file those that every reply has to keep, as in "
            f'every_reply = ["{first}", "{second}"].'
        )
    return suite.personas[0]


def load_persona(text: str) -> Persona:
    """The persona of FILE (`as_one`), or of FILE:ID. Raises `PersonaError`."""
    return as_one(load_suite(text), text)


def name_judged(suite: Suite) -> tuple[str, ...]:
    """What `combine` judges replies by, in few characters; nothing where there is no list."""
    if suite.every_reply is None:
        return ()
    if listed := _listed(suite):
        return tuple(dict.fromkeys(_part(p.note or p.id) for p in listed))
    if _identity(suite):
        return ("who speaks, the persona or somebody in its place",)
    why = "by nothing but a judge model: no rule sees it in a reply"
    return (name_gap(suite.personas[0].prompt, why),)


def name_unjudged(suite: Suite) -> tuple[str, ...]:
    """What `combine` leaves unjudged, each with the reason; nothing where there is no list."""
    if suite.every_reply is None:
        return ()
    judged = _listed(suite) or _identity(suite)
    if not judged:  # a judge model reads the whole prompt
        return ()
    others = [one for one in suite.personas if one not in judged]
    gaps = (name_gap(one.note or one.id, "only answers to its probes show it") for one in others)
    return tuple(dict.fromkeys((*suite.gaps, *gaps)))


def name_gap(text: str, why: str) -> str:
    """A part of a prompt that is not judged, in few characters and with the reason."""
    return f"{_part(text)} ({why})"


def _part(text: str) -> str:
    """A part of a prompt as an item of a list, in few characters."""
    return shorten(text, MOST_CHARACTERS).removesuffix(".")
