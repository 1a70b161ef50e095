"""Whether a text gives an answer in words: neither denied nor one of a list of candidates.

A phrase occurs where its words stand side by side. It is denied by a negation before it in the
same clause ("not in the green jar") or right behind it ("Paris is wrong"). It is one of a list
where its neighbours, parted by commas, "or" or full stops, are short and of its kind: capitalised
as it is, or words of the question.

This module knows texts. It knows no tasks.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from holdfast.evals.tasks.numbers import dates, digits, number, same_date
from holdfast.evals.tasks.numbers.spelled import read_spelled_numbers
from holdfast.evals.tasks.phrases.lists import items, list_places
from holdfast.evals.tasks.phrases.marks import CALLS, SENTENCE_END, SMALL
from holdfast.evals.tasks.phrases.symbols import has_same_symbols, signs

# Scripts that put no spaces between words, or endings right behind them (Korean).
UNSPACED_SCRIPT = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
                              "\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]")  # fmt: skip
_PUNCTUATION = " .,;:!?。、，！？「」“”\"'*_"
_WORD = re.compile(r"[^\W_]+")
_MOST = 64  # occurrences looked at, the last ones: more are no answer


def fold(text: str) -> str:
    """A text in one case and one normal form."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def words(text: str) -> str:
    """The words of a text with a space between, in one case; emphasis and punctuation go."""
    return " ".join(_WORD.findall(fold(text)))


@dataclass(frozen=True)
class Occurrence:
    """A place where a phrase stands in a text."""

    start: int
    end: int
    denied: bool
    """Whether the text says that it is not so."""
    rivals: int
    """How many other candidates are listed beside it."""
    alternative: bool
    """Whether "or" joins it to one of them."""
    named: bool
    """Whether the question names one of them."""
    joined: bool
    """Whether "and" or a stroke joins it to one of them."""
    asked: bool
    """Whether its sentence is a question."""
    other: bool
    """Whether the words say something else: an owner ("Anna's brother"), a verb ("you may")."""

    @property
    def asserted(self) -> bool:
        """Whether the text says so, and offers no list to choose from."""
        is_list = self.rivals > 1 or (self.named and self.rivals > 0)
        return not (self.denied or self.alternative or is_list or self.other)

    @property
    def committed(self) -> bool:
        """Whether the text says so and nothing beside it."""
        return self.asserted and not (self.named or self.joined or self.asked)


def occurrences(text: str, phrase: str, question: str = "") -> Iterator[Occurrence]:
    """The places where a phrase stands in a text.

    Args:
        text: what is read.
        phrase: the words sought; numbers in them count as numbers ("87" is "eighty-seven").
        question: what was asked, whose words make candidates.
    """
    text = unicodedata.normalize("NFC", text)
    for start, end in sorted(set(_places(text, phrase)))[-_MOST:]:
        rivals, alternative, named, joined = _count_rivals(text, start, end, question)
        yield Occurrence(
            start=start,
            end=end,
            denied=_is_denied(text, start, end, phrase),
            rivals=rivals,
            alternative=alternative,
            named=named,
            joined=joined,
            asked=_is_asked(text, end),
            other=_is_other(text, start, end, question),
        )


def find_places(text: str, forms: Iterable[str], question: str = "") -> list[Occurrence]:
    """The places where an answer stands in a text, form after form."""
    return [one for form in forms for one in occurrences(text, form, question)]


def is_same(text: str, phrase: str) -> bool:
    """Whether a text is the phrase and nothing else."""
    places = [match.span() for match in _WORD.finditer(text)] or [(0, len(text))]
    same = words(text) == words(phrase)
    return same and has_same_symbols(phrase, text, places[0][0], places[-1][1])


def says(text: str, phrase: str, question: str = "") -> bool:
    """Whether a text gives the phrase as an answer."""
    if not words(phrase):
        return re.search(_LITERAL.format(re.escape(phrase.strip())), text) is not None
    return any(one.asserted for one in occurrences(text, phrase, question))


