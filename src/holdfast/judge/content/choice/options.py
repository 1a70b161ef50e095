"""Which of several options a reply commits to.

A substring is no judge of a choice: "As an AI, I cannot choose" holds an A, and "I
would take tea over coffee" names both drinks. So every mention of an option is
weighed by the clause it stands in (`holdfast.judge.content.choice.commitment`), and the reply
commits to the option with the heaviest mention; between equally heavy ones the reply's
turns and tone decide (`holdfast.judge.content.choice.resolution`). Where the speaker says that
there is no preference, or speaks as an AI, only a plain commitment elsewhere in the reply
counts.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from typing import NamedTuple

from holdfast.judge.content.choice.commitment import (
    ADDED,
    ALTERNATIVE,
    OptionMention,
    weigh,
    weigh_answer,
    weigh_question,
)
from holdfast.judge.content.choice.denials import LESSER_LABEL
from holdfast.judge.content.choice.hedging import asks_for_choice, conditional, evades
from holdfast.judge.content.choice.position import write_out
from holdfast.judge.content.choice.resolution import (
    LIKED,
    Vote,
    concedes,
    point_back,
    points_ahead,
    resolve,
    turns,
)
from holdfast.judge.params import Params
from holdfast.judge.parts import plain, sentences
from holdfast.judge.score import Judge, Score

_CLAUSE = re.compile(
    r"[;:]\s|\s[–—-]+\s|—|(?<=\?)[\"')]*\s|,\s+so\b|,?(?<!anything)(?<!nothing)\s+but\b,?|"
    r"(?<!lying)(?<!a lie),?\s+(?:however|although|though|yet|while|whereas|because|since|whilst|"
    r"if)\b,?|,\s+(?=(?:I(?!'m told| am told| hear\b| gather)|not|never|and I|and then|yet I|"
    r"my)\b)",
    re.IGNORECASE,
)
# "If you like it strong, take …", "While you've got the legs, go …"
_OPENING = re.compile(
    r"\W*(?P<word>if|(?:while|when|whenever|before|after|once|until)(?= (?:you|I|we|they|it|he|"
    r"she)\b))\s+(?P<clause>[^,]*),\s*",
    re.IGNORECASE,
)
_BEFORE_LABEL = re.compile(
    r"\b(?:option|answer|choice|letter)\b\W*(?:is\b\W*|:\s*)?$", re.IGNORECASE
)
_BEFORE_CHOICE = re.compile(
    r"\b(?:choose|pick|select|with|is|be|say|for|it's|was)\W*$", re.IGNORECASE
)
_OTHER_LETTER = re.compile(
    r"\b(?:vitamin|plan|type|grade|class|hepatitis|generation|room|size|part|section)\s*$",
    re.IGNORECASE,
)


# Runs of dashes and apostrophes are rules or dashes, and slow to search for words.
_DASHES = re.compile(r"[-']{2,}")


_OWN = re.compile(r"\b(?:I|I'\w+|my|me|mine)\b", re.IGNORECASE)
# "I'd go for the jasmine: it's light" is no label, as "Jasmine: light" is.
_COMMITTED = re.compile(r"\b(?:I(?:'d|'ll| would| will)?|my) \w+", re.IGNORECASE)
# "If you'd prefer a bigger city, Vienna would be a lovely alternative."
_INSTEAD = re.compile(r"\b(?:alternative|instead)\b", re.IGNORECASE)
_NEAR, _LONGEST = 40, 400
# A clause that names more options than this is a heap; weighing all of it would take seconds.
_MOST = 200
# "The okapi, who else?" asks nothing.
_ELSE = re.compile(r",\s+(?:who|what|where|which|how) else\?", re.IGNORECASE)
_LABEL = re.compile(r"(?:^|\n|(?<=\s))\W{0,5}([A-Z])[):]\s*(?=\w)")
_AFTER_GO = re.compile(
    r"\s+(?:with|for|to|ahead|on|and|home|back|through|straight|all|there)\b", re.I
)
_BEFORE_GO = re.compile(
    r"\b(?:to|let's|let us|should|would|could|can|will|must|I'd|I'll|you|we|you'd|we'd|just)\s+$",
    re.I,
)
_LOWER_LETTER = re.compile(
    r"\b(?:option|answer|choice|letter|choose|chose|pick|select|vote for|say|go with|is|it's)"
    r"\W+([a-z])(?=[\s\"')\]]*(?:[.,!;]|$))",
    re.IGNORECASE,
)


def choice(params: Params) -> Judge:
    """1 where the reply commits to `answer` and to no other of the `options`."""
    options = params.texts("options", least=2)
    answer = params.text("answer").strip()
    letters = params.flag("letters", False)
    aliases = _aliases(params, options)
    params.refuse_unknown()
    if bare_marks := [name for name in (*options, *aliases) if not plain(name).strip()]:
        params.fail(f"{bare_marks[0]!r} is markup alone, by which no reply can name an option")
    if letters and len(options) > 26:
        params.fail("parameter “options” may list at most 26 where “letters” is true")
    bare = [option.strip("().:[] ").upper() for option in options]
    lettered = letters and all(label in string.ascii_uppercase and label for label in bare)
    labels = bare if lettered else list(string.ascii_uppercase[: len(options)])
    names = [option.strip().casefold() for option in options]
    if answer.casefold() in names:
        target = names.index(answer.casefold())
    elif letters and answer.strip("().:[] ").upper() in labels:
        target = labels.index(answer.strip("().:[] ").upper())
    else:
        params.fail(f"parameter “answer” must be one of the options, not {answer!r}")
    finder = _Finder([] if lettered else list(options), labels if letters else [], aliases)

    def judge(text: str) -> Score:
        option, why = _find_choice(finder, text)
        if option is None:
            return Score(0.0, why)
        return Score(float(option == target), f"chooses {options[option]!r}: {why}")

    return judge


def _aliases(params: Params, options: tuple[str, ...]) -> dict[str, int]:
    """Other names of options, each with the option's number."""
    table = params.take("aliases")
    if table is None:
        return {}
    if not isinstance(table, Mapping) or not set(table) <= set(options):
        params.fail("parameter “aliases” must be a table from an option to a list of other names")
    inner = Params(params.name, table)
    return {name: options.index(key) for key in table for name in inner.texts(str(key))}


