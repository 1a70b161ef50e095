"""One persona for logs and traffic, out of several that share a prompt.

A reply in a log answers no probe. So a prompt's personas are judged there by those alone that every
reply has to keep, which a suite lists (`Suite.every_reply`); the others are named as not judged.
"""

from __future__ import annotations

from dataclasses import replace

from holdfast.core.errors import PersonaError, shorten
from holdfast.persona.suite import Persona, Suite, load_suite

SPEAKS = {"name": "speaker"}
"""The judge where nothing is to be kept by every reply: the persona speaks, nobody about it."""
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
    judges = [one.judge for one in suite.personas if one.id in (suite.every_reply or ())]
    return replace(
        suite.personas[0],
        id=suite.name,
        judge={"name": "mean", "of": judges} if judges else SPEAKS,
        probes=tuple(dict.fromkeys(probe for one in suite.personas for probe in one.probes)),
        passes=(),
        fails=(),
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


def name_probed_only(suite: Suite) -> list[str]:
    """What `combine` leaves unjudged, each with the reason; nothing where there is no list."""
    if suite.every_reply is None:
        return []
    others = [one for one in suite.personas if one.id not in suite.every_reply]
    gaps = (name_gap(one.note or one.id, "only answers to its probes show it") for one in others)
    return list(dict.fromkeys(gaps))


def name_gap(text: str, why: str) -> str:
    """A part of a prompt that is not judged, in few characters and with the reason."""
    return f"{shorten(text, MOST_CHARACTERS)} ({why})"