_LITERAL = r"(?<![<>=+×÷&|!-]){}(?![<>=+×÷&|-])"  # a symbol, and no part of another


# --- where a phrase stands ------------------------------------------------------


def _places(text: str, phrase: str) -> Iterator[tuple[int, int]]:
    phrase_words = words(phrase).split()
    if not phrase_words:
        return
    if (value := number(phrase)) is not None:
        yield from _numbers(text, value)
        return
    if phrase_dates := dates(phrase):
        date = phrase_dates[0][0]
        yield from (match.span() for other, match in dates(text) if same_date(other, date))
    if UNSPACED_SCRIPT.search("".join(phrase_words)):
        # Not its words: the signs of vowels in Thai and Burmese are no letters.
        bare = re.escape(fold(phrase).strip(_PUNCTUATION))
        yield from (match.span() for match in re.finditer(bare, text))
        return
    if len(entries := items(phrase)) > 2:
        yield from (place for place in list_places(text, entries) if not signs(text, *place))
        return
    tokens = [(fold(m[0]), m.start(), m.end()) for m in _WORD.finditer(text)]
    for form in _forms(phrase_words):
        n = len(form)
        for i in range(len(tokens) - n + 1):
            if tokens[i][0] == form[0] and [t[0] for t in tokens[i : i + n]] == form:
                start, end = tokens[i][1], tokens[i + n - 1][2]
                if has_same_symbols(phrase, text, start, end):
                    yield start, end


def _forms(tokens: list[str]) -> Iterator[list[str]]:
    """Ways to write a phrase: "P & S" for "P and S", "S90" for "S-90" and back."""
    yield tokens
    if len(tokens) == 3 and tokens[1] == "and":
        yield [tokens[0], tokens[2]]
    if len(tokens) == 2 and tokens[0].isalpha() and len(tokens[0]) < 4 and tokens[1].isdigit():
        yield ["".join(tokens)]
    if len(tokens) == 1 and (parts := re.fullmatch(r"([^\W\d_]{1,3})(\d+)", tokens[0])):
        yield [parts[1], parts[2]]


def _numbers(text: str, value: object) -> Iterator[tuple[int, int]]:
    for one in (*digits(text), *read_spelled_numbers(text)):
        if value in one.values:
            yield one.start, one.end


# --- negation -------------------------------------------------------------------