class _Finder:
    """Where options are mentioned: by name (longest first), and by letter."""

    def __init__(self, names: list[str], labels: list[str], aliases: Mapping[str, int]) -> None:
        self._names = names
        numbers = {name: i for i, name in enumerate(names)} | dict(aliases)
        self._options = {" ".join(plain(name).casefold().split()): i for name, i in numbers.items()}
        self._labels = labels
        longest_first = sorted(self._options, key=len, reverse=True)
        body = "|".join(map(_spelling, longest_first))
        letters = "".join(labels)
        self._name = re.compile(rf"(?<!\w)(?:{body})(?!\w)", re.IGNORECASE) if names else None
        self._numbers = [self._options[name] for name in longest_first]
        self._letter = re.compile(rf"(?<![\w'’-])[{letters}](?![\w'’])") if labels else None
        lone = rf"\W*(?:(?:option|answer|choice)\W+(?:is\W+)?)?([{letters}])\W*"
        self._lone = re.compile(lone, re.IGNORECASE) if labels else None

    def write_out(self, text: str) -> str:
        """The text with the options that it only points at; see `position`."""
        return write_out(text, self._names or self._labels, self.find)

    def alone(self, text: str) -> int | None:
        """The option of a reply that is nothing but a letter, capital or not."""
        match = self._lone.fullmatch(text) if self._lone else None
        return self._labels.index(match.group(1).upper()) if match else None

    def find_labels(self, text: str) -> list[int]:
        """The options of a reply that begins with "C) …", as the label of an answer."""
        if not self._labels or not _LABEL.match(text):
            return []
        labels = (label[1].upper() for label in _LABEL.finditer(text))
        return [self._labels.index(label) for label in labels if label in self._labels]

    def find(self, clause: str) -> list[OptionMention]:
        """The mentions of a clause, in order."""
        mentions = []
        if self._name:
            for match in self._name.finditer(clause):
                if not _is_verb(clause, match):
                    option = self._numbers[(match.lastindex or 1) - 1]
                    mentions.append(OptionMention(option, *match.span()))
        if self._letter:
            for match in self._letter.finditer(clause):
                if _names_an_option(clause, match):
                    mentions.append(OptionMention(self._labels.index(match.group()), *match.span()))
            for match in _LOWER_LETTER.finditer(clause):
                if match[1].islower() and match[1].upper() in self._labels:
                    mentions.append(
                        OptionMention(self._labels.index(match[1].upper()), *match.span(1))
                    )
        apart: list[OptionMention] = []
        for mention in sorted(mentions, key=lambda m: m.start):
            if not apart or mention.start >= apart[-1].end:
                apart.append(mention)
        return apart


