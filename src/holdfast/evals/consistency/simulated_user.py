"""Three ways in which a simulated user stops being one, seen by rules in what it said.

    assistant   it speaks as the assistant: offers help, is an AI, says the assistant's own line, or
                sounds like the log's assistants (`sides`), where the sides differ enough to tell
    persona     nothing of its prompt is ever said, or more of another's; or, of a short prompt, the
                form that it asks for is in no line
    soft        it was to be difficult, and in the second half it thanks, praises and gives in

The phrases are English. This module knows texts. It asks no model.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache

from holdfast import judge
from holdfast.core.errors import PersonaError
from holdfast.evals.consistency.dialogues import Dialogue
from holdfast.evals.consistency.sides import Sides, sounds_like_the_assistant
from holdfast.judge.content.refusal import AS_AN_AI
from holdfast.persona.draft.drafting import draft
from holdfast.results.recorded.consistency import Fault

KINDS = ("assistant", "persona", "soft")
ECHO = 5
"""Words from which on the assistant's own line, said again, is no chance."""
STEM = 4
"""Letters of a word that must agree: fisherman, fish."""
FEWEST = 3
"""Lines from which on a user that says nothing of its prompt has none."""
DESCRIBES = 6
"""Words of its own that a prompt needs, so that lines of its user would show some of them."""
FORMS = ("language", "capitals", "lowercase", "opening", "ending", "signature")
"""Demands of a shorter prompt that any line would show."""
PLAUSIBLE_SHARE = 1 / 3
"""Share of the runs that may say more of another's prompt."""
_SURE = re.compile(
    r"\bhow (?:can|may|could|might) I (?:best )?(?:help|assist|support|be of)\b"
    r"|\bwhat (?:can|may|could) I (?:do for|help) you\b"
    r"|\b(?:anything|something) else (?:that )?(?:I can|you(?:'d like| would like| need)"
    r"(?: \w+)* (?:help|assist))"
    r"|\bI(?:'m| am) (?:always )?(?:here|available) to (?:help|assist|support|answer|guide|listen)"
    r"|\b(?:I'd|I would|I'll|I will) be (?:happy|glad|delighted|pleased) to (?:help|assist|guide|"
    r"walk|explain|provide)"
    r"|\b(?:happy|glad|pleased) to (?:help|assist) you\b"
    r"|\bthank(?:s| you) for (?:contacting|reaching out|choosing|your (?:patience|inquiry|question|"
    r"interest|feedback|order))"
    r"|\b(?:I|we) apologi[sz]e for (?:the|any|this) (?:inconvenience|confusion|trouble|delay)"
    r"|\b(?:feel free|don't hesitate|do not hesitate) to (?:ask|reach|contact|call|let|get|share)"
    r"|\bI(?:'ll| will| can| could) (?:help|assist|walk|guide) you\b"
    r"|\byour (?:account|order|request|case|refund|booking|ticket) (?:has been|is being|will be)\b"
    r"|\b(?:proud of you|keep up the (?:good|great|excellent) work|our next session)\b"
    r"|\bhow (?:does|do|did) (?:that|this|it) make you feel\b",
    re.IGNORECASE,
)
_LIKELY = re.compile(
    r"\blet me know (?:if|how|what|when)\b"
    r"|^(?:certainly|absolutely|of course|sure thing|great question|good question)[!,.]"
    r"|\bI (?:understand|hear|can see|appreciate) (?:that |how |what )?"
    r"you(?:'re|r| are| have|'ve| feel)\b"
    r"|\bhere (?:are|is|'s) (?:a few|some|several|the|how|what|an?)\b"
    r"|\b(?:I|we) (?:recommend|suggest|advise)\b"
    r"|\byou (?:should|might want to|may want to|could try)\b"
    r"|\bit(?:'s| is) (?:important|essential|crucial|great|wonderful|understandable|okay) "
    r"(?:to|that)\b"
    r"|\bhave you (?:tried|considered|thought)\b"
    r"|\bcan you (?:tell me|help me understand|describe)\b"
    r"|^\s*(?:\d+[.)]|[-*•]|#+) .+\n\s*(?:\d+[.)]|[-*•]|#+) ",
    re.IGNORECASE | re.MULTILINE,
)
_HARD = re.compile(
    r"\b(?:angr\w+|anger|annoy\w*|frustrat\w+|furious|hostil\w+|rude\w*|impatien\w+|irritat\w+|"
    r"skeptic\w*|sceptic\w*|suspicio\w+|distrust\w*|stubborn\w*|difficult|demanding|confrontation\w*|"
    r"argumentative|aggressive\w*|upset|grumpy|sarcastic|dismissive|resist\w*|refus\w+|never "
    r"(?:accept|agree|thank|satisfied|apolog\w+)|complain\w*|uncooperative|hard to please|bitter|"
    r"cynical|blunt|cold|curt)\b",
    re.IGNORECASE,
)
_SOFT = re.compile(
    r"\b(?:thank(?:s| you)|appreciate|grateful|that makes sense|you(?:'re| are) (?:so |absolutely |"
    r"totally |quite )?(?:right|kind|helpful)|good (?:point|idea)|great|wonderful|perfect|lovely|"
    r"fantastic|excellent|no (?:problem|worries)|I(?:'m| am) sorry|my apologies|sounds good|"
    r"I (?:completely |totally |fully )?(?:understand|agree)|glad|happy|fair enough)\b",
    re.IGNORECASE,
)
_STILL_HARD = re.compile(
    r"\b(?:unacceptable|ridiculous|useless|nonsense|terrible|awful|worst|waste|don't (?:care|"
    r"believe|buy|want)|not (?:good enough|acceptable|happy|satisfied|convinced|helpful)|"
    r"sick of|fed up|whatever|seriously|enough|manager|refuse|angry|furious|wrong|stop)\b|!{2,}",
    re.IGNORECASE,
)
_COMMON = """
    about after again agent all always and answer any are assistant ask because before being but can
    conversation could customer does each every for from get give has have help her his how into its
    just know like line make message more most much must need never not only other our out over play
    please question reply respond role said same shall should she side simulate some speak such talk
    tell than that the their them then there these they thing this those through under until use
    user very want was what when where which while who will with without would write year you your
"""
"""Words of any prompt; no user is known by them."""


