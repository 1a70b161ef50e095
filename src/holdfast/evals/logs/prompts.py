"""System prompts found in a log become its personas.

Each distinct prompt is drafted by rules into one persona, judged by what every reply has to keep
(`Draft.whole`). What only answers to probes show, and what no rule reads, is listed. A prompt that
only a judge model can judge in a reply has a persona where there is one, or where all are such.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from holdfast.core.errors import HoldfastError, PersonaError
from holdfast.evals.logs.chat import RecordedChat, Unfit
from holdfast.persona.draft.drafting import Draft, draft
from holdfast.persona.every_reply import name_gap, name_judged, only_model_judges
from holdfast.persona.suite import Persona
from holdfast.results.recorded.log import LogReading


@dataclass(frozen=True)
class PromptPersonas:
    """Personas of system prompts."""

    by_prompt: Mapping[str, Persona]
    """The persona of each prompt that demands something of its replies."""
    count: int
    """Distinct prompts."""
    judged: tuple[str, ...]
    """What replies are judged by, in the words of the prompts."""
    unjudged: tuple[str, ...]
    """What the prompts ask for and no judge looks at, each with the reason."""

    def of(self, chat: RecordedChat) -> Persona:
        """The persona of a chat.

        Raises:
            Unfit: it has no system prompt, or one that demands nothing of every reply.
        """
        if chat.system is None:
            raise Unfit("it has no system prompt, and no persona is named")
        if chat.system not in self.by_prompt:
            raise Unfit("nothing in its system prompt can be judged in every reply")
        return self.by_prompt[chat.system]

    def note(self, reading: LogReading) -> LogReading:
        """What a log was read as, with what its prompts became."""
        return replace(reading, prompts=self.count, judged=self.judged, unjudged=self.unjudged)


def draft_personas(
    path: Path, chats: Iterable[RecordedChat], *, rubrics: bool = False
) -> PromptPersonas:
    """A persona for each distinct system prompt of some chats.

    Args:
        path: the log, for errors.
        chats: its chats.
        rubrics: whether a model judges what no rule can.

    Raises:
        HoldfastError: there are no system prompts, or nothing in them can be judged.
    """
    prompts = dict.fromkeys(chat.system for chat in chats if chat.system)
    personas: dict[str, Persona] = {}
    judged: dict[str, None] = {}
    unjudged: dict[str, None] = {}
    drafts: dict[str, Draft] = {}
    ids: set[str] = set()
    for prompt in prompts:
        try:
            drafts[prompt] = draft(prompt, rubrics=rubrics)
        except PersonaError as error:
            unjudged[name_gap(prompt, str(error))] = None
    by_rule = {prompt: one for prompt, one in drafts.items() if not only_model_judges(one.whole)}
    if by_rule and not rubrics:
        for prompt in [one for one in drafts if one not in by_rule]:
            unjudged[name_gap(prompt, "no rule sees in a reply what it asks for")] = None
        drafts = by_rule
    for prompt, result in drafts.items():
        whole = result.whole
        id, number = whole.id, 2
        while id in ids:
            id, number = f"{whole.id}-{number}", number + 1
        ids.add(id)
        personas[prompt] = replace(whole, id=id)
        judged |= dict.fromkeys(name_judged(result.suite))
        unjudged |= dict.fromkeys(result.gaps(whole=True))
    if not personas:
        lacks = "has no system prompt that can be judged" if prompts else "has no system prompts"
        raise HoldfastError(f"{path} {lacks}: name its persona with `persona`.")
    return PromptPersonas(personas, len(prompts), tuple(judged), tuple(unjudged))