def _spelling(name: str) -> str:
    """An option as a group: singular or plural, with British or American "our"."""
    words = [re.escape(word) for word in name.split()]
    if len(words[-1]) > 2 and words[-1].isalpha():
        words[-1] = re.sub(r"(?<=\w\w\w)s$|y$", "", words[-1])
        words[-1] += "(?:y|ies|ys)" if name.endswith("y") else "(?:s?es|s)?"
    body = r"\s+".join(words)
    return "(" + re.sub(r"our(?=\(\?:)", "ou?r", body) + ")"


def _is_verb(clause: str, match: re.Match[str]) -> bool:
    """True where the option "Go" is the verb, as in "Go with Erlang"."""
    if match.group().lower() != "go":
        return False
    before = clause[max(0, match.start() - _NEAR) : match.start()]
    after = clause[match.end() : match.end() + _NEAR]
    if match.group() == "go" and not _BEFORE_CHOICE.search(before):
        return True
    return bool(_AFTER_GO.match(after) or _BEFORE_GO.search(before))


def _names_an_option(clause: str, match: re.Match[str]) -> bool:
    """True unless a capital letter is the article "A", the pronoun "I", or a "vitamin C"."""
    # A few words on either side decide; whole prefixes would take quadratic time.
    before = clause[max(0, match.start() - _NEAR) : match.start()]
    after = clause[match.end() : match.end() + _NEAR]
    if _OTHER_LETTER.search(before):
        return False
    labels_a_thing = re.search(r"[a-z]{2}\s+$", before) and re.match(r"\s+[a-z]", after)
    if match.group() == "A" and labels_a_thing:
        return True
    if match.group() not in "AI" or _BEFORE_LABEL.search(before) or re.match(r"[).:\]]", after):
        return True
    if match.group() == "I":
        return not before.strip() and not after.strip()
    if re.match(
        r"\s*$|\s*[,;!?/]|\s+(?:is|it is|because|since|for sure|of course|and|or|deserves|wins|"
        r"gets|has|takes|was|may|might|should|will|can|could|would|for)\b",
        after,
    ):
        return True
    return bool(_BEFORE_CHOICE.search(before)) and not re.match(r"\s+[a-z]", after)