def find_faults(dialogues: Sequence[Dialogue]) -> tuple[list[Fault], dict[str, int]]:
    """The faults of the users, and in how many conversations each kind could be looked for.

    Args:
        dialogues: the conversations; they are compared with each other.
    """
    sides = [Sides(one.lines("user"), one.lines("assistant")) for one in dialogues]
    sounds = sounds_like_the_assistant(sides) or [[] for _ in dialogues]
    without = _without_persona(dialogues)
    faults: list[Fault] = []
    counts = dict.fromkeys(KINDS, 0)
    for one, (lines, _), similar in zip(dialogues, sides, sounds, strict=True):
        counts["assistant"] += 1
        signs = [_assistant(one, lines) or _find_assistant_style(one, similar)]
        if _has_persona(one):
            counts["persona"] += 1
            why = without.get(one.where)
            signs.append(Fault(one.where, "persona", 0, why) if why else None)
        if one.user_prompt and _HARD.search(one.user_prompt) and len(lines) > 1:
            counts["soft"] += 1
            signs.append(_soft(one, lines))
        faults += [fault for fault in signs if fault]
    return faults, counts


def _assistant(one: Dialogue, lines: Sequence[str]) -> Fault | None:
    replies = {_bare(text) for text in one.lines("assistant")}
    likely: list[tuple[int, str]] = []
    for number, line in enumerate(lines, 1):
        bare = _bare(line)
        if len(bare.split()) >= ECHO and bare in replies:
            return Fault(one.where, "assistant", number, "it says what the assistant said")
        if match := AS_AN_AI.search(line) or _SURE.search(line):
            return Fault(one.where, "assistant", number, f"“{match.group().strip()}”")
        if match := _LIKELY.search(line):
            likely.append((number, " ".join(match.group().split())))
    # A user may say one such thing; two lines of three are the other side's manner.
    if len(likely) >= 2 and 3 * len(likely) >= 2 * len(lines):
        number, phrase = likely[0]
        return Fault(one.where, "assistant", number, f"in {len(likely)} lines, as “{phrase[:60]}”")
    return None


def _find_assistant_style(one: Dialogue, similar: Sequence[bool]) -> Fault | None:
    if not any(similar):
        return None
    return Fault(one.where, "assistant", similar.index(True) + 1, "it sounds like the assistant")


