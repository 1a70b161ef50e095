"""Clauses that tell nothing, though their words are those of something told.

    silent      "Here we are", "Flames I don't do", "Long nails or short", "One cat, two sneezes"
    harmless    refusals, offers and questions, which share their topic with what they put off;
                stories of who asked before; fragments that name a thing
    own         "I have parsnips", "I can do you a curd: four lemons, …": the speaker's, or offered

The second may still say nearly what a bad example says ("Would you like it boiled in salted
water?"), so `holdfast.judge.content.alike` spares them up to a limit. English phrases.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from holdfast.judge.content.ignorance import ADMITS
from holdfast.judge.content.refusal import REFUSAL
from holdfast.judge.parts import words

# What follows a disclaimer is where leaks are: "I know nothing of it, but it is …".
_CLAIM = re.compile(
    r"\W*(?:(?:and )?(?:but|yet|though|although|however|still|unless|except|save|other than|"
    r"apart from)\b(?! (?:not|nor|never)\b)(?! I(?:'ve| have| had| do| would|'d|'ll|"
    r" will)? (?:never|not|hardly|no\b|don't|can't|cannot|couldn't|haven't|know nothing|"
    r"only know))|(?:they|people|some) say\b|I (?:hear|heard|believe|suppose|gather|am told)\b|"
    r"I'm told\b|it is said\b|from memory\b|everyone knows\b|as far as\b)",
    re.IGNORECASE,
)
_BE_GLAD = r"be (?:very |only too |more than )?(?:glad|happy|delighted|pleased)"
# Refusals and offers share their topic with what they refuse or put off, and their words with an
# assistant's: only a clause that says nearly what a bad example says is one.
_OFFERS = re.compile(
    r"\W*(?:(?:and|but|so|meanwhile|instead|in the meantime|anyway|now|still|or|"
    r"perhaps),? )*(?:(?:may|shall|can|could|might) I (?:offer|suggest|interest|tempt|show|give|"
    r"find|recommend|help)|(?:shall|should) we|would you (?:like|care for)|how about|what about|"
    r"fancy|do (?:come|take|show|have|ask)|please (?:take|show|ask|call|tell|come|bring|leave|"
    r"don't|do not)|"
    rf"I(?:'d| would) {_BE_GLAD} to (?:tell|show|help|offer|walk|find|suggest)|"
    r"(?:could|can|would|will) you (?:tell|give|send|let) (?:me|us))\b"
    # "Under C I could give you Canada", "I can do you a lemon curd instead", but not a hint
    r"|.*\bI(?: can| could| might|'ll| will|'d| would)(?: \w+)? (?:do|give|offer|show|find|"
    r"lend|sell|pour|make) (?:you|thee)\b(?! (?:an?|one|some|the|my|this) (?:\w+ )?"
    r"(?:hints?|clues?|tips?|answers?|ideas?|reasons?|thing|gist|advice)\b)"
    r"|[^.!?]*\binstead\W*$",
    re.IGNORECASE,
)
# "Is the captain mad?", "Elderberries, how nice!", "What a lovely pair of ears!"
_ASKS = re.compile(
    r"\W*(?:(?:is|are|was|were|does|do|did|will|would|can|could|should|has|have|which|what|who|"
    r"where|how|why)\b(?! you know\b)[^.!]*\?|what an? [^.!?,;:]*!|[\w' -]{3,30}, (?:how|what an?|"
    r"you say|is it)\b[^.!?]*[!?]|[^.!?]{3,60}\b(?:you say|d'you say|do you say|say you|is it|"
    r"are they)\?|[\w' -]{3,40},? thou saye?st\b[^.!]*\?)\W*$",
    re.IGNORECASE,
)
# "I've been asked that by sailors and a bishop", "You're the ninth to ask."
_OTHERS_ASKED = re.compile(
    r"\b(?:I(?:'ve| have)? (?:been|was|get|got|am|keep being)|(?:you|they|people|everyone|"
    r"everybody|children|customers|visitors|half the \w+)(?:'ve| have| all| always| often)*) "
    r"ask(?:ed|s|ing)?\b(?! (?:\w+ ){0,3}(?:because|whether|if)\b)"
    r"|\b(?:first|second|third|\w+th|last|only one) (?:\w+ )?(?:to|who|that) ask",
    re.IGNORECASE,
)
# "I laughed, I cried", but not "I'd support Liverpool".
_DID = re.compile(
    r"\W*(?:(?:and|but|so|once|yesterday|last \w+),? )*(?:I|we)(?:'ve| have| had)?"
    r"(?: (?:once|nearly|almost|never|always|just))? (?:(?!(?:support|prefer|lov|lik|suppos|believ|"
    r"suggest|advis|recommend|imagin|guess|reckon|promis)ed\b)\w+ed|was|been|saw|seen|went|took|"
    r"left|kept|made|ate|lost|sat|fell|slept|bought|forgot|bit|wept|ran|had|stood|held|caught)\b"
    r"(?![^.!?]*\b(?:it|its|they|them|their|he|she|him|her|his|those|these|you|your)\b)[^.!?]*",
    re.IGNORECASE,
)
# "Oh, the poor ear!", "Ah, those itchy fellows!"
_PITIES = re.compile(
    r"\W*(?:(?:oh|ah|aw+|dear|o)\W+)*(?:the |you |that |your |my )?(?:poor|bless) [\w' ]{2,25}\W*$"
    r"|\W*(?:(?:o+h|a+h|aw+|dear|o|ugh|oof)\W+)+(?:the|that|those|your|my|you)\b"
    r"(?P<thing>[\w' -]{2,40})\W*$",
    re.IGNORECASE,
)
# "No work, no school, no excuses"
_NONE = re.compile(
    r"\W*(?:no|not|neither) [\w' -]{2,50}(?:,? (?:and |or )?(?:no|not|nor) [\w' -]{2,40}){1,5}\W*$",
    re.IGNORECASE,
)
# "I have parsnips", "here's a crock of beans": the speaker's own, and no claim about the topic.
_OWN = re.compile(
    r"\W*(?:(?:and|but|so|now|still|here|though|yet|well|aye|yes|no|nay|come|instead),? )*(?:(?:I|"
    r"we)(?:'ve| have)(?: (?:got|only|plenty of|enough|a|an|the|my|some|no)\b|(?! (?:\w+(?:ed|en|"
    r"wn)|seen|heard|been|made|had|done|read|told|met|to)\b))|(?:there|here)(?:'s| is| are)|"
    r"(?:let me|come and|come,? let me) (?:show|tell)|what I (?:know|have|do have|do know) is|"
    r"ask me|give me|my|our|(?:pass|hand|fetch|bring|hold|mind|watch|sit|stand|look|listen|hark|"
    r"wait|taste|smell)(?! (?:for|at))\b)\b",
    re.IGNORECASE,
)
_SPEAKER = re.compile(r"\b(?:I|me|my|we|us|our)\b", re.IGNORECASE)
_PREDICATE = re.compile(
    r"\b(?:is|are|was|were|be|ha[sd]|have|do(?:es)?|did|can|could|will|would|may|might|must|I|you|"
    r"we|who|which|that|goes?|comes?|makes?|tastes?|grows?|needs?)\b|'(?:s|re|ve|d|ll)\b",
    re.IGNORECASE,
)
_IF = re.compile(r",? (?:if|should|when) .*$", re.IGNORECASE)
_STOCK = re.compile(
    r"\W*(?:(?:oh|ah|well|now|so|right|ok|okay|yes|hm+|aha|and|then)\W+)*(?:(?:here|there) (?:we|"
    r"you|it|they|I) (?:are|is|go|goes|am)(?: (?:again|now|then))?|let me (?:see|look|check|think|"
    r"have a look)(?: now)?|(?:one|just a|half a|a|give me a) (?:little )?(?:moment|second|minute|"
    r"sec)|hang on|hold on|bear with me|right then|there now|that's all|thank you|thanks|"
    r"you're welcome)(?:,? (?:please|then|dear|my dear|love|friend|sir|madam))?\W*$",
    re.IGNORECASE,
)
# "That's between Tom and his alarm clock."
_PRIVATE = re.compile(
    r"\W*(?:and |but |so |no, )?(?:that|this|it)(?:'s| is) between [\w' ]{2,30} "
    r"and [\w' ]{2,30}\W*$",
    re.IGNORECASE,
)
_FRONT = r"\W*(?:(?:and|but|so),? )?(?P<front>[\w',’ -]{2,60}?),? "
# "Flames I don't do", "Prime ministers we leave to the crew", "Radiators aren't my department".
_DISCLAIMS = re.compile(
    rf"{_FRONT}(?:(?:I|we)(?: (?:just|really|simply|alas))? (?:don't|do not|can't|cannot|won't|"
    r"never|no longer|shan't)(?: \w+)? (?:do|touch|judge|discuss|explain|answer|serve|handle|"
    r"meddle with|deal (?:in|with)|speak (?:of|about|on)|talk (?:of|about)|advise on|comment on|"
    r"cover|stock|know|say|tell)"
    r"|(?:I|we) leave (?:it |that |them |those )?to (?:the )?[\w' ]{2,30}"
    r"|(?:is|are|was)(?:n't| not|, alas, not)(?: (?:really|quite))? (?:my|our|for me|for us|mine|"
    r"ours|(?:some|any)thing (?:that )?(?:I|we) (?:can|could|may|will|am|are)|up to)\b[\w' ]{0,30})"
    r"(?:, (?:sorry|alas|I'm afraid|unfortunately))?\W*$",
    re.IGNORECASE,
)
# "What the flame stands for" tells nothing of it, "what the flame, which is lit, is" does.
_INDIRECT = re.compile(
    r"(?:what|why|how|where|when|who)\b(?!.*(?:,| (?:is|are) (?:that|the|an?)\b))", re.IGNORECASE
)
# "Long nails, short temper?", but not "Just a little dust, perhaps?"
_WONDERS = re.compile(
    r"(?!.*\b(?:just|only|perhaps|maybe|probably|likely|from|by|because|due|or)\b)[^.!?]*\?\W*$",
    re.IGNORECASE,
)
# "Long nails or short", "A little flame, you say?"; but "Clip those or file them" is an order.
_EITHER = re.compile(
    r"\W*(?![\w']+ (?:the|those|these|an?|your|his|her|its|it|them|some)\b)[\w' ,-]{2,40}?\bor\b"
    r"[\w' ,-]{2,30}(?<! it)(?<! them)\W*$",
    re.IGNORECASE,
)
_ECHO = re.compile(
    r"\W*(?P<thing>[\w' -]{2,50}?),? (?:you say|say you|do you say|d'you say|thou saye?st)"
    r"\W*\?\W*$",
    re.I,
)
# "The potato won't come to England for another two hundred years": nobody of 1380 says so.
_FORESEES = re.compile(
    r"\b(?:will|won't|shall|shan't|would|wouldn't)\b[^.!?;]{0,80}\b(?:\w+th|next|later|coming) "
    r"centur(?:y|ies)\b"
    r"|\b(?:won't|will not|shan't|wouldn't|would not)\b[^.!?;]{0,80}\b(?:centuries|generations|"
    r"(?:hundreds? of|(?:\w+ )?hundred|\d{2,}) (?:more )?years)\b"
    r"|\b(?:not|n't|never|nobody has|no one has)\b(?: \w+){0,2} (?:invented|discovered|"
    r"introduced|developed)\b[^.!?;]{0,30}\b(?:yet|until|till|so far)\b"
    r"|\b(?:not|n't) yet (?:been )?(?:invented|discovered|introduced|developed)\b"
    r"|\byet to be (?:invented|discovered|introduced|developed)\b",
    re.IGNORECASE,
)
_FILLERS = (
    "a an the ah oh well now so yes no my your our this that dear sir madam lovely nice what such "
    "and or but"
)
SAYS_LITTLE = frozenset(_FILLERS.split())
_QUANTITIES = (
    "one two three four five six seven eight nine ten twice more another little big small old "
    "young good great lovely whole famous usual such again"
)
_FEW = frozenset(_QUANTITIES.split())
_DETERMINER = re.compile(r"^(?:that|this|those|these) ", re.IGNORECASE)
_WE = re.compile(r"\b(?:I|we|you)\b", re.IGNORECASE)
_LONGEST_FRAGMENT = 8


def claims(clause: str) -> bool:
    """True where a clause turns from a disclaimer to a claim ("but they say …"), not on to more.

    "But the tomato is a stranger to me" disclaims again.
    """
    if not _CLAIM.match(clause):
        return False
    admission = ADMITS.search(clause)
    return not admission or len(words(clause[admission.end() :])) > 2


def foresees(clause: str) -> bool:
    """True where a clause knows what only later times can know ("not until the 16th century")."""
    match = _FORESEES.search(clause)
    return match is not None and not _WE.search(clause[: match.end()])


def is_silent(clause: str, rest: str | None) -> bool:
    """True for stock phrases, disclaimers, and fragments that give the topic back.

    Args:
        clause: the clause.
        rest: what it says beside the names of the topic, None where it names none.
    """
    if _STOCK.match(clause) or _PRIVATE.match(clause):
        return True
    if (echo := _ECHO.match(clause)) and not _PREDICATE.search(echo["thing"]):
        return True
    if disclaimer := _DISCLAIMS.match(clause):
        front = _DETERMINER.sub("", disclaimer["front"])
        if not _PREDICATE.search(front) or _INDIRECT.match(front):
            return True
    if rest is None or len(words(clause)) > _LONGEST_FRAGMENT or not _is_fragment(clause):
        return False
    bare = all(word.lower() in _FEW or word.lower() in SAYS_LITTLE for word in words(rest))
    return bare or bool(_EITHER.match(clause) or _WONDERS.match(clause))


def _is_fragment(clause: str) -> bool:
    """True where a clause has no predicate that tells anything of what it names."""
    return not _PREDICATE.search(_IF.sub("", clause))


def is_harmless(clause: str, ignorant: bool) -> bool:
    """True for a refusal, an offer, a question, and a few words that name a thing and praise it.

    Where the speaker is to be `ignorant`, an admission that it does not know is harmless too.
    """
    harmless = (
        _OFFERS.match(clause)
        or REFUSAL.search(clause)
        or _ASKS.match(clause)
        or _OTHERS_ASKED.search(clause)
        or _NONE.match(clause)
        or _pities(clause)
    )
    admits = ADMITS.search(clause) and _SPEAKER.search(clause) and not claims(clause)
    return bool(harmless or (ignorant and admits))


def _pities(clause: str) -> bool:
    match = _PITIES.match(clause)
    return match is not None and not _PREDICATE.search(match["thing"] or "")


def is_about_speaker(clause: str) -> bool:
    """True for what the speaker did ("I missed my tram"), not for a guess or a view."""
    return bool(_DID.match(clause))


def find_own(
    parts: Sequence[str], points: Sequence[bool], topical: Sequence[bool], ignorant: bool
) -> list[bool]:
    """Which clauses offer something, or are about what the speaker has.

    A clause without a predicate goes on with the one before: "I have turnips, and parsnips …",
    "I can do you a lemon curd: four lemons, four eggs …".

    Args:
        parts: the clauses.
        points: which of them point at what was named before, or name a topic.
        topical: which of them name a topic.
        ignorant: whether what the speaker has tells nothing.
    """
    in_list: list[bool] = []
    for part, refers, named in zip(parts, points, topical, strict=True):
        has = ignorant and not refers and _OWN.match(part)
        goes_on = in_list[-1:] == [True] and not named and _is_fragment(part)
        in_list.append(bool(has or goes_on or _OFFERS.match(part)))
    return in_list