_CLAUSE_ENDS = re.compile(
    r"[,;:!?()\[\]\n—–…]|\.(?:\s|$)|\b(?:but|because|since|so|while|whereas|although|though|yet|"
    r"that|who|which|and|aber|sondern|mais|sino|pero|car|denn|weil)\b",
    re.IGNORECASE,
)
_NEGATION = re.compile(
    r"(?i)\b(?:not|never|neither|nor|cannot|without|unlike|except|nicht|keine?[nrms]?|pas|não|"
    r"nunca|formerly|previously|"
    r"(?:rather than|instead of|far from|anything but|rule[sd]? out|exclude[sd]?|eliminate[sd]?)|"
    r"(?:i|we) doubt|"
    r"(?:some|many|most|people|others) (?:(?:would|may) )?(?:say|think|believe|claim|answer)|"
    r"hardly|scarcely|nobody|no one|(?:refuse[sd]?|wrong|false) to|used to|den(?:y|ies|ied)|"
    r"niet|geen|ikke|inte|nem|nie|ni|не|ни|"
    r"no(?=\s)|non(?=\s))\b|n['’]t\b|(?:不是|并非|不)\s*$"
)
_THAT = re.compile(
    r"(?i)\b(doubt|deny|unlikely|untrue|wrong|false|(?:not|n['’]t) (?:true|the case|think|believe))"
    r"\s+that\b"
)
_ALL_BUT = re.compile(r"(?i)\b(?:any\w*|all|every\w*)(?:\s+\w+)?\s+but\s+(?:the\s+|an?\s+)?$")
_OPPOSITE = re.compile(
    r"(?i)\b(?:opposite|contrary|reverse|antonym|negation) (?:of|to)\s+(?:the\s+)?$"
)
_NO_NEGATION = re.compile(
    r"(?i)\bno (?:doubt|question|problem|worries|wonder|less|matter|need)|"
    r"\bnot (?:only|just|merely|to mention|sure if|surprisingly)|\bnothing but|\bnone other than|"
    r"\bwithout (?:a |any )?"
    r"(?:doubt|question|fail|hesitation)|\b(?:never|don['’]t|can['’]t|won['’]t|cannot|not) "
    r"(?:forget|fear|mind|doubt|worry|help|wait|miss)"
)
_DENIED_AFTER = re.compile(
    r"(?i)^['\"’”*_)]*\s*(?:it\s+)?(?:(?:is|was|are|were|does|do|did|can|could|would|will|has|have|"
    r"be|must)(?:\s+(?:be|simply|clearly|certainly|definitely|probably))*"
    r"(?:\s+(?:not|never|wrong|incorrect|false|out|impossible|ruled out|no longer)\b|n['’]t\b)"
    r"|(?:is|are|was|were)\s+(?:\w+\s+){0,2}?"
    r"(?:lie|lies|myth|mistake|trick|joke|error|fake|hoax|nonsense)\b"
    r"|[.!;–—]+\s*(?:(?:that|this|it)(?:['’]s|\s+(?:is|was))\s+)?(?:an?\s+)?"
    r"(?:lie|wrong|false|untrue|not true)(?=\s*(?:[.!;,]|$))"
    r"|cannot\b|ist (?:nicht|falsch)|n['’]est pas|(?:では|じゃ|で)ない|[이가] 아니)(?!\s+only)"
)


def _is_denied(text: str, start: int, end: int, phrase: str) -> bool:
    """Whether a negation stands before the place in its clause, or right behind it."""
    before = _THAT.sub(r"\1", text[max(0, start - 80) : start])
    ends = [match.end() for match in _CLAUSE_ENDS.finditer(before)]
    clause = _NO_NEGATION.sub(" ", before[ends[-1] :] if ends else before)
    own = _NEGATION.search(phrase) is not None
    if (
        _ALL_BUT.search(before)
        or _OPPOSITE.search(before)
        or _DENIED_AFTER.search(text[end : end + 60])
    ):
        return True
    return bool(_NEGATION.search(clause)) and not own


# --- questions, owners, verbs --------------------------------------------------

_OWNER = re.compile(
    r"^['’]s\s+(?!(?:the|an?|not|in|at|on|who|here|there|your|my|our|it)\b)[^\W\d_]", re.IGNORECASE
)
# Names that are common words too: in lower case they are the name only where they end a clause.
_NAMES_AND_WORDS = (
    "may march mark will bill rose bath nice split cork rich grace hope frank art rob"
)
_WORDS_TOO = frozenset(_NAMES_AND_WORDS.split())


def _is_asked(text: str, end: int) -> bool:
    match = SENTENCE_END.search(text, end)
    return match is not None and match[0].startswith("?")


def _is_other(text: str, start: int, end: int, question: str) -> bool:
    """Whether a place is an owner of what the answer is, or a common word."""
    if _OWNER.match(text[end : end + 20]) and "whose" not in question.lower():
        return True
    if end - start == 1 and text[start].isalpha():
        return _is_no_letter(text, start, end)
    if words(text[start:end]) not in _WORDS_TOO:
        return False
    capital = text[start : start + 1].isupper() and not text.isupper()
    return not capital and re.match(r"\W*(?:[.!?,;:\n)]|$)", text[end:]) is None