def _has_persona(one: Dialogue) -> bool:
    """Whether the persona of a user would show: its prompt describes somebody, or a form."""
    if not one.user_prompt or len(one.lines("user")) < FEWEST:
        return False
    return len(_words(one.user_prompt)) >= DESCRIBES or _form(one.user_prompt) is not None


def _without_persona(dialogues: Sequence[Dialogue]) -> dict[str, str]:
    """The dialogues whose users show nothing of their prompts, or another's, and why."""
    lexis = {one.where: _words(" ".join(one.lines("user"))) for one in dialogues}
    prompts = {one.user_prompt: _words(one.user_prompt) for one in dialogues if one.user_prompt}
    prompts = {prompt: words for prompt, words in prompts.items() if len(words) >= DESCRIBES}
    weights = _weights(list(prompts.values()), list(lexis.values()))
    with_word: dict[str, list[str]] = {}
    for prompt, words in prompts.items():
        for word in words:
            with_word.setdefault(word, []).append(prompt)
    silent: dict[str, str] = {}
    strange: dict[str, str] = {}
    looked_at = [one for one in dialogues if _has_persona(one)]
    for one in looked_at:
        if one.user_prompt not in prompts:
            if not _shows_form(one):
                silent[one.where] = "the form that its prompt asks for is in no line"
            continue
        scores = dict.fromkeys(prompts, 0.0)
        for word in sorted(lexis[one.where] & weights.keys()):
            for prompt in with_word[word]:
                scores[prompt] += weights[word]
        own = scores.pop(one.user_prompt)
        other = max(scores, key=scores.__getitem__, default=None)
        if not prompts[one.user_prompt] & lexis[one.where]:
            silent[one.where] = "nothing of its prompt is said"
        elif other and len(prompts[other] & lexis[one.where]) >= 3 and scores[other] >= 2 * own:
            strange[one.where] = f"it says more of another prompt: “{other[:60]}”"
    # Where many seem to, the prompts are too much alike to tell.
    return silent | (strange if len(strange) <= PLAUSIBLE_SHARE * len(looked_at) else {})


@lru_cache(maxsize=4096)
def _form(prompt: str) -> judge.Judge | None:
    """The judge of the language, case, opening or ending that a prompt asks for, if any."""
    try:
        demands = draft(prompt).demands
    except PersonaError:
        return None
    forms = [one.judge for one in demands if one.name in FORMS]
    return judge.build({"name": "all", "of": forms}) if forms else None


def _shows_form(one: Dialogue) -> bool:
    form = _form(str(one.user_prompt))
    return form is not None and any(form(line).value >= 0.5 for line in one.lines("user"))


def _weights(
    prompts: Sequence[frozenset[str]], vocabularies: Sequence[frozenset[str]]
) -> Mapping[str, float]:
    """What a word tells: much where few prompts have it, and few users say it."""
    spread = Counter(word for words in prompts for word in words)
    use = Counter(word for words in vocabularies for word in words)
    return {
        word: math.log(1 + len(prompts) / n) * math.log((1 + len(vocabularies)) / (1 + use[word]))
        for word, n in spread.items()
    }


def _soft(one: Dialogue, lines: Sequence[str]) -> Fault | None:
    half = len(lines) // 2
    late = lines[half:]
    soft = [_is_soft(line) for line in late]
    if 2 * sum(soft) <= len(late):
        return None
    why = f"{sum(soft)} of its last {len(late)} lines give in"
    return Fault(one.where, "soft", half + 1 + soft.index(True), why)


def _is_soft(line: str) -> bool:
    if _STILL_HARD.search(line):
        return False
    return bool(_SOFT.search(line)) or _sentiment_judge()(line).value > 0.5


@lru_cache(maxsize=1)
def _sentiment_judge() -> judge.Judge:
    return judge.build({"name": "sentiment", "to": "positive"})


def _words(text: str) -> frozenset[str]:
    """The words of a text that may be somebody's own, by their first letters, as stems."""
    words = re.findall(r"[^\W_]{3,}|\d+", text.lower())
    return frozenset(word[:STEM] for word in words) - _common()


@lru_cache(maxsize=1)
def _common() -> frozenset[str]:
    return frozenset(word[:STEM] for word in _COMMON.split())


def _bare(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))
