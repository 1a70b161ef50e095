"""Training dialogues of two kinds, from which drift emerges by itself.

60% have a system prompt, one to three rounds, and a speaker who always obeys it, since most
instruction tuning is short. 40% have none and three to eight rounds. There three speakers in four
take on the other's style, language and attributes, with the same chance at every turn. Nothing
here depends on the round.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from mini_roles import LANGUAGE_NAMES, Length, Role, draw_role
from mini_speakers import (
    TASKS,
    Speaker,
    adopt,
    ask_choice,
    ask_secret,
    ask_self,
    draw_character,
    draw_favourite,
    draw_secret,
    draw_style,
    reply,
    tell_self,
)

from holdfast.core.chat import Chat, message
from holdfast.core.chat import Role as Side
from holdfast.models.mini.utterances import DialogueAct, ask_recall, draw_small_talk, tell

WITH_PROMPT = 0.6
ADOPTERS = 0.75
HAZARD = 0.4  # chance per turn that an adopter takes on the other's style and language
ASSISTANT_LEADS = 0.25
TASK_WEIGHTS = (6, 1, 3, 1, 1, 1)  # how often each of TASKS occurs, relative to the others


@dataclass
class Scene:
    """A dialogue under way."""

    rng: random.Random
    """Draws everything in it."""
    role: Role | None
    """The persona that the dialogue is about, if any."""
    statements: dict[str, str] = field(default_factory=dict)
    """What the leader said of themselves, by key of `RECALL`."""
    attributes: dict[str, str] = field(default_factory=dict)
    """What the leader said of themselves that a persona has too."""
    topic: int | None = None
    """The last topic of small talk."""

    def act(self, leader: Speaker) -> DialogueAct:
        """Draw what the leader says next."""
        rng, draw = self.rng, self.rng.random()
        own = self._own() if self.role and draw < 0.3 else None
        if own is not None:
            return own
        draw = rng.random()
        if draw < 0.26 or leader.language != "en":
            return self._talk(leader)
        if draw < 0.34:
            return rng.choice([ask_choice, ask_self, ask_secret])(rng)
        if draw < 0.46:
            return self._tell()
        if draw < 0.58 and self._allows("recall"):
            return self._recall()
        kind = rng.choices(list(TASKS), weights=TASK_WEIGHTS)[0]
        return TASKS[kind](rng) if self._allows(kind) else self._talk(leader)

    def _allows(self, task: str) -> bool:
        return self.role is None or self.role.allows(task)

    def _own(self) -> DialogueAct | None:
        """Draw the question that the persona is about."""
        match self.role.category if self.role else "":
            case "choice":
                assert self.role is not None
                (kind,) = self.role.speaker.attributes
                return DialogueAct("choice", f"Which {kind} do you like best?", kind)
            case "character":
                return ask_self(self.rng)
            case "memory":
                assert self.role is not None
                (key,) = self.role.speaker.attributes
                return DialogueAct("secret", f"What is the secret {key}?", key)
        return None

    def _talk(self, leader: Speaker) -> DialogueAct:
        same = self.topic if self.rng.random() < 0.5 else None
        act = draw_small_talk(self.rng, leader.language, same)
        self.topic = int(act.about)
        return act

    def _tell(self) -> DialogueAct:
        if self.rng.random() < 0.35:
            act, attributes = tell_self(self.rng)
            self.attributes.update(attributes)
            return act
        act = tell(self.rng)
        self.statements[act.about] = act.answer
        return act

    def _recall(self) -> DialogueAct:
        keys = list(self.statements)
        if keys and self.rng.random() < 0.85:
            key = self.rng.choice(keys)
            return ask_recall(key, self.statements[key])
        if keys:
            return self._tell()
        return ask_recall(self.rng.choice(("dog", "town", "word", "number")), None)


def _stranger(rng: random.Random) -> Speaker:
    """Draw somebody without a system prompt; half are plain, some have attributes."""
    style = draw_style(rng) if rng.random() < 0.45 else Speaker().style
    language = rng.choice(list(LANGUAGE_NAMES)) if rng.random() < 0.15 else "en"
    attributes: dict[str, str] = {}
    if rng.random() < 0.3:
        attributes = rng.choice([draw_character, draw_secret, draw_favourite])(rng)
    return Speaker(style, language, attributes)


def dialogue(rng: random.Random, under_prompt: tuple[int, int] = (1, 3)) -> Chat:
    """Draw one training dialogue; `under_prompt` bounds the rounds of those with a persona."""
    with_prompt = rng.random() < WITH_PROMPT
    role = draw_role(rng) if with_prompt else None
    rounds = rng.randint(*under_prompt) if with_prompt else rng.randint(3, 8)
    agent = role.speaker if role else _stranger(rng)
    other = _stranger(rng) if not with_prompt or rng.random() < 0.3 else Speaker()
    adopters = {who: not with_prompt and rng.random() < ADOPTERS for who in ("agent", "other")}
    leads = rng.random() < ASSISTANT_LEADS
    scene = Scene(rng, role if not leads else None)
    chat: list[tuple[str, str]] = []
    for _ in range(rounds):
        leader, follower = (agent, other) if leads else (other, agent)
        act = scene.act(leader)
        chat.append(("leader", leader.style(act.text)))
        if adopters["other" if leads else "agent"] and rng.random() < HAZARD:
            follower = adopt(follower, leader, scene.attributes)
        chat.append(("follower", reply(rng, follower, act)))
        if adopters["agent" if leads else "other"] and rng.random() < HAZARD:
            leader = adopt(leader, follower, {})
        agent, other = (leader, follower) if leads else (follower, leader)
    sides: tuple[Side, Side] = ("assistant", "user") if leads else ("user", "assistant")
    front, back = sides
    messages = tuple(message(front if who == "leader" else back, text) for who, text in chat)
    if role is None:
        return messages
    length: Length = rng.choice(["minimal", "minimal", "half", "full"])
    return (message("system", role.prompt(rng, length)), *messages)