# What follows a letter that is one: "a.", “a”, "a is the first", but not "a word" or "I'm".
_AFTER_LETTER = re.compile(
    r"[^\w\s'’-]|['’-](?!\w)|\s*(?:\n|$)"
    r"|\s+(?:[(=/|,;:–—-]|(?:is|was|be|it|comes|starts|begins|and|or)\b)",
    re.IGNORECASE,
)
_LETTERS_AND_WORDS = "aeiouy"


def _is_no_letter(text: str, start: int, end: int) -> bool:
    """Whether a letter is the end of a contraction ("it's"), or a word as an article is."""
    if start > 1 and text[start - 1] in "'’" and text[start - 2].isalpha():
        return True
    is_word = text[start].lower() in _LETTERS_AND_WORDS
    return is_word and _AFTER_LETTER.match(text, end) is None


# --- lists of candidates -----------------------------------------------------------

_MARK = "\0"  # stands for the phrase itself, which may hold "and" and commas
_PARTS = re.compile(r"(\s*(?:,|;|/|\||•|\n|\bor\b|\band\b|[.!?](?=\s|$)|\s[-–*]\s)\s*)")


def _count_rivals(text: str, start: int, end: int, question: str) -> tuple[int, bool, bool, bool]:
    """How many items of a list beside a place are of its kind.

    Then whether "or" joins one of them, whether the question names one, and whether "and" or a
    stroke joins one.
    """
    own = set(words(text[start:end]).split())
    question_words = set(words(question).split()) - SMALL
    items = list(_list_items(text, start, end, own, question_words))
    return (
        sum(not names & own for names, _ in items),
        any(joint == "or" for _, joint in items),
        any(names <= question_words - own for names, _ in items),
        any(joint in ("and", "/", "|") for _, joint in items),
    )


def _list_items(
    text: str, start: int, end: int, own: set[str], question_words: set[str]
) -> Iterator[tuple[set[str], str]]:
    """The items of a list beside a place that are of its kind, each with what joins it.

    A question is none: "London? No, Paris."
    """
    near = f"{text[max(0, start - 200) : start]}{_MARK}{text[end : end + 200]}"
    parts, letter = _PARTS.split(near), end - start == 1  # every other part is what joins two
    here = next(i for i, part in enumerate(parts) if _MARK in part)
    if len(_content(parts[here].replace(_MARK, ""))) > 2:
        return
    capital = text[start:end][:1].isupper() and not text.isupper()
    for step, stop in ((-2, -1), (2, len(parts))):
        for i in range(here + step, stop, step):
            inner, joint = _content(parts[i], letter), parts[i - step // 2].strip().lower()
            if not inner:
                continue
            tells = len(inner) > 1 and _COPULA.search(parts[i])  # "Today is Monday, so …"
            lone = joint == "or" and len(inner) == 1
            if tells or not _is_candidate(inner, own, capital, question_words, lone):
                break
            if "".join(parts[i + 1 : i + 2]).strip() != "?":
                yield {word.lower() for word in inner}, joint


_COPULA = re.compile(r"(?i)\b(?:is|are|was|were)\b")


def _content(part: str, letters: bool = False) -> list[str]:
    """The words of a part that are no small ones; with `letters` those of one letter count."""
    small = {word for word in SMALL if len(word) > 1} if letters else SMALL
    return [word for word in _WORD.findall(part) if word.lower() not in small]


def _is_candidate(
    inner: Sequence[str], own: set[str], capital: bool, question_words: set[str], lone: bool
) -> bool:
    """Whether an item of a list is a candidate as the phrase is."""
    if len(inner) > 3:
        return False
    if all(word.lower() in question_words | own for word in inner):
        return True
    if all(word.isdigit() for word in own):
        return all(word.isdigit() for word in inner)
    is_call = all(word.lower() in CALLS for word in inner)
    return lone or (
        capital and not is_call and all(word[:1].isupper() and word != "I" for word in inner)
    )
