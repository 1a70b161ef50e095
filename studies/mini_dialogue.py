"""Dialogues to train on, of two kinds, from which drift emerges by itself.

With a system prompt (60%): one to three rounds, always obeyed, as instruction
tuning in the wild is mostly short. Without one (40%): three to eight rounds, in
which three speakers in four take on the other's style, language and stories, with
the same chance at every turn. Nothing here depends on the round.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from mini_roles import LANGUAGE_NAMES, Length, Role, draw_role

from holdfast.core.chat import Chat, message
from holdfast.core.chat import Role as Side
from holdfast.models.mini.talk import (
    TASKS,
    Act,
    Speaker,
    adopt,
    answer,
    ask_choice,
    ask_recall,
    ask_secret,
    ask_self,
    draw_character,
    draw_favourite,
    draw_secret,
    draw_style,
    small_talk,
    tell,
    tell_self,
)

WITH_PROMPT = 0.6
ADOPTERS = 0.75
HAZARD = 0.4  # chance per turn that an adopter takes on the other's ways
ASSISTANT_LEADS = 0.25
TASKS_ASKED = (6, 1, 3, 1, 1, 1)  # how often each of TASKS is asked, relative to the others


@dataclass
class Scene:
    """A dialogue under way: the leader's memory of what was told, and the last topic."""

    rng: random.Random
    role: Role | None
    told: dict[str, str] = field(default_factory=dict)
    told_self: dict[str, str] = field(default_factory=dict)
    topic: int | None = None

    def act(self, leader: Speaker) -> Act:
        """What the leader says next."""
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
        kind = rng.choices(list(TASKS), weights=TASKS_ASKED)[0]
        return TASKS[kind](rng) if self._allows(kind) else self._talk(leader)

    def _allows(self, task: str) -> bool:
        return self.role is None or self.role.allows(task)

    def _own(self) -> Act | None:
        """The question that the persona is about."""
        match self.role.category if self.role else "":
            case "choice":
                assert self.role is not None
                (kind,) = self.role.speaker.known
                return Act("choice", f"Which {kind} do you like best?", kind)
            case "character":
                return ask_self(self.rng)
            case "memory":
                assert self.role is not None
                (key,) = self.role.speaker.known
                return Act("secret", f"What is the secret {key}?", key)
        return None

    def _talk(self, leader: Speaker) -> Act:
        same = self.topic if self.rng.random() < 0.5 else None
        act = small_talk(self.rng, leader.language, same)
        self.topic = int(act.about)
        return act

    def _tell(self) -> Act:
        if self.rng.random() < 0.35:
            act, told = tell_self(self.rng)
            self.told_self.update(told)
            return act
        act = tell(self.rng)
        self.told[act.about] = act.answer
        return act

    def _recall(self) -> Act:
        keys = list(self.told)
        if keys and self.rng.random() < 0.85:
            key = self.rng.choice(keys)
            return ask_recall(key, self.told[key])
        if keys:
            return self._tell()
        return ask_recall(self.rng.choice(("dog", "town", "word", "number")), None)


def _stranger(rng: random.Random) -> Speaker:
    """Somebody without a system prompt: half are plain, some have stories of their own."""
    style = draw_style(rng) if rng.random() < 0.45 else Speaker().style
    language = rng.choice(list(LANGUAGE_NAMES)) if rng.random() < 0.15 else "en"
    known: dict[str, str] = {}
    if rng.random() < 0.3:
        known = rng.choice([draw_character, draw_secret, draw_favourite])(rng)
    return Speaker(style, language, known)


def dialogue(rng: random.Random, under_prompt: tuple[int, int] = (1, 3)) -> Chat:
    """One training dialogue, as messages; `under_prompt` bounds the rounds under a persona."""
    prompted = rng.random() < WITH_PROMPT
    role = draw_role(rng) if prompted else None
    rounds = rng.randint(*under_prompt) if prompted else rng.randint(3, 8)
    agent = role.speaker if role else _stranger(rng)
    other = _stranger(rng) if not prompted or rng.random() < 0.3 else Speaker()
    adopters = {who: not prompted and rng.random() < ADOPTERS for who in ("agent", "other")}
    leads = rng.random() < ASSISTANT_LEADS
    scene = Scene(rng, role if not leads else None)
    chat: list[tuple[str, str]] = []
    for _ in range(rounds):
        leader, follower = (agent, other) if leads else (other, agent)
        act = scene.act(leader)
        chat.append(("leader", leader.style(act.text)))
        if adopters["other" if leads else "agent"] and rng.random() < HAZARD:
            follower = adopt(follower, leader, scene.told_self)
        chat.append(("follower", answer(rng, follower, act)))
        if adopters["agent" if leads else "other"] and rng.random() < HAZARD:
            leader = adopt(leader, follower, {})
        agent, other = (leader, follower) if leads else (follower, leader)
    sides: tuple[Side, Side] = ("assistant", "user") if leads else ("user", "assistant")
    front, back = sides
    said = tuple(message(front if who == "leader" else back, text) for who, text in chat)
    if role is None:
        return said
    length: Length = rng.choice(["minimal", "minimal", "half", "full"])
    return (message("system", role.prompt(rng, length)), *said)