def _find_choice(finder: _Finder, text: str) -> tuple[int | None, str]:
    """The option that the text commits to, and why; None where it commits to none."""
    bare = plain(text)
    alone = finder.alone(bare)
    if alone is not None:
        return alone, "the letter alone"
    evasive = False
    labels = finder.find_labels(bare)
    votes: list[Vote] = []
    if len(set(labels)) == 1:
        votes.append(Vote(labels[0], 3, bare))
    turn, topic, is_question, announced = 0, None, False, False
    letters = finder.write_out(_ELSE.sub(".", bare))
    for number, sentence in enumerate(sentences(letters, markers=True)):
        label = ""
        for clause in _clauses(sentence):
            lesser, label = clause.answers and LESSER_LABEL.search(label), clause.text
            if evades(clause.text):
                evasive = True
                continue
            mentions = finder.find(clause.text)[:_MOST]
            turn += clause.turns or turns(clause.text)
            if not mentions:
                announced = clause.labels and points_ahead(clause.text)
                is_question = announced or asks_for_choice(clause.text)
                if not is_question:
                    point_back(clause.text, votes, topic)
                topic = None
                continue
            asks = clause.text.rstrip("\"') ").endswith("?")
            weights = (
                weigh_question(clause.text, mentions) if asks else weigh(clause.text, mentions)
            )
            if clause.answers or is_question:
                weights = weigh_answer(clause.text, mentions, weights, announced)
            is_question = announced = False
            topic = mentions[0].option if asks and not weights and len(mentions) == 1 else None
            if not votes and weights[:1] == [(mentions[0].option, ADDED)]:
                # "You run? So does the whippet."
                weights[0] = (mentions[0].option, 2)
            if lesser:
                weights = [(option, min(weight, 0)) for option, weight in weights]
            if clause.labels and not _COMMITTED.search(clause.text):
                weights = [(option, min(weight, 1)) for option, weight in weights]
            place = -1 if concedes(clause.joint) else turn
            # Cut, since a clause full of names is kept once for each of them.
            excerpt = clause.text[:_LONGEST].strip()
            for option, weight in weights:
                less = clause.depends and weight > 1
                chosen = {vote.option for vote in votes if vote.weight > LIKED}
                if clause.depends and _INSTEAD.search(clause.text) and chosen - {option}:
                    weight, less = ALTERNATIVE, False
                if less and not _OWN.search(clause.text):
                    # "If you want calm, choose tea": advice, whatever its verb.
                    weight = min(weight, 2)
                votes.append(Vote(option, weight - less, excerpt, clause.depends, place, number))
    return resolve(votes, evasive)


class _Clause(NamedTuple):
    text: str
    depends: bool
    """Whether it hangs on an "if you …" beside it."""
    joint: str
    """What joins it to the clause before."""
    labels: bool
    """Whether a colon follows, as in "Giraffe: aloof."."""

    @property
    def turns(self) -> bool:
        """True after "but" and the like."""
        return turns(self.joint.lstrip(" ,"))

    @property
    def answers(self) -> bool:
        """True after a colon or a dash."""
        return self.joint.strip() in (":", "-", "–", "—")


def _clauses(sentence: str) -> list[_Clause]:
    """The clauses of a sentence."""
    flat = " ".join(_DASHES.sub(" - ", sentence).split())
    opening = _OPENING.match(flat)
    condition = opening is not None and opening["word"].lower() in ("if", "when", "whenever")
    depends = bool(opening and condition and conditional(opening["clause"]))
    rest = flat[opening.end() :] if opening else flat
    cuts = list(_CLAUSE.finditer(rest))
    starts, ends = [0, *(c.end() for c in cuts)], [*(c.start() for c in cuts), len(rest)]
    texts = [rest[start:end] for start, end in zip(starts, ends, strict=True)]
    hangs = [
        c.group().lower().endswith("if") and conditional(rest[c.end() : c.end() + 200])
        for c in cuts
    ]
    joints = ["", *(c.group() for c in cuts), ""]
    clauses = [
        _Clause(text, depends or on, joint, following.startswith(":"))
        for text, on, joint, following in zip(
            texts, [*hangs, False], joints[:-1], joints[1:], strict=True
        )
    ]
    return [_Clause(opening["clause"], depends, "", False), *clauses] if opening else clauses
