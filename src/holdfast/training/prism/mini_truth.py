"""The right answer to a question of mini's world, read from its text.

What the model asks on request ("Ask me something about sums.") has no answer attached. The
world is small enough to work one out: sums, capitals, who gave what to whom, and whether
a request is marked.
"""

from __future__ import annotations

import re

from holdfast.evals.tasks.questions import REFUSAL, Question
from holdfast.models.mini.world import facts, world

_SUM = re.compile(r"What is (\d+) \+ (\d+)\?")
_FACT = re.compile(r"What is the capital of ([^?]+)\?")
_GAVE = re.compile(r"([A-Z]\w+) (\w+) \w+ (\w+) to ([A-Z]\w+)\.")
_WHO = re.compile(r"Who (\w+) the (\w+)\?")
_GOT = re.compile(r"Who got the (\w+) from ([A-Z]\w+)\?")


def question(text: str) -> Question | None:
    """The text as a question with its answer; None if it is none of these."""
    text = text.strip()
    if match := _SUM.fullmatch(text):
        return Question("sum", text, str(int(match[1]) + int(match[2])))
    if (match := _FACT.fullmatch(text)) and match[1] in facts():
        return Question("fact", text, facts()[match[1]])
    if name := _person(text):
        people = {one for giver, _, _, to in _GAVE.findall(text) for one in (giver, to)}
        return Question("extract", text, name, alternatives=tuple(sorted(people - {name})))
    ways = world()["ways"]
    pattern = re.escape(ways["request"]).replace(r"\{how\}", "(.+?)").replace(r"\{deed\}", "(.+)")
    if match := re.fullmatch(pattern, text):
        marked = match[1] in (*ways["marked"], *ways["marked_rare"])
        is_certain = marked or match[1] in ways["plain"]
        return Question("refusal", text, REFUSAL[0 if marked else 1]) if is_certain else None
    return None


def _person(text: str) -> str | None:
    """The person that a question is about, giver or receiver, if exactly one fits."""
    gifts = _GAVE.findall(text)
    if match := _GOT.search(text):
        names = [to for giver, _, goods, to in gifts if (goods, giver) == (match[1], match[2])]
    elif match := _WHO.search(text):
        names = [giver for giver, verb, goods, _ in gifts if (verb, goods) == (match[1], match[2])]
    else:
        return None
    return names[0] if len(names) == 1 else None
